"""Getting and renewing certificates from the authority."""

from __future__ import annotations

from mailcore.model.actor import SYSTEM
from workers.context import JobContext


def renew(context: JobContext) -> int:
    """Get every certificate that is missing or ends soon, and return how many came."""
    return context.services.acme.renew_due(SYSTEM)
