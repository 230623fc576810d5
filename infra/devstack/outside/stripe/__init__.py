"""Stripe as far as billing needs it: a server that the real SDK talks to, with a clock of its own."""
