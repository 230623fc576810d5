"""The one error of the development stack."""

from __future__ import annotations


class StackFault(Exception):
    """Why the stack cannot start or go on: one line that also says what to do."""
