"""Reading imports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import func, select

from mailcore.errors import NotFound
from portal.accounts.models import Organisation
from portal.database import session
from portal.people.models import ImportState, PeopleImport, PeopleImportRow, RowState
from portal.progress import Progress


class ImportNotFound(NotFound):
    """No such import of this organisation."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How many lines are in which state."""

    state: ImportState
    by_state: dict[RowState, int]

    def of(self, *states: RowState) -> int:
        """Return how many are in one of these."""
        return sum(self.by_state.get(state, 0) for state in states)

    @property
    def total(self) -> int:
        """Lines that make somebody."""
        return self.of(RowState.PLANNED, RowState.DONE, RowState.FAILED, RowState.UNDONE)

    @property
    def done(self) -> int:
        """Lines that are through with what is under way."""
        if self.state in {ImportState.UNDOING, ImportState.UNDONE}:
            return self.of(RowState.UNDONE, RowState.FAILED)
        return self.of(RowState.DONE, RowState.FAILED)

    @property
    def is_under_way(self) -> bool:
        """Whether a worker is at it."""
        return self.state in {ImportState.RUNNING, ImportState.UNDOING}


def topic(import_id: UUID) -> str:
    """Return under what news of an import are announced."""
    return f"import:{import_id}"


def progress_of(organisation_id: UUID, import_id: UUID) -> Progress:
    """Return how far an import is."""
    found = counts(organisation_id, import_id)
    return Progress(found.done, found.total, ended=not found.is_under_way)


def get(organisation_id: UUID, import_id: UUID) -> PeopleImport:
    """Return an import of the organisation.

    Raises:
        ImportNotFound: it has none such.
    """
    found = (
        session()
        .scalars(
            select(PeopleImport)
            .where(PeopleImport.organisation_id == organisation_id, PeopleImport.id == import_id)
            .execution_options(populate_existing=True)
        )
        .one_or_none()
    )
    if found is None:
        raise ImportNotFound(import_id)
    return found


def list_of(organisation_id: UUID, limit: int = 50) -> Sequence[tuple[PeopleImport, int]]:
    """Return the latest imports with how many lines made somebody; one query."""
    made = (
        select(PeopleImportRow.import_id, func.count().label("made"))
        .where(PeopleImportRow.state == RowState.DONE)
        .group_by(PeopleImportRow.import_id)
        .subquery()
    )
    found = session().execute(
        select(PeopleImport, func.coalesce(made.c.made, 0))
        .outerjoin(made, made.c.import_id == PeopleImport.id)
        .where(PeopleImport.organisation_id == organisation_id)
        .order_by(PeopleImport.created_at.desc())
        .limit(limit)
    )
    return [(one, int(count)) for one, count in found]


def counts(organisation_id: UUID, import_id: UUID) -> Counts:
    """Return how far an import is; two queries.

    Raises:
        ImportNotFound: there is none such.
    """
    brought = get(organisation_id, import_id)
    found = session().execute(
        select(PeopleImportRow.state, func.count())
        .where(PeopleImportRow.import_id == import_id)
        .group_by(PeopleImportRow.state)
    )
    return Counts(ImportState(brought.state), {RowState(state): number for state, number in found})


def page(import_id: UUID, states: Sequence[RowState], limit: int, after: int = 0) -> Sequence[PeopleImportRow]:
    """Return rows in these states in the order of their lines."""
    return (
        session()
        .scalars(
            select(PeopleImportRow)
            .where(
                PeopleImportRow.import_id == import_id,
                PeopleImportRow.state.in_(states),
                PeopleImportRow.line > after,
            )
            .order_by(PeopleImportRow.line)
            .limit(limit)
        )
        .all()
    )


def held_row(import_id: UUID, state: RowState, after: int) -> PeopleImportRow | None:
    """Return the first row in a state after a line that no other worker holds, and hold it until the commit."""
    return (
        session()
        .scalars(
            select(PeopleImportRow)
            .where(PeopleImportRow.import_id == import_id, PeopleImportRow.state == state, PeopleImportRow.line > after)
            .order_by(PeopleImportRow.line)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        .one_or_none()
    )


def under_way() -> Sequence[PeopleImport]:
    """Return every import that a worker should be at."""
    return (
        session()
        .scalars(
            select(PeopleImport).where(PeopleImport.state.in_([ImportState.RUNNING, ImportState.UNDOING])).limit(100)
        )
        .all()
    )


def with_passwords(import_id: UUID) -> Sequence[PeopleImportRow]:
    """Return rows of people who were made and whose first password was not handed out yet."""
    return (
        session()
        .scalars(
            select(PeopleImportRow)
            .where(
                PeopleImportRow.import_id == import_id,
                PeopleImportRow.state == RowState.DONE,
                PeopleImportRow.sealed_password.is_not(None),
            )
            .order_by(PeopleImportRow.line)
        )
        .all()
    )


def with_organisation(import_id: UUID) -> tuple[PeopleImport, Organisation]:
    """Return an import and whose it is, for a worker.

    Raises:
        ImportNotFound: there is none such.
    """
    found = (
        session()
        .execute(
            select(PeopleImport, Organisation)
            .join(Organisation, Organisation.id == PeopleImport.organisation_id)
            .where(PeopleImport.id == import_id)
        )
        .one_or_none()
    )
    if found is None:
        raise ImportNotFound(import_id)
    return found[0], found[1]
