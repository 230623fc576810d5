"""People of an organisation: users, addresses, groups, shared mailboxes, and bringing many of them at once."""
