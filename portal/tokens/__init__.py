"""API tokens of an organisation; they live in the mail plane."""
