"""Who runs an organisation: its members, their roles, and who is invited."""
