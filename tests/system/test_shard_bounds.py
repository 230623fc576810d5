"""A session's commands go to its own shard and bind the keys of its own user; seen by the driver's listener."""

from __future__ import annotations

import base64
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pymongo
import pytest
from bson import ObjectId
from pymongo import monitoring

from mailcore.lmtp.policy import LmtpPolicy
from mailcore.model.actions import Peer, Send
from mailcore.model.filter import RuleContent, of_user
from mailcore.services import MailServices
from mailcore.smtp.connection import SmtpConnection
from mailcore.store import direct, owned
from tests.builders import OPERATOR, MadeUser, make_services, make_settings, make_user
from tests.system.strict_imap import read_responses
from tests.transcripts.imap.dialogue import Imap

OF_TENANT = {"blobs", "blob_refs", "chunks"}
"""Collections whose keys begin with the tenant; all others with the user."""
ALL_COLLECTIONS = {
    "mailbox_trees", "mailboxes", "segments", "row_blocks", "messages", "message_ids", "blocks", "vanished", "purge",
    "events", "blobs", "blob_refs", "chunks", "filters",
}  # fmt: skip
OWNERLESS = {"getMore", "dbStats"}
MANY = 60
"""More rows than fit into one log entry, so that a copy of them needs a row block."""


@dataclass(frozen=True)
class Seen:
    """One command as it left the driver."""

    name: str
    database: str
    address: tuple[str, int | None]
    command: Mapping[str, Any]

    @property
    def collection(self) -> str:
        return str(self.command["collection"] if self.name == "getMore" else self.command[self.name])

    @property
    def filters(self) -> Sequence[Mapping[str, Any]]:
        """What it asks for, or writes."""
        command = self.command
        if self.name == "find":
            return [command.get("filter", {})]
        if self.name == "findAndModify":
            return [command.get("query", {})]
        if self.name == "aggregate":
            return [command["pipeline"][0].get("$match", {})]
        if self.name == "insert":
            return list(command["documents"])
        if self.name in {"update", "delete"}:
            return [one["q"] for one in command[f"{self.name}s"]]
        return [{}]


class Listener(monitoring.CommandListener):
    """Keeps the commands of every client opened after it was registered, while somebody looks."""

    def __init__(self) -> None:
        self._seen: list[Seen] | None = None
        self._lock = threading.Lock()

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        with self._lock:
            if self._seen is not None:
                address = event.connection_id
                self._seen.append(Seen(event.command_name, event.database_name, address, event.command))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        pass

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        pass

    def look(self) -> None:
        with self._lock:
            self._seen = []

    def taken(self) -> list[Seen]:
        with self._lock:
            seen, self._seen = self._seen, None
        return [one for one in seen or [] if one.name not in {"hello", "ping", "endSessions", "killCursors"}]


LISTENER = Listener()


@dataclass(frozen=True)
class Bounds:
    """Where the commands of one user may go."""

    hot: str
    cold: str
    directory: str
    user: bytes
    tenant: bytes
    addresses: frozenset[tuple[str, int | None]]

    def fault(self, seen: Seen) -> str | None:
        """Say what is wrong with a command, None if nothing is."""
        if seen.address not in self.addresses:
            return f"sent to {seen.address}"
        if seen.database == self.directory:
            return self._directory_fault(seen)
        if seen.name == "dbStats":  # how much room there is, now and then; about nobody's data
            return None if seen.database == self.hot else f"sent to {seen.database}"
        if seen.database != (self.cold if seen.collection == "chunks" else self.hot):
            return f"sent to {seen.database}"
        if seen.name == "getMore":
            return None  # of a cursor that a find of this list has opened
        owner = self.tenant if seen.collection in OF_TENANT else self.user
        if not seen.filters or not all(_binds(one.get("_id"), owner) for one in seen.filters):
            return f"_id not bound: {seen.collection} {seen.filters}"
        return None

    def _directory_fault(self, seen: Seen) -> str | None:
        """Look-ups only, and of one thing each."""
        if seen.name != "find":
            return f"{seen.name} in the directory"
        exact = (str, bytes, ObjectId)
        if not any(isinstance(value, exact) for value in seen.filters[0].values()):
            return f"not one thing: {seen.collection} {seen.filters}"
        return None


def _binds(condition: object, owner: bytes) -> bool:
    if isinstance(condition, bytes):
        return condition.startswith(owner)
    if not isinstance(condition, Mapping):
        return False
    if "$in" in condition:
        return bool(condition["$in"]) and all(_binds(key, owner) for key in condition["$in"])
    low = condition.get("$gte", condition.get("$gt"))
    high = condition.get("$lte", condition.get("$lt"))
    return isinstance(low, bytes) and isinstance(high, bytes) and low.startswith(owner) and high.startswith(owner)


@pytest.fixture(scope="module")
def services(directory_uri: str, shard_uris: dict[str, Any]) -> Iterator[MailServices]:
    monitoring.register(LISTENER)
    made = make_services(directory_uri, shard_uris)
    made.placement.shards()
    began = time.monotonic()
    made.placement._clock = lambda: began  # the list of shards, which is nobody's, is read again every half minute
    yield made
    made.close()


@pytest.fixture
def strangers(services: MailServices) -> list[MadeUser]:
    """On each shard somebody else, with the same attachment."""
    made = [make_user(services, shard=shard) for shard in ("a", "b")]
    for one in made:
        deliver(services, one, message())
    return made


def message() -> bytes:
    attached = base64.encodebytes(b"the same for everybody " * 20_000).replace(b"\n", b"\r\n")
    return (
        b"From: a@b.c\r\nSubject: bounds\r\nMessage-ID: <%b@b.c>\r\nReferences: <first@b.c>\r\nMIME-Version: 1.0\r\n"
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nneedle\r\n"
        b"--b\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n%b--b--\r\n"
        % (os.urandom(8).hex().encode(), attached)
    )


def deliver(services: MailServices, user: MadeUser, raw: bytes) -> None:
    """By the LMTP server's own connection."""
    policy = LmtpPolicy(services.delivery, services.spam, make_settings("mongodb://unused/unused"))
    connection = SmtpConnection(policy, Peer("127.0.0.1", 1, None, "x"), offers_tls=False)
    begin = f"LHLO x\r\nXFORWARD IDENT={os.urandom(4).hex()}\r\nMAIL FROM:<>\r\nRCPT TO:<{user.address}>\r\nDATA\r\n"
    said = b"".join(one.data for one in connection.receive(begin.encode() + raw + b".\r\n") if isinstance(one, Send))
    assert said.endswith(b"250 2.0.0 Delivered\r\n") or b"\r\n250 2.0.0" in said, said


SESSION = [
    'LIST "" *', "STATUS INBOX (MESSAGES UNSEEN)", "SELECT INBOX", "FETCH 1:4 (FLAGS UID INTERNALDATE RFC822.SIZE)",
    "FETCH 1:4 (ENVELOPE BODYSTRUCTURE BODY.PEEK[HEADER.FIELDS (SUBJECT)])", "FETCH 1 BODY[]",
    "FETCH 2 BODY.PEEK[2]<100.200>", "STORE 1:2 +FLAGS (\\Flagged $Work)", "CREATE Work/2024", "SUBSCRIBE Work/2024",
    "COPY 1:* Work/2024", "MOVE 2 Archive", "SEARCH TEXT needle", "SEARCH FLAGGED SUBJECT bounds",
    "STORE 1 +FLAGS (\\Deleted)", "EXPUNGE", "NOOP", "RENAME Work Arbeit", "SELECT Arbeit/2024",
    "FETCH 1:4 (FLAGS BODY.PEEK[TEXT])", "UID SEARCH ALL", "CLOSE", "SELECT Archive", "FETCH 1:* ALL", "UNSELECT",
    "UNSUBSCRIBE Arbeit/2024", "DELETE Arbeit/2024", 'LSUB "" *', "LOGOUT",
]  # fmt: skip


def whole_session(services: MailServices, user: MadeUser) -> list[Seen]:
    """Mail comes in, and a client does all that it can do with it."""
    services.filters.create(OPERATOR, of_user(user.user_id), RuleContent())
    services.placement.forget(user.user_id)
    LISTENER.look()
    for _ in range(3):
        deliver(services, user, message())
    client = Imap(services, user).sign_in()
    raw = message()
    client.ask(b"a APPEND INBOX (\\Seen) {%d}\r\n" % len(raw))
    assert b"a OK" in client.ask(raw + b"\r\n")
    for _ in range(MANY):
        client.ask(b"a APPEND INBOX {14+}\r\nSubject: x\r\n\r\n\r\n")
    for command in SESSION:
        answer = read_responses(client.ask(b"a " + command.encode() + b"\r\n"))
        assert answer[-1].kind == b"OK", (command, answer[-1])
    inbox = services.mailboxes.find(user.user_id, "INBOX").id
    services.messages.fold(user.user_id, inbox)
    return LISTENER.taken()


def bounds_of(services: MailServices, user: MadeUser) -> Bounds:
    shard = services.placement.home(user.user_id).shard
    directory_uri = services.settings.mongo_uri.reveal_text()
    directory = pymongo.uri_parser.parse_uri(directory_uri)
    addresses = {shard.hot.client.address, shard.cold.client.address, *directory["nodelist"]}
    return Bounds(
        shard.hot.name,
        shard.cold.name,
        str(directory["database"]),
        user.user_id.binary,
        user.tenant_id.binary,
        frozenset(address for address in addresses if address is not None),
    )


@pytest.mark.parametrize("shard", ["a", "b"])
def test_whole_session_stays_with_its_own(services: MailServices, strangers: list[MadeUser], shard: str) -> None:
    """Every command of delivery and of a client, with nothing known of the user before."""
    user = make_user(services, shard=shard)
    seen = whole_session(services, user)
    bounds = bounds_of(services, user)
    assert [fault for one in seen if (fault := bounds.fault(one))] == []
    of_shard = Counter(one.collection for one in seen if one.database != bounds.directory)
    print(f"shard {shard}: {len(seen)} commands, {sum(of_shard.values())} to the shard: {dict(of_shard)}")
    assert of_shard.keys() >= ALL_COLLECTIONS, "the session has touched all there is"
    for stranger in strangers:
        others = bounds_of(services, stranger)
        assert all(others.fault(one) for one in seen if one.database != bounds.directory and one.name not in OWNERLESS)


def test_commands_without_owner_or_to_another_shard_are_seen(services: MailServices, strangers: list[MadeUser]) -> None:
    """Negative control: the same look at queries that forget whose they are."""
    user, neighbour = (make_user(services, shard="b") for _ in range(2))
    bounds = bounds_of(services, user)
    mine = services.placement.home(user.user_id).shard
    other_shard = services.placement.shard("a")
    key = user.user_id.binary
    lowest, highest = bytes(24), b"\xff" * 24
    wrong: list[tuple[Any, dict[str, Any]]] = [
        (mine.hot["messages"], {}),
        (mine.hot["messages"], {"sha256": b"x"}),
        (mine.hot["messages"], {"_id": {"$gte": lowest, "$lte": highest}}),
        (mine.hot["messages"], {"_id": {"$gte": key + bytes(12)}}),
        (mine.hot["messages"], {"_id": {"$in": [key + bytes(12), neighbour.user_id.binary + bytes(12)]}}),
        (mine.hot["blobs"], {"_id": key + bytes(32)}),
        (other_shard.hot["messages"], {"_id": key + bytes(12)}),
        (other_shard.cold["chunks"], {"_id": user.tenant_id.binary + bytes(44)}),
    ]
    for collection, query in wrong:
        LISTENER.look()
        list(collection.find(query).limit(1))
        (one,) = LISTENER.taken()
        assert bounds.fault(one), query
    LISTENER.look()
    list(mine.hot["messages"].find({"_id": key + bytes(12)}))
    assert bounds.fault(*LISTENER.taken()) is None


def test_repository_that_forgets_the_owner_turns_the_check_red(
    services: MailServices, strangers: list[MadeUser], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: one function replaced, so that reads of a list go over the whole collection."""
    user = make_user(services, shard="b")
    for _ in range(2):
        deliver(services, user, message())

    def careless(self: owned.OwnedCollection, query: Any, *args: Any, **options: Any) -> Any:
        return direct.find_all(self._collection, {}, *args, **options)

    monkeypatch.setattr(owned.OwnedCollection, "find_all", careless)
    LISTENER.look()
    client = Imap(services, user).sign_in()
    client.ask(b"a SELECT INBOX\r\na FETCH 1:2 ENVELOPE\r\n")
    bounds = bounds_of(services, user)
    assert any(bounds.fault(one) for one in LISTENER.taken())
