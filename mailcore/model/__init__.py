"""Values of the mail system: frozen, without input or output."""
