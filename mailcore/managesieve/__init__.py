"""ManageSieve: users' programs look after their Sieve scripts (RFC 5804)."""
