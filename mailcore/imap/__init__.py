"""IMAP4rev1 server (RFC 3501, with what RFC 9051 made clearer); sans-IO but for `server`."""
