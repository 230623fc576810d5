"""Whose outgoing mail is held: looked at each minute, and told to those whom it concerns."""

from __future__ import annotations

from portal.deliveries import telling
from workers.context import JobContext


def watch(context: JobContext) -> int:
    """Hold whom the counts tell to, let go what waits for nothing, and write to whoever is held.

    Returns how many holds were new. Who was not written to is next time: the same mail again is the same mail.
    """
    untold = context.services.sending_holds.watch()
    if context.portal is None:
        return len(untold)
    with context.in_portal() as portal:
        for held in untold:
            telling.tell(portal.mail, portal.settings, held)
    return len(untold)
