"""Whom mail reaches: domains, addresses, groups, and what stands behind them."""
