"""Targets that mail is to be sent on to: their owners are asked by mail."""

from __future__ import annotations

from portal.own import targets
from workers.context import JobContext


def mail(context: JobContext) -> int:
    """Mail the links that are due; return how many."""
    if context.portal is None:
        return 0
    with context.in_portal() as portal:
        return targets.mail_links(portal.mail, portal.settings)
