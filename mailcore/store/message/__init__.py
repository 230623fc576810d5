"""Stored messages: documents with a skeleton, content-addressed blobs beside them, and their collection."""
