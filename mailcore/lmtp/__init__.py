"""Delivery from the mail transfer agent into mailboxes (RFC 2033)."""
