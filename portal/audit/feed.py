"""Taking over what happened in the mail plane: each event once, in the order of its stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import select

from mailcore.errors import NotFound
from mailcore.model.event import Event
from mailcore.model.ids import UserId
from mailcore.services import MailServices
from portal.accounts.models import Organisation
from portal.audit.services import append, lock_chain
from portal.database import session, unit_of_work

CURSOR: Final = "cursor"
PAGE: Final = 500


def take_over(mail: MailServices, organisation: Organisation) -> int:
    """Add the next events of an organisation's tenant to its chain, and return how many; repeated until none is left.

    The cursor moves in the same commit, under the chain's lock: who dies in between, and who runs beside, adds
    nothing twice.

    Raises:
        StoreUnavailable: a shard does not answer; its events cannot be skipped.
    """
    with unit_of_work():
        chain = lock_chain(organisation.id)
        cursor = str(chain.mail_cursors.get(CURSOR, ""))
        page = mail.events.read(organisation.tenant_id, cursor, PAGE, only_records=True)
        addresses: dict[UserId, str] = {}
        for event in page.events:
            if event.user_id is not None and event.user_id not in addresses:
                addresses[event.user_id] = _address_of(mail, event.user_id)
            append(organisation.id, _fields(event, addresses))
        if page.events:
            chain.mail_cursors = {CURSOR: page.cursor}
    return len(page.events)


def organisations() -> list[Organisation]:
    """Return every organisation that has a tenant."""
    return list(session().scalars(select(Organisation).where(Organisation.provisioned_at.is_not(None))))


def _address_of(mail: MailServices, user_id: UserId) -> str:
    """Return a user's main address, one that is deleted included; of one that is erased the id."""
    try:
        return mail.users.get(user_id).address
    except NotFound:
        pass
    try:
        return mail.deleted_users.get(user_id).user.address
    except NotFound:
        return str(user_id)


def _fields(event: Event, addresses: Mapping[UserId, str]) -> dict[str, Any]:
    return {
        "at": event.at,
        "what": event.kind[:80],
        "target": _target(event, addresses)[:400],
        "actor_kind": event.actor.kind.value,
        "actor": event.actor.identity[:400],
        "door": event.actor.door.value,
        "remote_address": event.actor.remote_address[:64],
        "outcome": event.outcome.value,
        "details": dict(event.details),
        "source": f"{event.shard}:{event.number}",
    }


def _target(event: Event, addresses: Mapping[UserId, str]) -> str:
    """Return what people call the thing: its name or address where the event has one, else the user's address."""
    wanted = event.details.get("wanted")
    if isinstance(wanted, dict):
        for name in ("address", "domain", "name", "description"):
            if isinstance(wanted.get(name), str):
                return str(wanted[name])
    return addresses[event.user_id] if event.user_id is not None else ""
