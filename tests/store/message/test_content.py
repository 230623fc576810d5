"""What BODY[] returns is byte for byte what arrived."""

from __future__ import annotations

import base64
import os
import quopri
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.generator import BytesGenerator
from email.message import EmailMessage
from io import BytesIO
from itertools import chain

import pytest
from pymongo import monitoring
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from infra.devstack.endpoints import ShardUris
from mailcore.errors import MessageNotFound
from mailcore.model.section import Section, SectionText
from mailcore.services import MailServices
from mailcore.services.content.storing import Copy
from mailcore.store.message.chunks import Tier
from mailcore.store.shard import ShardStores
from tests.builders import OPERATOR, MadeUser, make_services, make_tenant, make_user
from tests.corpus import iter_corpus
from tests.hostile import HOSTILE

PREFIX = b"Return-Path: <a@example.org>\r\nDelivered-To: u@example.net\r\n"


@pytest.fixture(scope="module")
def services(directory_uri: str, shard_uris: dict[str, ShardUris]) -> MailServices:
    connected = make_services(directory_uri, shard_uris)
    yield connected
    connected.close()


@pytest.fixture
def user(services: MailServices) -> MadeUser:
    return make_user(services, shard="a")


def attachment(data: bytes, columns: int, line_end: bytes, final: bytes, boundary: bytes = b"b0") -> bytes:
    """A multipart with one base64 part whose lines are as given."""
    encoded = base64.b64encode(data)
    lines = [encoded[at : at + columns] for at in range(0, len(encoded), columns)]
    head = b"From: a@example.org\nTo: b@example.org\nSubject: one\nMessage-ID: <1@example.org>\nMIME-Version: 1.0\n"
    head += b'Content-Type: multipart/mixed; boundary="' + boundary + b'"\n\n--' + boundary + b"\n"
    head += b"Content-Type: text/plain\n\nhello\n--" + boundary + b"\n"
    head += b'Content-Type: application/pdf; name="x.pdf"\nContent-Transfer-Encoding: base64\n\n'
    tail = b"\n--" + boundary + b"--\n"
    return head.replace(b"\n", line_end) + line_end.join(lines) + final + tail.replace(b"\n", line_end)


def quoted(data: bytes) -> bytes:
    body = quopri.encodestring(data).replace(b"\n", b"\r\n")
    return b"Content-Type: application/x; name=y\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" + body


def random_bytes(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


MESSAGES: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "one byte": lambda: b"x",
    "only a header": lambda: b"Subject: x\r\n",
    "small": lambda: b"Subject: x\r\n\r\nbody\r\n",
    "nul and eight bit": lambda: b"Subject: x\r\n\r\n" + bytes(range(256)) * 10,
    "big text": lambda: b"Subject: big\r\n\r\n" + b"line of text\r\n" * 100_000,
    "huge text": lambda: b"Subject: huge\r\n\r\n" + b"line of text\r\n" * 700_000,
    "quoted-printable": lambda: quoted(random_bytes(1, 200_000)),
    "base64 with a stray line": lambda: attachment(random_bytes(2, 200_000), 76, b"\r\n", b"").replace(
        b"\r\n", b"\r\n \r\n", 20
    ),
    "base64 of nothing right": lambda: attachment(random_bytes(3, 100_000), 76, b"\r\n", b"").replace(b"A", b"-", 3),
    "huge header": lambda: b"X-A: " + b"y" * 70 + (b"\r\nX-B: " + b"z" * 900) * 3000 + b"\r\n\r\nbody",
    "many small parts": lambda: (
        b"Content-Type: multipart/mixed; boundary=q\r\n\r\n"
        + b"".join(b"--q\r\n\r\n" + b"%d " % n * 400 + b"\r\n" for n in range(1500))
        + b"--q--\r\n"
    ),
}
for columns in (76, 64, 72, 60, 4, 1000):
    for line_end, name in ((b"\r\n", "CRLF"), (b"\n", "LF")):
        for final in (b"", line_end, line_end * 2):
            MESSAGES[f"base64 {columns} {name} {len(final)}"] = lambda c=columns, e=line_end, f=final: attachment(
                random_bytes(c, 100_000 + c), c, e, f
            )
for size in (1_025_999, 1_026_000, 1_026_001, 3_100_000):
    MESSAGES[f"base64 of {size}"] = lambda s=size: attachment(random_bytes(s, s), 76, b"\r\n", b"")


@pytest.mark.parametrize("name", MESSAGES)
def test_what_is_read_is_byte_for_byte_what_arrived(services: MailServices, user: MadeUser, name: str) -> None:
    raw = MESSAGES[name]()
    content = services.content
    home = services.placement.home(user.user_id)
    for prefix in (b"", PREFIX):
        row = content.put(home, content.prepare(raw).with_prefix(prefix))
        whole = prefix + raw
        assert row.size_bytes == len(whole)
        stored = content.open(user.user_id, row.message_oid)
        assert b"".join(stored.read()) == whole
        assert stored.size_bytes == len(whole)
        dice = random.Random(name)
        for _ in range(12):
            start, end = sorted(dice.choices(range(len(whole) + 2), k=2))
            assert b"".join(stored.read(start, end)) == whole[start:end]
        located = stored.parts.locate(Section((), SectionText.TEXT))
        assert located is not None
        assert stored.header_bytes() + whole[located[0] :] == whole
    assert content.scrub(user.user_id) == []


def test_every_message_of_the_corpus_comes_back(services: MailServices, user: MadeUser) -> None:
    """The hostile messages of our own, and the shared corpus where there is one."""
    home = services.placement.home(user.user_id)
    messages = chain(((one.name, one.build()) for one in HOSTILE), iter_corpus())
    count = 0
    for name, raw in messages:
        count += 1
        oid = services.content.put(home, services.content.prepare(raw)).message_oid
        assert b"".join(services.content.open(user.user_id, oid).read()) == raw, name
        assert set(services.content.items(user.user_id, [oid])) == {oid}
    assert count >= 50
    assert services.content.scrub(user.user_id) == []


def test_five_megabytes_to_fifty_users_are_stored_once_and_to_another_tenant_again(services: MailServices) -> None:
    tenant = make_tenant(services, "a")
    users = [make_user(services, tenant=tenant) for _ in range(50)]
    stranger = make_user(services, shard="a")
    data = os.urandom(5 << 20)
    prepared = services.content.prepare(attachment(data, 76, b"\r\n", b""))
    chunks = services.placement.shard("a").chunks
    for user in users:
        services.content.put(services.placement.home(user.user_id), prepared)
    services.content.put(services.placement.home(stranger.user_id), prepared)
    assert chunks.size_bytes(tenant[0], Tier.COLD) == len(data)
    assert chunks.size_bytes(stranger.tenant_id, Tier.COLD) == len(data)


def test_same_file_in_other_lines_is_one_blob(services: MailServices, user: MadeUser) -> None:
    data = os.urandom(200_000)
    home = services.placement.home(user.user_id)
    raws = [attachment(data, columns, b"\r\n", b"") for columns in (76, 64, 72, 60)]
    rows = [services.content.put(home, services.content.prepare(raw)) for raw in raws]
    assert home.shard.chunks.size_bytes(user.tenant_id, Tier.COLD) == len(data)
    for row, raw in zip(rows, raws, strict=True):
        assert b"".join(services.content.open(user.user_id, row.message_oid).read()) == raw


def test_items_are_those_of_the_message_and_of_its_owner_only(services: MailServices, user: MadeUser) -> None:
    home = services.placement.home(user.user_id)
    raw = attachment(b"x" * 50_000, 76, b"\r\n", b"")
    row = services.content.put(home, services.content.prepare(raw).with_prefix(PREFIX))
    items = services.content.items(user.user_id, [row.message_oid, b"0" * 12])
    assert set(items) == {row.message_oid}
    assert b'"one"' in items[row.message_oid].envelope
    assert b'"APPLICATION" "PDF"' in items[row.message_oid].body_structure
    assert items[row.message_oid].light_headers.startswith(b"From: a@example.org\r\n")
    assert items[row.message_oid].size_bytes == len(raw) + len(PREFIX)
    other = make_user(services, shard="a")
    assert services.content.items(other.user_id, [row.message_oid]) == {}
    with pytest.raises(MessageNotFound):
        services.content.open(other.user_id, row.message_oid)


def test_parts_are_located_behind_the_prefix(services: MailServices, user: MadeUser) -> None:
    home = services.placement.home(user.user_id)
    row = services.content.put(
        home, services.content.prepare(attachment(b"x" * 50_000, 76, b"\r\n", b"")).with_prefix(PREFIX)
    )
    content = services.content.open(user.user_id, row.message_oid)
    assert b"".join(content.read(*content.parts.locate(Section((1,))))) == b"hello"
    encoded = b"".join(content.read(*content.parts.locate(Section((2,)))))
    assert base64.b64decode(encoded) == b"x" * 50_000
    assert content.header_bytes().startswith(PREFIX + b"From:")


def test_search_text_is_that_of_the_text_parts_wherever_they_are_stored(services: MailServices, user: MadeUser) -> None:
    home = services.placement.home(user.user_id)
    small = services.content.put(home, services.content.prepare(attachment(os.urandom(99_999), 76, b"\r\n", b"")))
    large = services.content.put(home, services.content.prepare(b"Subject: x\r\n\r\n" + b"needle in hay\r\n" * 99_999))
    texts = services.content.texts(user.user_id, [small.message_oid, large.message_oid])
    assert "hello" in texts[small.message_oid].text
    assert "x.pdf" in texts[small.message_oid].text
    assert texts[small.message_oid].is_whole
    assert texts[large.message_oid].text.startswith("needle in hay")
    assert len(texts[large.message_oid].text) <= 64 * 1024
    assert texts[large.message_oid].header == b"Subject: x\r\n\r\n"
    assert not texts[large.message_oid].is_whole
    assert len(services.content.whole_text(user.user_id, large.message_oid)) == len("needle in hay\n") * 99_999


def test_answers_share_the_thread_of_the_first_message(services: MailServices, user: MadeUser) -> None:
    home = services.placement.home(user.user_id)

    def thread(**fields: str) -> int:
        message = EmailMessage()
        for name, value in fields.items():
            message[name.replace("_", "-")] = value
        out = BytesIO()
        BytesGenerator(out).flatten(message)
        return services.content.put(home, services.content.prepare(out.getvalue())).thread

    first = thread(Message_ID="<1@x>")
    assert thread(Message_ID="<2@x>", In_Reply_To="<1@x>") == first
    assert thread(Message_ID="<3@x>", In_Reply_To="<2@x>", References="<1@x> <2@x>") == first
    assert thread(Message_ID="<4@x>") != first
    assert thread(Subject="no id") != thread(Subject="no id")
    other = services.placement.home(make_user(services, shard="a").user_id)
    prepared = services.content.prepare(b"Message-ID: <1@x>\r\n\r\n")
    assert services.content.put(other, prepared).thread != first
    assert services.content.put(home, prepared).thread == first


def test_flipped_byte_is_reported_by_the_scrub(services: MailServices, user: MadeUser) -> None:
    """P19: one byte, in the skeleton, the prefix or a chunk."""
    home = services.placement.home(user.user_id)
    rows = [
        services.content.put(home, services.content.prepare(raw).with_prefix(PREFIX)).message_oid
        for raw in (
            b"Subject: a\r\n\r\nshort",
            b"Subject: b\r\n\r\nshort",
            attachment(os.urandom(70_000), 76, b"\r\n", b""),
        )
    ]
    good = services.content.put(home, services.content.prepare(b"Subject: c\r\n\r\nshort")).message_oid
    messages, chunks = home.shard.hot["messages"], home.shard.cold["chunks"]
    key = user.user_id.binary
    skeleton = messages.find_one({"_id": key + rows[0]})["skeleton"]
    messages.update_one({"_id": key + rows[0]}, {"$set": {"skeleton": skeleton[:-1] + bytes([skeleton[-1] ^ 1])}})
    messages.update_one({"_id": key + rows[1]}, {"$set": {"prefix": PREFIX.replace(b"a@", b"b@")}})
    chunk = chunks.find_one(
        {"_id": {"$gte": user.tenant_id.binary + bytes(44), "$lte": user.tenant_id.binary + b"\xff" * 44}}
    )
    chunks.update_one({"_id": chunk["_id"]}, {"$set": {"data": chunk["data"][:-1] + bytes([chunk["data"][-1] ^ 1])}})
    assert sorted(services.content.scrub(user.user_id)) == sorted(rows)
    assert good not in services.content.scrub(user.user_id)


def test_message_id_that_exists_is_left_untouched(services: MailServices, user: MadeUser) -> None:
    home = services.placement.home(user.user_id)
    oid = b"m" * 12
    first = services.content.put(home, services.content.prepare(b"Subject: 1\r\n\r\n"), oid)
    second = services.content.put(home, services.content.prepare(b"Subject: 2\r\n\r\n"), oid)
    assert (first.existed, second.existed) == (False, True)
    assert b"".join(services.content.open(user.user_id, oid).read()) == b"Subject: 1\r\n\r\n"


def test_tenants_plan_keeps_attachments_hot_for_a_while(services: MailServices, user: MadeUser) -> None:
    services.tenants.set_cold_after(OPERATOR, user.tenant_id, timedelta(days=30))
    home = services.placement.home(user.user_id)
    raw = attachment(os.urandom(80_000), 76, b"\r\n", b"")
    oid = services.content.put(home, services.content.prepare(raw)).message_oid
    assert home.shard.chunks.size_bytes(user.tenant_id, Tier.HOT) == 80_000
    services.retention.demote("a")
    assert home.shard.chunks.size_bytes(user.tenant_id, Tier.HOT) == 80_000
    home.shard.hot["blobs"].update_many({}, {"$set": {"demote_at": datetime.now(UTC)}})
    services.retention.demote("a")
    assert home.shard.chunks.size_bytes(user.tenant_id, Tier.COLD) == 80_000
    assert b"".join(services.content.open(user.user_id, oid).read()) == raw


class Commands(CommandListener):
    """Names of the commands that reached a database, while it listens."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def started(self, event: CommandStartedEvent) -> None:
        if event.command_name != "dbStats":  # once in a while, whatever is stored
            self.names.append(f"{event.command_name} {event.command.get(event.command_name)}")

    def succeeded(self, event: CommandSucceededEvent) -> None:
        pass

    def failed(self, event: CommandFailedEvent) -> None:
        pass


def many_parts(count: int, data: bytes) -> bytes:
    part = b"--b\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    parts = [part + base64.encodebytes(b"%d" % n + data).replace(b"\n", b"\r\n") for n in range(count)]
    return b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"".join(parts) + b"--b--\r\n"


def test_round_trips_do_not_grow_with_attachments_or_recipients(
    directory_uri: str, shard_uris: dict[str, ShardUris]
) -> None:
    listener = Commands()
    monitoring.register(listener)
    try:
        services = make_services(directory_uri, shard_uris)
        tenant = make_tenant(services, "a")
        homes = [services.placement.home(make_user(services, tenant=tenant).user_id) for _ in range(50)]
    finally:
        monitoring._LISTENERS.command_listeners.remove(listener)
    prepared = services.content.prepare(many_parts(20, os.urandom(40_000)))
    listener.names.clear()
    services.content.put(homes[0], prepared)
    new = ["insert blob_refs", "update blobs", "insert chunks", "insert blobs", "insert messages"]
    assert listener.names == new
    listener.names.clear()
    services.content.put(homes[1], prepared)
    assert listener.names == ["insert blob_refs", "update blobs", "insert messages"]
    fresh = services.content.prepare(many_parts(20, os.urandom(40_000)))
    listener.names.clear()
    results = services.content.put_many([Copy(home, fresh) for home in homes])
    assert len({result.message_oid for result in results}) == 50
    assert listener.names == new
    content = services.content.open(homes[0].user_id, services.content.put(homes[0], fresh).message_oid)
    listener.names.clear()
    assert sum(map(len, content.read())) == content.size_bytes
    assert listener.names == ["find blobs", "find chunks"]
    services.close()


def test_shard_whose_databases_moved_is_read_anew(services: MailServices, user: MadeUser) -> None:
    """Readers of attachments belong to the stores they were made of, not to where those lay in memory."""
    store = services.content
    shard = services.placement.home(user.user_id).shard
    moved = ShardStores.of(shard.name, shard.hot, shard.hot.client["elsewhere"])
    assert store._reader(shard) is store._reader(shard)
    assert store._reader(moved)._chunks is moved.chunks
    assert store._reader(shard)._chunks is shard.chunks
    assert len(store._readers) == 1
