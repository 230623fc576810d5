"""Writing records through the interfaces of DNS providers, by dns-lexicon."""
