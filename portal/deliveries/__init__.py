"""What became of an organisation's mail: traces, what waits, what is not sent, and holds."""
