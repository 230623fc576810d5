"""Eider's mail system: IMAP, LMTP and everything behind them; knows nothing of the portal."""
