"""Own account of people with a mailbox: how they sign in, what becomes of their mail, what they take with them."""
