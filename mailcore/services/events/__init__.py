"""What happened: the audit trail, the ordered stream, and who is told of it."""
