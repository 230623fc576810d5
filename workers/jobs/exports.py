"""Writing the files with all mail that users asked for, and removing those that are over."""

from __future__ import annotations

from workers.context import JobContext


def make_due(context: JobContext) -> int:
    """Write what was asked for and remove what is over; return with how many files there was work."""
    return context.services.mail_exports.make_due()
