"""What an organisation's mail does and takes, as charts, tables and CSV."""
