"""The grammar of IMAP: bytes to values and back; no input or output."""
