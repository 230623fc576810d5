"""What organisations pay for: plans, the mirror of their subscriptions, and what follows from it."""
