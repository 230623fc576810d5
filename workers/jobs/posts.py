"""Posts that wait for moderators: looked at each minute, and told to those who decide."""

from __future__ import annotations

from datetime import UTC, datetime

from portal.own import post_notices
from workers.context import JobContext


def tell(context: JobContext) -> int:
    """Write to moderators about what waits; return to how many. Who was not written to is next time."""
    if context.portal is None:
        return 0
    with context.in_portal() as portal:
        return post_notices.tell_moderators(portal.mail, portal.settings, datetime.now(UTC))
