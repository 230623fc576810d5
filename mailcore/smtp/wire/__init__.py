"""The grammar of SMTP: bytes to values and back, without I/O (RFC 5321 §4.1)."""
