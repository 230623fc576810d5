"""POP3: the INBOX as a maildrop (RFC 1939, RFC 2449)."""
