"""Secrets at rest, and certificates."""
