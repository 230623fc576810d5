"""A user with default mailboxes on a real MongoDB, and messages to put into them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from bson import ObjectId

from mailcore import fault
from mailcore.model.actor import Actor, ActorKind, Door
from mailcore.model.changes import Cause, Commit
from mailcore.model.ids import MailboxId, UserId
from mailcore.model.row import NewRow
from mailcore.services import MailServices
from mailcore.services.wiring import connect
from mailcore.store.mailbox.head import Head
from mailcore.store.mailbox.loading import load_view
from mailcore.store.mailbox.view import MailboxView
from mailcore.store.shard import ShardStores
from tests.builders import make_services, make_user

ACTOR = Actor(ActorKind.USER, Door.IMAP, "anna@example.test", remote_address="192.0.2.7", request_id="r1")
_numbers = itertools.count(1)


def make_row(flags: int = 0, size_bytes: int = 1000, thread: int = 7, message_id_hash: int = 0) -> NewRow:
    """A row of a message of its own."""
    number = next(_numbers)
    return NewRow(
        ObjectId().binary, flags, size_bytes, 1_700_000_000 + number, 1_700_000_001, 1_600_000_000, thread,
        message_id_hash,
    )  # fmt: skip


@dataclass
class Engine:
    """The services, one user, and short ways to use them."""

    services: MailServices
    user_id: UserId
    others: list[MailServices] = field(default_factory=list)

    @property
    def stores(self) -> ShardStores:
        return self.services.placement.home(self.user_id).shard

    @property
    def inbox(self) -> MailboxId:
        return self.mailbox("INBOX")

    def mailbox(self, name: str) -> MailboxId:
        return self.services.mailboxes.find(self.user_id, name).id

    def add(
        self, count: int = 1, name: str = "INBOX", rows: Sequence[NewRow] | None = None, key: bytes | None = None
    ) -> Commit:
        """Deliver rows without messages behind them."""
        return self.services.messages.commit_rows(
            self.user_id,
            self.mailbox(name),
            rows if rows is not None else [make_row() for _ in range(count)],
            Cause.DELIVERY,
            ACTOR,
            key or ObjectId().binary,
        )

    def fresh(self, name: str = "INBOX") -> MailboxView:
        """The mailbox as another process would read it."""
        return load_view(self.stores, self.user_id, self.mailbox(name))

    def head(self, name: str = "INBOX") -> Head:
        head = self.stores.heads.read(self.user_id, self.mailbox(name))
        assert head is not None
        return head

    def fold(self, name: str = "INBOX") -> bool:
        return self.services.messages.fold(self.user_id, self.mailbox(name))

    def another(self) -> Engine:
        """The same user as another process sees it: nothing in memory."""
        self.others.append(connect(self.services.settings))
        return Engine(self.others[-1], self.user_id)


@pytest.fixture(scope="session")
def services(directory_uri: str, shard_uris: Any) -> Iterator[MailServices]:
    made = make_services(directory_uri, shard_uris)
    yield made
    made.close()


@pytest.fixture
def engine(services: MailServices) -> Iterator[Engine]:
    made = Engine(services, make_user(services).user_id)
    yield made
    fault.install({})
    for other in made.others:
        other.close()


def same(one: MailboxView, other: MailboxView) -> bool:
    """Whether two views tell a client the same."""
    return (
        one.uid_validity == other.uid_validity
        and one.uid_next == other.uid_next
        and one.highest_modseq == other.highest_modseq
        and one.flag_sequence == other.flag_sequence
        and (one.exists, one.unseen, one.size_bytes) == (other.exists, other.unseen, other.size_bytes)
        and one.keywords == other.keywords
        and all((a == b).all() for a, b in zip(one.columns().arrays(), other.columns().arrays(), strict=True))
    )
