"""Organisations: what they may have and store, what becomes of their mail in numbers, where they lie."""
