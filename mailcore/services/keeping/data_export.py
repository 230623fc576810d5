"""Users as a file, with their mail: for another installation, or to be kept.

What signs in is left out (passwords, app passwords, second factors, tokens), and so is what other users share.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Final

from mailcore.errors import MailboxChanged, UserNotFound
from mailcore.model import data_file
from mailcore.model.actor import Actor
from mailcore.model.data_file import PIECE_BYTES, Record
from mailcore.model.event import Details
from mailcore.model.filter import of_user
from mailcore.model.flags import KEYWORD_SHIFT, SYSTEM_MASK
from mailcore.model.ids import UserId
from mailcore.model.mailbox import MailboxEntry
from mailcore.model.tenant import User
from mailcore.model.user_filter import UserFilter
from mailcore.services.accounts.users import Users
from mailcore.services.addresses.addresses import Addresses
from mailcore.services.content.content import ContentStore
from mailcore.services.events.audit import Audit
from mailcore.services.inbound.filters import Filters
from mailcore.services.mailboxes.mailboxes import Mailboxes
from mailcore.store.mailbox.view import keyword_names
from mailcore.store.user.filter_sets import rule_document

LEFT_OUT: Final = frozenset({"mta_relay", "internal_data"})
"""Settings that may hold secrets of whoever runs this installation."""
PAGE: Final = 200


class DataExport:
    """Writes users out, one message in memory at a time."""

    def __init__(
        self,
        users: Users,
        addresses: Addresses,
        filters: Filters,
        mailboxes: Mailboxes,
        content: ContentStore,
        audit: Audit,
    ) -> None:
        self._users = users
        self._addresses = addresses
        self._filters = filters
        self._mailboxes = mailboxes
        self._content = content
        self._audit = audit

    def export(self, actor: Actor, user_ids: Sequence[UserId], tags: Sequence[str]) -> Iterator[bytes]:
        """Yield a file of these users and of those with one of the tags; told as an event before the first byte.

        Raises:
            UserNotFound: one of them is not there.
            StoreUnavailable: it cannot be told.
        """
        users = self._chosen(user_ids, tags)
        wanted: Details = {"users": [str(user.id) for user in users]}
        with self._audit.of_platform(actor, "data.exported", wanted):
            pass
        return data_file.written(record for user in users for record in self._records(user.id))

    def _chosen(self, user_ids: Sequence[UserId], tags: Sequence[str]) -> list[User]:
        found = {user_id: self._users.get(user_id) for user_id in user_ids}
        after: UserId | None = None
        while tags:
            wanted = UserFilter(any_tags=tuple(tags))
            page, _ = self._users.search(wanted, after=after, before=None, limit=PAGE)
            found.update({user.id: user for user in page})
            if len(page) < PAGE:
                break
            after = page[-1].id
        if not found and user_ids:
            raise UserNotFound(user_ids[0])
        return list(found.values())

    def description(self, user_id: UserId) -> Iterator[Record]:
        """Yield what there is of a user beside mail: one record each for the user, addresses, mailboxes and rules.

        Raises:
            UserNotFound: there is no such user.
        """
        user = self._users.get(user_id)
        settings = {name: value for name, value in asdict(user.settings).items() if name not in LEFT_OUT}
        yield {
            "type": "user",
            "address": user.address,
            "name": user.name,
            "quota_bytes": user.quota_bytes,
            "confirmed_targets": sorted(user.onward.confirmed),
            "settings": {name: list(one) if isinstance(one, tuple) else one for name, one in settings.items()},
        }
        for route in self._addresses.list_of_user(user.id):
            if route.display != user.address:
                yield {"type": "address", "address": route.display, "name": route.name}
        for entry in self._mailboxes.tree(user.id).entries:
            yield {
                "type": "mailbox",
                "id": entry.id,
                "name": entry.name,
                "special_use": entry.special_use.value if entry.special_use is not None else None,
                "subscribed": entry.subscribed,
            }
        for rule in self._filters.list_of(of_user(user.id)).rules:
            yield {"type": "filter", "rule": rule_document(rule)}

    def _records(self, user_id: UserId) -> Iterator[Record]:
        yield from self.description(user_id)
        for entry in self._mailboxes.tree(user_id).entries:
            yield from self._messages(user_id, entry)

    def _messages(self, user_id: UserId, entry: MailboxEntry) -> Iterator[Record]:
        try:
            view = self._mailboxes.refresh(user_id, entry.id)
        except MailboxChanged:
            return
        oids = [bytes(view.message_oid(row)) for row in range(view.exists)]
        rows = iter(range(view.exists))
        for content in self._content.open_many(user_id, oids):  # in this order, without what is not there
            row = next(row for row in rows if oids[row] == content.message_oid)
            bits = int(view.flags[row])
            yield {
                "type": "message",
                "mailbox": entry.name,
                "flags": bits & SYSTEM_MASK,
                "keywords": list(keyword_names(bits >> KEYWORD_SHIFT << KEYWORD_SHIFT, view.keywords)),
                "date": int(view.internal_dates[row]),
                "size": content.size_bytes,
            }
            for piece in content.read():
                for at in range(0, len(piece), PIECE_BYTES):
                    yield {"type": "data", "data": bytes(piece[at : at + PIECE_BYTES])}
