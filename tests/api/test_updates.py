"""A user's changes as server-sent events: what is told, in which order, and that nothing is missing after a gap."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from werkzeug.test import Client

from infra.devstack.endpoints import ShardUris
from mailcore.api import updates as updates_module
from mailcore.api.application import Application
from mailcore.model.flags import SEEN, FlagOperation, FlagSet
from mailcore.model.roles import Role
from mailcore.model.uid_set import UidSet
from mailcore.services import MailServices
from mailcore.services.accounts import bearers
from mailcore.services.events import updates as updates_service
from mailcore.services.mailboxes.messages import NewMessage
from mailcore.store.user import trail as trail_module
from tests.api.conftest import Api
from tests.builders import OPERATOR, MadeUser, make_services, make_user
from tests.store.test_delivery import deliver, message
from tests.waiting import wait_until

WITHIN_S = 20.0
ONE, TWO = UidSet(((1, 1),)), UidSet(((2, 2),))


@dataclass
class Listener:
    """Reads a stream in a thread, as a client does."""

    pieces: Iterator[bytes]
    close: Callable[[], None]
    commands: list[dict[str, Any]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)
    began: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        for piece in self.pieces:
            self.began.set()
            for block in piece.decode().split("\n\n"):
                lines = block.split("\n")
                data = "\n".join(line.removeprefix("data: ") for line in lines if line.startswith("data: "))
                if "event: error" in lines:
                    self.errors.append(data)
                elif data:
                    self.commands.append(orjson.loads(data))
                self.ids += [line.removeprefix("id: ") for line in lines if line.startswith("id: ")]
        self.ended.set()

    def until(self, *names: str) -> list[dict[str, Any]]:
        """Wait until these commands came, in this order, whatever counters are between."""
        ends_at = time.monotonic() + WITHIN_S
        while time.monotonic() < ends_at:
            told = [one for one in list(self.commands) if one["command"] != "COUNTERS"]
            if [one["command"] for one in told][: len(names)] == list(names):
                return told
            time.sleep(0.05)
        raise AssertionError([one["command"] for one in self.commands])


@contextmanager
def listening(api: Api, after: str = "", path: str = "/users/me/updates") -> Iterator[Listener]:
    headers = {"X-Access-Token": api.token or ""} | ({"Last-Event-ID": after} if after else {})
    answer = Client(api.app).get(path, headers=headers, buffered=False)
    assert (answer.status_code, answer.mimetype) == (200, "text/event-stream")
    stop = threading.Event()

    def pieces() -> Iterator[bytes]:
        for piece in answer.response:
            yield piece  # type: ignore[misc]
            if stop.is_set():
                return

    listener = Listener(pieces(), answer.close)
    thread = threading.Thread(target=listener.run, daemon=True)
    thread.start()
    try:
        assert listener.began.wait(WITHIN_S)
        yield listener
    finally:
        stop.set()


def number(services: MailServices) -> None:
    for sequencer in services.events.sequencers():
        sequencer.catch_up()


@pytest.fixture(autouse=True)
def _prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updates_service, "SELDOM_S", 0.5)
    monkeypatch.setattr(updates_module, "IDLE_S", 0.5)


def change_everything(services: MailServices, user: MadeUser) -> str:
    """Mail comes, is read, goes; a mailbox is made, renamed and deleted."""
    inbox = services.mailboxes.find(user.user_id, "INBOX").id
    deliver(services, message(b"one"), user)
    deliver(services, message(b"two"), user)
    services.messages.store(user.user_id, OPERATOR, inbox, TWO, FlagOperation.ADD, FlagSet(SEEN))
    services.messages.expunge(user.user_id, OPERATOR, inbox, ONE, only_deleted=False)
    services.mailboxes.create(user.user_id, OPERATOR, "Plans")
    services.mailboxes.rename(user.user_id, OPERATOR, "Plans", "Deeds")
    services.mailboxes.delete(user.user_id, OPERATOR, "Deeds")
    number(services)
    return str(inbox)


MAIL = ["EXISTS", "EXISTS", "FETCH", "EXPUNGE"]
TREE = ["CREATE", "RENAME", "DELETE"]


def of(listener: Listener, names: list[str]) -> list[str]:
    return [one["command"] for one in list(listener.commands) if one["command"] in names]


def wait_for(listener: Listener) -> None:
    """Until all that `change_everything` does was told; the order is that of each mailbox and of the tree."""
    wait_until(lambda: (of(listener, MAIL), of(listener, TREE)) == (MAIL, TREE), WITHIN_S, lambda: listener.commands)


def wait_for_counters(listener: Listener, last: dict[str, Any]) -> None:
    """Until the last that was told of counters is this; they come behind the changes."""

    def counters() -> list[dict[str, Any]]:
        return [one for one in list(listener.commands) if one["command"] == "COUNTERS"]

    wait_until(lambda: counters()[-1:] == [last], WITHIN_S, lambda: listener.commands)


def test_every_change_is_told_in_order_and_nobody_elses(own: Api, services: MailServices, user: MadeUser) -> None:
    number(services)
    with listening(own) as client:
        deliver(
            services, message(b"not yours"), make_user(services, tenant=(user.tenant_id, user.address.split("@")[1]))
        )
        inbox = change_everything(services, user)
        wait_for(client)
        wait_for_counters(client, {"command": "COUNTERS", "mailbox": inbox, "total": 1, "unseen": 0})
        told = list(client.commands)
    mail = [one for one in told if one["command"] in MAIL]
    assert {one["mailbox"] for one in mail} == {inbox}
    assert [one["uid"] for one in mail] == [1, 2, 2, 1]
    assert (mail[0]["unseen"], len(mail[0]["message"])) == (True, 24)
    tree = [(one["command"], one["path"]) for one in told if one["command"] in TREE]
    assert tree == [("CREATE", "Plans"), ("RENAME", "Deeds"), ("DELETE", "Deeds")]


def test_a_client_goes_on_after_any_event_it_knows(own: Api, services: MailServices, user: MadeUser) -> None:
    number(services)
    start = services.updates.open(user.user_id)
    position = start.position
    start.close()
    change_everything(services, user)
    with listening(own, position) as client:
        wait_for(client)
        whole, ids = [one for one in client.commands if one["command"] != "COUNTERS"], list(client.ids)
    assert len(ids) == len(whole)
    for known in range(1, len(whole)):
        with listening(own, path=f"/users/me/updates?Last-Event-ID={ids[known - 1]}") as client:
            rest = client.until(*[one["command"] for one in whole[known:]])
        assert rest == whole[known:]


def test_a_feed_that_began_at_the_end_would_miss_what_happened(
    own: Api, services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: without the position nothing of the gap is told."""
    monkeypatch.setattr(updates_service, "_number", lambda *_: None)
    monkeypatch.setattr("tests.api.test_updates.WITHIN_S", 2.0)
    with pytest.raises(AssertionError):
        test_a_client_goes_on_after_any_event_it_knows(own, services, user)


@pytest.mark.parametrize("after", ["x", "5fd0a1b2c3d4e5f601234567", "zz:1", "a:999999999999"])
def test_a_position_that_is_none_is_told_as_an_error(own: Api, after: str) -> None:
    with listening(own, after) as client:
        ends_at = time.monotonic() + WITHIN_S
        while not client.ids and time.monotonic() < ends_at:
            time.sleep(0.02)
    assert len(client.errors) == 1
    assert "read everything anew" in client.errors[0]


def test_it_is_told_without_any_notice(
    own: Api, services: MailServices, user: MadeUser, directory_uri: str, shard_uris: dict[str, ShardUris]
) -> None:
    """As while Redis is away: another process made the change, and nobody was told."""
    number(services)
    other = make_services(directory_uri, shard_uris)
    try:
        with listening(own) as client:
            deliver(other, message(b"x"), user)
            number(other)
            client.until("EXISTS")
    finally:
        other.close()


def test_it_ends_when_the_token_is_revoked(services: MailServices, app: Application, user: MadeUser) -> None:
    owner = services.tokens.owner_of_user(user.user_id)
    made, value = services.tokens.create(OPERATOR, owner, Role.USER, "test")
    with listening(Api(app, value.reveal_text())) as client:
        services.tokens.revoke(OPERATOR, owner, made.id)
        assert client.ended.wait(WITHIN_S)


def test_a_token_is_asked_for_more_often_than_every_five_seconds() -> None:
    assert bearers.GOOD_FOR_S + updates_module.LOOK_S < 5


def test_a_user_has_so_many_streams_and_no_more(own: Api, services: MailServices, user: MadeUser) -> None:
    services.users.set_limit(OPERATOR, user.user_id, "connections", 2)
    services.placement.forget(user.user_id)
    feeds = [services.updates.open(user.user_id) for _ in range(2)]
    refused = own.get("/users/me/updates")
    assert (refused.status, refused.body["code"]) == (429, "RateLimitedError")
    for feed in feeds:
        feed.close()
    services.connections.flush()
    services.updates.open(user.user_id).close()


def test_a_stream_holds_a_batch_and_no_more(
    services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much there is to tell, and however slowly it is read: 5 events at once here, all of them in the end."""
    monkeypatch.setattr(updates_service, "EVENTS", 5)
    number(services)
    feed = services.updates.open(user.user_id)
    for name in range(12):
        services.mailboxes.create(user.user_id, OPERATOR, f"Box {name}")
    number(services)
    sizes = []
    read = trail_module.Trail.of_user

    def counted(*arguments: Any) -> Any:
        found = read(*arguments)
        sizes.append(len(found))
        return found

    monkeypatch.setattr(trail_module.Trail, "of_user", counted)
    told = feed.read()
    assert next(told).command["path"] == "Box 0"
    assert sizes == [5]
    assert [update.command["path"] for update in told] == [f"Box {name}" for name in range(1, 12)]
    assert max(sizes) == 5
    feed.close()


def test_large_changes_are_told_one_by_one(own: Api, services: MailServices, user: MadeUser) -> None:
    """Rows that lie outside of the log are found as well."""
    raw = [NewMessage(b"Subject: x\r\n\r\n") for _ in range(40)]
    number(services)
    with listening(own) as client:
        services.messages.append(user.user_id, OPERATOR, "INBOX", raw)
        number(services)
        told = client.until(*["EXISTS"] * 40)
        assert [one["uid"] for one in told] == list(range(1, 41))
        assert len(client.ids) == 1
