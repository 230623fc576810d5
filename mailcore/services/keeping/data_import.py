"""Users out of a file, rebuilt by the services that everybody uses, so that every check and event is theirs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Final

from mailcore.errors import AddressTaken, DomainNotFound, MailboxExists, MailError, ValueInvalid
from mailcore.model import data_file
from mailcore.model.actor import Actor
from mailcore.model.address import Address
from mailcore.model.data_file import Record
from mailcore.model.filter import of_user
from mailcore.model.flags import FlagSet
from mailcore.model.ids import MailboxId, UserId
from mailcore.model.limits import Limits
from mailcore.model.mailbox import SpecialUse
from mailcore.model.octets import Octets
from mailcore.services.accounts.deleted_users import DeletedUsers
from mailcore.services.accounts.users import Users
from mailcore.services.addresses.addresses import Addresses
from mailcore.services.addresses.domains import Domains
from mailcore.services.addresses.onward_targets import ConfirmedTargets
from mailcore.services.content.spool import gathered
from mailcore.services.inbound.filters import Filters
from mailcore.services.mailboxes.mailboxes import Mailboxes
from mailcore.services.mailboxes.messages import Messages, NewMessage
from mailcore.services.process.clock import now
from mailcore.store.user.filter_sets import read_rule

MALFORMED: Final = (KeyError, TypeError, ValueError, AttributeError)
"""What a record that says something else than ours leads to."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class DataImported:
    """What became of the records; pieces of messages are none."""

    entries: int = 0
    imported: int = 0
    failed: int = 0
    existing: int = 0


class DataImport:
    """Reads users in: each whole, or not at all."""

    def __init__(
        self,
        users: Users,
        deleted_users: DeletedUsers,
        domains: Domains,
        addresses: Addresses,
        filters: Filters,
        targets: ConfirmedTargets,
        mailboxes: Mailboxes,
        messages: Messages,
        limits: Limits,
    ) -> None:
        self._users = users
        self._deleted_users = deleted_users
        self._domains = domains
        self._addresses = addresses
        self._filters = filters
        self._targets = targets
        self._mailboxes = mailboxes
        self._messages = messages
        self._limits = limits

    def run(self, actor: Actor, data: Octets) -> DataImported:
        """Make the users of a file; their domains must be here already. Who is here already is left as it is.

        The whole file is checked before the first of them is made. One that cannot be made whole is deleted again.

        Raises:
            ValueInvalid: not such a file, or it was cut off or changed; nothing was made.
        """
        data_file.checked(data)
        total = DataImported()
        for records in _by_user(data_file.read(data)):
            self._one(actor, records, total)
        return total

    def _one(self, actor: Actor, records: Iterator[Record], total: DataImported) -> None:
        """Make one user of its records; every one of them is counted, whatever becomes of the user."""
        counted = 0

        def counting() -> Iterator[Record]:
            nonlocal counted
            for record in records:
                counted += record["type"] != "data"
                yield record

        rest = counting()
        user_id: UserId | None = None
        try:
            user_id = self._made(actor, next(rest))
            self._fill(actor, user_id, rest)
            outcome = "imported"
        except AddressTaken as taken:
            outcome = "existing" if user_id is None else self._undone(actor, user_id, taken)
        except (MailError, *MALFORMED) as error:
            outcome = self._undone(actor, user_id, error)
        for _ in rest:
            pass
        total.entries += counted
        setattr(total, outcome, getattr(total, outcome) + counted)

    def _undone(self, actor: Actor, user_id: UserId | None, error: Exception) -> str:
        log.warning("data_import.user_failed", extra={"reason": type(error).__name__})
        if user_id is not None:
            self._deleted_users.delete(actor, user_id, now())
        return "failed"

    def _made(self, actor: Actor, record: Record) -> UserId:
        if record["type"] != "user":
            raise ValueInvalid("records belong to the user before them")
        address = Address.parse(record["address"])
        tenant_id = self._domains.owner_of(address.canonical.rpartition("@")[2])
        if tenant_id is None:
            raise DomainNotFound(f"the domain of {address.display} is not here")
        user_id = self._users.create(actor, address.display, None, record["name"], tenant_id, record["quota_bytes"])
        try:
            self._users.set_settings(actor, user_id, _settings(record["settings"]))
            if confirmed := record.get("confirmed_targets"):
                self._targets.vouch(actor, user_id, confirmed)
        except (MailError, *MALFORMED):
            self._deleted_users.delete(actor, user_id, now())
            raise
        return user_id

    def _fill(self, actor: Actor, user_id: UserId, records: Iterator[Record]) -> None:
        own = replace(actor, on_behalf_of=user_id)
        mailboxes: dict[MailboxId, MailboxId] = {}
        message: Record | None = None
        pieces: list[bytes] = []
        for record in chain(records, [{"type": data_file.END}]):
            if record["type"] == "data":
                pieces.append(record["data"])
                continue
            if message is not None:
                self._append(own, user_id, message, pieces)
                message, pieces = None, []
            if record["type"] == "message":
                message = record
            elif record["type"] == "mailbox":
                mailboxes[MailboxId(record["id"])] = self._mailbox(own, user_id, record)
            elif record["type"] == "address":
                self._addresses.create(actor, user_id, record["address"], allow_wildcard=True, name=record["name"])
            elif record["type"] == "filter":
                self._filter(actor, user_id, record, mailboxes)

    def _append(self, actor: Actor, user_id: UserId, record: Record, pieces: list[bytes]) -> None:
        raw = gathered(pieces, self._limits.message_bytes)
        if len(raw) != record["size"]:
            raise ValueInvalid("a message has another size than its record says")
        flags = FlagSet(int(record["flags"]), tuple(record["keywords"]))
        self._messages.append(user_id, actor, record["mailbox"], [NewMessage(raw, flags, int(record["date"]))])

    def _mailbox(self, actor: Actor, user_id: UserId, record: Record) -> MailboxId:
        use = SpecialUse(record["special_use"]) if record["special_use"] else None
        found = self._mailboxes.tree(user_id).find(record["name"])
        if found is not None:
            return found.id
        try:
            return self._mailboxes.create(
                user_id, actor, record["name"], special_use=use, subscribed=bool(record["subscribed"])
            )
        except MailboxExists:
            return self._mailboxes.find(user_id, record["name"]).id

    def _filter(self, actor: Actor, user_id: UserId, record: Record, mailboxes: dict[MailboxId, MailboxId]) -> None:
        content = read_rule(record["rule"]).content
        if content.action.mailbox_id is not None:
            target = mailboxes.get(content.action.mailbox_id)
            content = replace(content, action=replace(content.action, mailbox_id=target))
        self._filters.create(actor, of_user(user_id), content)


def _by_user(records: Iterator[Record]) -> Iterator[Iterator[Record]]:
    """Yield the records of each user; each group is read to its end before the next."""
    waiting = next(records, None)

    def group() -> Iterator[Record]:
        nonlocal waiting
        assert waiting is not None
        yield waiting
        for record in records:
            if record["type"] == "user":
                waiting = record
                return
            yield record
        waiting = None

    while waiting is not None:
        yield group()


def _settings(given: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
