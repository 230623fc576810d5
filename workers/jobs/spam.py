"""Letting the filter learn what users take for spam."""

from __future__ import annotations

from workers.context import JobContext


def learn(context: JobContext) -> int:
    """Hand over what users moved to and from Junk, and return how many messages were learned."""
    return context.services.spam_reports.learn()
