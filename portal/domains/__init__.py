"""Domains: proving whose they are, and helping their owners to the right records."""
