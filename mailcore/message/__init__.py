"""RFC 5322 bytes to values: structure, headers, IMAP items, text and blobs; no I/O, no input raises."""
