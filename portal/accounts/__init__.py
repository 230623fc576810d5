"""Organisations, the members who run them, and how members sign in."""
