"""Submission: people's programs hand in what they send (RFC 6409), in clear with STARTTLS or with TLS at once."""
