"""Records written at a DNS provider: exactly what was shown, change by change, by a worker whom another may follow.

What is made is noted afterwards; whoever goes on looks at what the provider holds first, so nothing is made twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import delete, func, or_, select, update

from mailcore import fault
from mailcore.model.actor import SYSTEM, Actor
from mailcore.services.trust.sealing import SealBroken
from portal.accounts.models import Organisation
from portal.audit.services import record
from portal.database import session, unit_of_work, utc_now
from portal.domains import queries, services, writing
from portal.domains.errors import TOKEN_GONE, PlanChanged, ProviderFailed, WritingUnderWay
from portal.domains.models import DomainClaim, RecordWriting, WritingState
from portal.domains.providers.plan import Change, Held
from portal.domains.providers.writer import ZoneWriter, in_order
from portal.domains.writing import Access
from portal.jobs import enqueue_after_commit
from portal.mail_plane import Portal
from portal.progress import Progress

LEASE: Final = timedelta(minutes=2)
"""So long a worker that says nothing is believed to be at it; a single call ends before."""
FORGOTTEN_AFTER: Final = timedelta(days=1)
"""What stopped, or is done, and with it the token."""

Tell = Callable[[], None]


def begin(parts: Portal, actor: Actor, organisation: Organisation, access: Access, expected: str) -> list[Change]:
    """Let a worker write what was shown; return it in the order in which that is done.

    Raises:
        ClaimNotFound: the organisation has none such.
        PlanChanged: what the provider holds is not what the preview saw; nothing is written.
        ProviderFailed: it refused, or did not answer.
        WritingUnderWay: something is being written already.
    """
    claim = queries.get_claim(organisation, access.claim_id)
    shown = writing.preview(parts, claim, access)
    if shown.digest != expected:
        raise PlanChanged
    ordered = in_order(shown.changes)
    with unit_of_work() as current:
        kept = queries.get_claim(organisation, access.claim_id, for_change=True)
        found = current.get(RecordWriting, claim.id, with_for_update=True, populate_existing=True)
        if found is not None and found.state == WritingState.RUNNING:
            raise WritingUnderWay
        begun = found or RecordWriting(claim_id=claim.id)
        begun.state, begun.written, begun.failure, begun.leased_until = WritingState.RUNNING, 0, None, None
        begun.changes = [asdict(change) for change in ordered]
        begun.sealed_access = writing.seal(parts, writing.WRITING, access)
        begun.begun_at = utc_now()
        current.add(begun)
        kept.provider = access.provider
        kept.sealed_credentials = writing.seal(parts, writing.KEPT, access) if access.keep else None
        _record(actor, kept, "domain.records_written", begun.changes)
        enqueue_after_commit("domains.write", claim_id=str(claim.id))
    return ordered


def go_on(actor: Actor, organisation: Organisation, claim_id: UUID) -> None:
    """Let a worker write what is left of what stopped; nothing happens where nothing stopped.

    Raises:
        ClaimNotFound: the organisation has none such.
    """
    with unit_of_work() as current:
        claim = queries.get_claim(organisation, claim_id, for_change=True)
        found = current.get(RecordWriting, claim_id, with_for_update=True, populate_existing=True)
        if found is None or found.state != WritingState.STOPPED:
            return
        found.state, found.failure, found.leased_until = WritingState.RUNNING, None, None
        _record(actor, claim, "domain.records_written", found.changes[found.written :])
        enqueue_after_commit("domains.write", claim_id=str(claim_id))


def leave(organisation: Organisation, claim_id: UUID) -> None:
    """Leave it at what is written; not while a worker is at it.

    Raises:
        ClaimNotFound: the organisation has none such.
    """
    queries.get_claim(organisation, claim_id)
    at_rest = or_(RecordWriting.leased_until.is_(None), RecordWriting.leased_until < utc_now())
    with unit_of_work() as current:
        current.execute(delete(RecordWriting).where(RecordWriting.claim_id == claim_id, at_rest))


def find(claim_id: UUID) -> RecordWriting | None:
    """Return what was last written of a domain's records; one round trip."""
    return session().get(RecordWriting, claim_id, populate_existing=True)


def topic(claim_id: UUID) -> str:
    """Return under what news are announced."""
    return f"writing:{claim_id}"


def progress_of(organisation_id: UUID, claim_id: UUID) -> Progress:
    """Return how far an organisation's writing is; one round trip. What is gone has come to its end."""
    total = func.jsonb_array_length(RecordWriting.changes)
    found = session().execute(
        select(RecordWriting.state, RecordWriting.written, total)
        .join(DomainClaim, DomainClaim.id == RecordWriting.claim_id)
        .where(DomainClaim.organisation_id == organisation_id, RecordWriting.claim_id == claim_id)
    ).one_or_none()  # fmt: skip
    if found is None:
        return Progress(ended=True)
    state, written, changes = found
    return Progress(written, changes, ended=state != WritingState.RUNNING, version=state)


# -- in a worker --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Taken:
    """What a worker holds."""

    claim_id: UUID
    lease: int
    written: int
    changes: tuple[Change, ...]
    access: Access


def carry_out(parts: Portal, claim_id: UUID, tell: Tell = lambda: None) -> None:
    """Make the changes that are left; say so after each, and where the provider stops it."""
    taken = _take(parts, claim_id)
    if taken is None:
        return
    try:
        if not _make_all(writing.writer_of(parts, taken.access), taken, tell):
            return
    except ProviderFailed as failed:
        _end(taken, WritingState.STOPPED, str(failed))
    else:
        _end(taken, WritingState.DONE)
    tell()


def enqueue_due() -> int:
    """Put on the queue what a worker died over, and forget what is over for a day; return how many go on."""
    at = utc_now()
    died = or_(
        RecordWriting.leased_until < at,
        RecordWriting.leased_until.is_(None) & (RecordWriting.begun_at < at - LEASE),
    )
    with unit_of_work() as current:
        over = RecordWriting.state != WritingState.RUNNING
        current.execute(delete(RecordWriting).where(over, RecordWriting.begun_at < at - FORGOTTEN_AFTER))
        due = current.scalars(
            select(RecordWriting.claim_id).where(RecordWriting.state == WritingState.RUNNING, died)
        ).all()
        for claim_id in due:
            enqueue_after_commit("domains.write", claim_id=str(claim_id))
    return len(due)


def _take(parts: Portal, claim_id: UUID) -> _Taken | None:
    with unit_of_work() as current:
        found = current.get(RecordWriting, claim_id, with_for_update=True, populate_existing=True)
        at = utc_now()
        if found is None or found.state != WritingState.RUNNING or found.sealed_access is None:
            return None
        if found.leased_until is not None and found.leased_until > at:
            return None
        try:
            access = writing.unseal(parts, writing.WRITING, claim_id, found.sealed_access)
        except SealBroken:
            found.state, found.failure = WritingState.STOPPED, TOKEN_GONE
            return None
        found.lease, found.leased_until = found.lease + 1, at + LEASE
        changes = tuple(Change(**each) for each in found.changes)
        return _Taken(claim_id, found.lease, found.written, changes, access)


def _make_all(writer: ZoneWriter, taken: _Taken, tell: Tell) -> bool:
    """Make what is not made yet; False if another worker took over."""
    held = set(writing.bounded(writer.held))
    for number, change in enumerate(taken.changes[taken.written :], taken.written + 1):
        if change.is_new != (Held(change.name, change.type, change.value) in held):
            writing.bounded(lambda change=change: writer.make(change))  # type: ignore[misc]
        fault.hit("domains.record_made")
        if not _note(taken, number):
            return False
        tell()
    return True


def _note(taken: _Taken, written: int) -> bool:
    with unit_of_work() as current:
        noted = current.execute(
            update(RecordWriting)
            .where(RecordWriting.claim_id == taken.claim_id, RecordWriting.lease == taken.lease)
            .values(written=written, leased_until=utc_now() + LEASE)
        )
    return bool(noted.rowcount)  # type: ignore[attr-defined]


def _end(taken: _Taken, state: WritingState, failure: str | None = None) -> None:
    """Say how it ended, and let the domain be looked at."""
    with unit_of_work() as current:
        found = current.get(RecordWriting, taken.claim_id, with_for_update=True, populate_existing=True)
        claim = queries.load(taken.claim_id)
        if found is None or claim is None or found.lease != taken.lease:
            return
        found.state, found.failure, found.leased_until = state, failure and failure[:200], None
        if state == WritingState.DONE:
            found.sealed_access = None
        else:
            _record(SYSTEM, claim, "domain.records_left", found.changes[found.written :])
    services.check_now(claim.organisation, claim.id)


def _record(actor: Actor, claim: DomainClaim, what: str, changes: Sequence[dict[str, Any]]) -> None:
    told = {"provider": claim.provider, "changes": list(changes)}
    record(actor, what, claim.name, told, organisation_id=claim.organisation_id)
