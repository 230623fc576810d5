"""What LMTP and submission share: grammar, transaction, commands and replies of RFC 5321."""
