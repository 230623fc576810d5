"""Adding to the chain of what was done."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from mailcore.model.actor import Actor
from portal.audit.models import PLATFORM, AuditChain, AuditEvent
from portal.database import session, unit_of_work, utc_now

FIRST_DIGEST: Final = bytes(32)
NOTED: Final = "audit_noted"
"""Where a session keeps the events of a dry run, if somebody wants them."""


def record(
    actor: Actor,
    what: str,
    target: str,
    details: Mapping[str, Any] | None = None,
    *,
    organisation_id: UUID | None = None,
) -> AuditEvent:
    """Add to an organisation's chain that something was done; committed with the change itself.

    Two round trips; the chain is locked until the commit, so call it last in a unit of work. Without an
    organisation it goes to the platform's chain. Details hold no secret.
    """
    return append(
        organisation_id or PLATFORM,
        {
            "at": utc_now(),
            "what": what,
            "target": target,
            "actor_kind": actor.kind.value,
            "actor": actor.identity,
            "door": actor.door.value,
            "remote_address": actor.remote_address,
            "outcome": "done",
            "details": dict(details or {}),
            "source": "",
        },
    )


def append(organisation_id: UUID, fields: Mapping[str, Any]) -> AuditEvent:
    """Add one event after the last of its chain."""
    with unit_of_work() as current:
        chain = lock_chain(organisation_id)
        plain = {**fields, "details": _plain(fields["details"])}
        event = AuditEvent(
            organisation_id=organisation_id, number=chain.number + 1, previous_digest=chain.digest, **plain
        )
        event.digest = digest_of(event)
        chain.number, chain.digest = event.number, event.digest
        current.add(event)
        current.flush()
        current.info.get(NOTED, []).append(event)
    return event


def lock_chain(organisation_id: UUID) -> AuditChain:
    """Return the end of a chain, begun if it is new, and keep others from adding until the commit."""
    current = session()
    wanted = select(AuditChain).where(AuditChain.organisation_id == organisation_id).with_for_update()
    chain = current.scalars(wanted.execution_options(populate_existing=True)).one_or_none()
    if chain is None:
        current.execute(
            insert(AuditChain)
            .values(organisation_id=organisation_id, number=0, digest=FIRST_DIGEST, mail_cursors={})
            .on_conflict_do_nothing()
        )
        chain = current.scalars(wanted.execution_options(populate_existing=True)).one()
    return chain


def digest_of(event: AuditEvent) -> bytes:
    """Return the hash of an event and of the hash of the one before it."""
    content = [
        str(event.organisation_id),
        event.number,
        _instant(event.at),
        event.what,
        event.target,
        event.actor_kind,
        event.actor,
        event.door,
        event.remote_address,
        event.outcome,
        event.details,
        event.source,
    ]
    text = json.dumps(content, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(event.previous_digest + text.encode()).digest()


def _plain(value: object) -> Any:
    """Return details as Postgres gives them back to the letter: it writes numbers in its own way."""
    if value is None or isinstance(value, bool | int | str):
        return value.replace("\x00", "\ufffd") if isinstance(value, str) else value
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(one) for one in value]
    return str(value)


def _instant(at: datetime) -> str:
    return at.astimezone(tz=utc_now().tzinfo).isoformat(timespec="microseconds")
