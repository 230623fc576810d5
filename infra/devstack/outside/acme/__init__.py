"""A certificate authority that speaks ACME (RFC 8555), for development and tests."""
