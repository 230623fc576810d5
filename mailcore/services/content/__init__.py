"""Messages as bytes: prepared, stored, encrypted, composed, read back."""
