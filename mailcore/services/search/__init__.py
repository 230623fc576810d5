"""Searching, sorting and threading, and the packed blocks that make them quick."""
