"""Messages leave when their time in a mailbox is over, and can be restored."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mailcore.model.ids import MailboxId
from mailcore.services import MailServices
from mailcore.services.mailboxes.expiry import Expiry
from mailcore.store.mailbox.notes import Note
from tests.builders import OPERATOR, MadeUser, make_services, make_user
from tests.store.test_delivery import deliver, message

DAY_MS = 24 * 3600 * 1000


@pytest.fixture(scope="module")
def services(directory_uri: str, shard_uris: dict[str, Any]) -> Iterator[MailServices]:
    connected = make_services(directory_uri, shard_uris)
    yield connected
    connected.close()


@pytest.fixture
def user(services: MailServices) -> MadeUser:
    made = make_user(services)
    deliver(services, message(b"one"), made)
    deliver(services, message(b"two"), made)
    return made


def inbox(services: MailServices, user: MadeUser) -> MailboxId:
    return services.mailboxes.find(user.user_id, "INBOX").id


def run(services: MailServices, user: MadeUser, days: float) -> int:
    """A run so many days from now."""
    moment = (datetime.now(UTC) + timedelta(days=days)).timestamp()
    expiry = Expiry(services.placement, services.mailboxes, services.messages, lambda: moment)
    return expiry.run(OPERATOR, services.placement.home(user.user_id).shard.name)


def uids(services: MailServices, user: MadeUser) -> list[int]:
    found: list[int] = services.mailboxes.open(user.user_id, "INBOX").uids.tolist()
    return found


def test_a_mailbox_keeps_messages_as_long_as_it_says(services: MailServices, user: MadeUser) -> None:
    run(services, user, 1000)
    assert uids(services, user) == [1, 2]
    services.mailboxes.set_options(user.user_id, OPERATOR, "INBOX", retention_ms=3 * DAY_MS)
    run(services, user, 2.9)
    assert uids(services, user) == [1, 2]
    assert run(services, user, 3.1) == 2
    assert uids(services, user) == []
    assert len(services.archive.of_user(user.user_id)) == 2
    assert run(services, user, 4) == 0


def test_a_message_expires_when_it_says(services: MailServices, user: MadeUser) -> None:
    note = Note(b"", datetime.now(UTC) + timedelta(days=2))
    services.messages.put_note(user.user_id, OPERATOR, inbox(services, user), 1, note)
    run(services, user, 1)
    assert uids(services, user) == [1, 2]
    assert run(services, user, 3) >= 1
    assert uids(services, user) == [2]
    assert run(services, user, 3) == 0


def test_what_is_gone_holds_nothing_up(services: MailServices, user: MadeUser) -> None:
    services.mailboxes.create(user.user_id, OPERATOR, "Gone")
    entry = services.mailboxes.find(user.user_id, "Gone")
    shard = services.placement.home(user.user_id).shard
    shard.notes.put(user.user_id, entry.id, {7: Note(b"", datetime.now(UTC))})
    services.mailboxes.delete(user.user_id, OPERATOR, "Gone")
    run(services, user, 1)
    assert shard.notes.due(datetime.now(UTC) + timedelta(days=1), 10_000).get(user.user_id) is None


def test_a_user_says_it_for_all_mailboxes_that_say_nothing(services: MailServices, user: MadeUser) -> None:
    services.users.set_settings(OPERATOR, user.user_id, {"expires_after_s": 24 * 3600})
    run(services, user, 0.9)
    assert uids(services, user) == [1, 2]
    services.mailboxes.set_options(user.user_id, OPERATOR, "INBOX", retention_ms=3 * DAY_MS)
    run(services, user, 1.1)
    assert uids(services, user) == [1, 2]
    services.mailboxes.set_options(user.user_id, OPERATOR, "INBOX", retention_ms=0)
    run(services, user, 1.1)
    assert uids(services, user) == []
