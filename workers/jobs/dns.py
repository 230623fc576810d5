"""Looking at what DNS says of the domains here."""

from __future__ import annotations

from workers.context import JobContext


def check_mx(context: JobContext) -> int:
    """Look whether the MX of each verified domain points here, and return of how many it does."""
    return context.services.domains.check_all_mx()
