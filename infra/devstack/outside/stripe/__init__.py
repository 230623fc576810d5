"""Stripe as far as billing needs it: a server that the real SDK talks to, with a clock of its own."""

API_KEY = "sk_test_local"
WEBHOOK_SECRET = "whsec_local"  # noqa: S105  of a server that knows nobody
