"""Reads of the audit log; the organisation first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Select, select

from portal.audit.models import AuditEvent
from portal.database import Database, session

PAGE: Final = 25
EXPORT_PAGE: Final = 1000
MOST_EXPORTED: Final = 100_000


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events are wanted; what is empty does not matter."""

    actor: str = ""
    kinds: tuple[str, ...] = ()
    since: date | None = None
    until: date | None = None
    """This day included."""

    def apply(self, wanted: Select[Any]) -> Select[Any]:
        """Return the query for these events only."""
        if self.actor:
            wanted = wanted.where(AuditEvent.actor.icontains(self.actor, autoescape=True))
        if self.kinds:
            wanted = wanted.where(AuditEvent.what.in_(self.kinds))
        if self.since is not None:
            wanted = wanted.where(AuditEvent.at >= datetime.combine(self.since, time(), UTC))
        if self.until is not None:
            wanted = wanted.where(AuditEvent.at < datetime.combine(self.until + timedelta(days=1), time(), UTC))
        return wanted


def list_events(
    organisation_id: UUID, wanted: Filter, before: int | None = None
) -> tuple[Sequence[AuditEvent], int | None]:
    """Return a page of events, the latest first, and the number before which the next one begins, or None."""
    query = wanted.apply(select(AuditEvent).where(AuditEvent.organisation_id == organisation_id))
    if before is not None:
        query = query.where(AuditEvent.number < before)
    found = session().scalars(query.order_by(AuditEvent.number.desc()).limit(PAGE + 1)).all()
    return found[:PAGE], found[PAGE - 1].number if len(found) > PAGE else None


def export_events(database: Database, organisation_id: UUID, wanted: Filter) -> Iterator[AuditEvent]:
    """Return events, the oldest first, up to a hundred thousand.

    Asked for page by page while somebody reads, when the request is over: each page has a session of its own, and no
    connection is held in between.
    """
    after, given = 0, 0
    while given < MOST_EXPORTED:
        with database.scope() as current:
            query = wanted.apply(select(AuditEvent).where(AuditEvent.organisation_id == organisation_id))
            following = query.where(AuditEvent.number > after).order_by(AuditEvent.number).limit(EXPORT_PAGE)
            page = current.scalars(following).all()
        yield from page
        given += len(page)
        if len(page) < EXPORT_PAGE:
            return
        after = page[-1].number
