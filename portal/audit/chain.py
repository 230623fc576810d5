"""Verifying a chain: every row carries the hash of the one before it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy import select

from portal.audit.models import AuditChain, AuditEvent
from portal.audit.services import FIRST_DIGEST, digest_of
from portal.database import session

PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found of one chain; `broken_at` is the number of the first event that is not as it was written."""

    events: int
    broken_at: int | None = None
    why: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether nothing was changed, removed, added or reordered."""
        return self.broken_at is None


def verify(organisation_id: UUID) -> Verdict:
    """Compute every hash of a chain anew; one round trip for each thousand events."""
    end = session().get(AuditChain, organisation_id, populate_existing=True)
    last_number = end.number if end is not None else 0
    digest, number = FIRST_DIGEST, 0
    for event in _events(organisation_id, last_number):
        number += 1
        if event.number != number:
            return Verdict(number - 1, number, "an event is missing")
        if event.previous_digest != digest:
            return Verdict(number - 1, number, "it does not follow from the event before it")
        if event.digest != digest_of(event):
            return Verdict(number - 1, number, "its content was changed")
        digest = event.digest
    if number != last_number:
        return Verdict(number, number + 1, "events at the end are missing")
    if end is not None and end.digest != digest:
        return Verdict(number, max(number, 1), "the end is not the one that was written")
    return Verdict(number)


def chains() -> list[UUID]:
    """Return whose chains there are; the platform's is `PLATFORM`."""
    return list(session().scalars(select(AuditChain.organisation_id).order_by(AuditChain.organisation_id)))


def _events(organisation_id: UUID, last_number: int) -> Iterator[AuditEvent]:
    after = 0
    while True:
        page = (
            session()
            .scalars(
                select(AuditEvent)
                .where(
                    AuditEvent.organisation_id == organisation_id,
                    AuditEvent.number > after,
                    AuditEvent.number <= last_number,
                )
                .order_by(AuditEvent.number)
                .limit(PAGE)
                .execution_options(populate_existing=True)
            )
            .all()
        )
        yield from page
        if len(page) < PAGE:
            return
        after = page[-1].number
        session().expunge_all()
