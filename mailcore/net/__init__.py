"""Sockets, TLS and the event loop: everything that servers share below their protocol."""
