"""The world outside, for development and tests: a resolver and mail exchangers that do what they are told."""
