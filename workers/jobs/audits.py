"""Filling audits with copies."""

from __future__ import annotations

from workers.context import JobContext


def copy_due(context: JobContext) -> int:
    """Copy what audits lack, and return how many messages that were."""
    return context.services.audits.copy_due()
