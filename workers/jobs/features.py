"""Telling the mail plane which features tenants have."""

from __future__ import annotations

from uuid import UUID

from portal.billing.enforcement import organisations
from portal.staff import features
from workers.context import JobContext


def apply(context: JobContext, organisation_id: str) -> None:
    """Tell it of one organisation."""
    with context.in_portal() as portal:
        features.apply(portal.mail, UUID(organisation_id))


def apply_all(context: JobContext) -> int:
    """Tell it of every organisation of which it has heard otherwise, and return of how many."""
    if context.portal is None:
        return 0
    told, after = 0, None
    with context.in_portal() as portal:
        while page := organisations(after):
            told += sum(features.apply(portal.mail, each) for each in page)
            after = page[-1]
    return told
