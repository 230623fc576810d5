"""Mailboxes of users: their tree, what is in them, and every change of it."""
