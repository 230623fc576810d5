"""Processes and nodes killed, stopped and filled up under load; what was promised is checked exactly."""
