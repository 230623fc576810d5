"""One committed copy for each recipient, whatever happens to the others, and garbage at worst after a crash."""

from __future__ import annotations

import base64
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from infra.devstack.endpoints import ShardUris
from mailcore import fault
from mailcore.errors import AddressNotFound, MailboxMoving, OverQuota, StoreUnavailable, UserDisabled
from mailcore.model.actor import Actor, ActorKind, Door
from mailcore.model.ids import UserId
from mailcore.model.retention import RetentionRule
from mailcore.model.tenant import State
from mailcore.services import MailServices
from mailcore.services.inbound.arrival import Arrival
from mailcore.services.inbound.delivery import DeliveryTarget
from mailcore.store.message.chunks import Tier
from tests.builders import OPERATOR, MadeUser, make_services, make_tenant, make_user

MTA = Actor(ActorKind.MTA, Door.LMTP, "mx.example.net")
POINTS = (
    "delivery.after_refs",
    "delivery.after_blob",
    "delivery.after_message",
    "commit.before_push",
    "commit.after_push",
)
NOW_RULE = RetentionRule(purge_after=timedelta(0))


@pytest.fixture(scope="module")
def services(directory_uri: str, shard_uris: dict[str, ShardUris]) -> Iterator[MailServices]:
    connected = make_services(directory_uri, shard_uris)
    yield connected
    connected.close()


@pytest.fixture(autouse=True)
def disarm() -> Iterator[None]:
    yield
    fault.install({})


def message(data: bytes, subject: str = "with a file") -> bytes:
    return (
        (
            f"From: a@example.org\r\nSubject: {subject}\r\nMessage-ID: <{os.urandom(8).hex()}@example.org>\r\n"
            "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b0\r\n\r\n"
            "--b0\r\n\r\nhello\r\n--b0\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        ).encode()
        + base64.encodebytes(data).replace(b"\n", b"\r\n")
        + b"--b0--\r\n"
    )


def deliver(
    services: MailServices, raw: bytes, *users: MadeUser, ident: str | None = None, actor: Actor = MTA
) -> list[object]:
    targets = [
        DeliveryTarget(services.delivery.resolve(user.address), f"Delivered-To: {user.address}\r\n".encode())
        for user in users
    ]
    return [result.error for result in services.delivery.deliver(raw, targets, ident, actor)]


def inbox(services: MailServices, user: MadeUser) -> list[bytes]:
    """Every message in the user's INBOX without the line that delivery put before it."""
    view = services.mailboxes.open(user.user_id, "INBOX")
    oids = [view.message_oid(row) for row in range(view.exists)]
    whole = [b"".join(content.read()) for content in services.content.open_many(user.user_id, oids)]
    line = f"Delivered-To: {user.address}\r\n".encode()
    assert all(raw.startswith(line) for raw in whole)
    assert len(whole) == len(oids)
    return [raw.removeprefix(line) for raw in whole]


def stored_messages(services: MailServices, user_id: UserId) -> int:
    return len(list(services.placement.home(user_id).shard.messages.stored_ids(user_id)))


def blob_bytes(services: MailServices, user: MadeUser) -> int:
    chunks = services.placement.home(user.user_id).shard.chunks
    return sum(chunks.size_bytes(user.tenant_id, tier) for tier in Tier)


def expunge_all(services: MailServices, user: MadeUser) -> None:
    tree = services.mailboxes.tree(user.user_id)
    for entry in tree:
        services.messages.expunge(user.user_id, OPERATOR, entry.id, None, only_deleted=False)


def test_each_recipient_gets_a_copy_with_its_own_trace(services: MailServices) -> None:
    tenant = make_tenant(services, "a")
    users = [make_user(services, tenant=tenant) for _ in range(3)] + [make_user(services, shard="b")]
    raw = message(os.urandom(50_000))
    assert deliver(services, raw, *users) == [None] * 4
    for user in users:
        assert inbox(services, user) == [raw]


def test_nobody_and_disabled_users_are_told_apart(services: MailServices) -> None:
    user = make_user(services)
    with pytest.raises(AddressNotFound):
        services.delivery.resolve("nobody@" + user.address.partition("@")[2])
    with pytest.raises(AddressNotFound):
        services.delivery.resolve("not an address")
    services.users.set_state(OPERATOR, user.user_id, State.DISABLED)
    services.placement.forget(user.user_id)
    with pytest.raises(UserDisabled):
        services.delivery.resolve(user.address)


def test_five_megabytes_to_fifty_users_are_stored_once_and_gone_after_the_last_expunge(services: MailServices) -> None:
    tenant = make_tenant(services, "a")
    users = [make_user(services, tenant=tenant) for _ in range(50)]
    stranger = make_user(services, shard="a")
    services.retention.set_tenant_rule(OPERATOR, tenant[0], NOW_RULE)
    services.retention.set_tenant_rule(OPERATOR, stranger.tenant_id, NOW_RULE)
    data = os.urandom(5 << 20)
    raw = message(data)
    assert deliver(services, raw, *users, stranger) == [None] * 51
    for user in users[:25]:
        assert deliver(services, message(data, "again"), user) == [None]
    chunks = services.placement.shard("a").chunks
    assert chunks.size_bytes(tenant[0], Tier.COLD) == chunks.size_bytes(stranger.tenant_id, Tier.COLD) == len(data)
    for user in users[:-1]:
        expunge_all(services, user)
        services.retention.collect(user.user_id)
    assert chunks.size_bytes(tenant[0], Tier.COLD) == len(data)
    assert inbox(services, users[-1]) == [raw]
    expunge_all(services, users[-1])
    services.retention.collect(users[-1].user_id)
    assert chunks.size_bytes(tenant[0], Tier.COLD) == 0
    assert inbox(services, stranger) == [raw]
    assert all(stored_messages(services, user.user_id) == 0 for user in users)


def test_copy_keeps_the_message_until_it_is_expunged_too(services: MailServices) -> None:
    user = make_user(services, shard="a")
    services.retention.set_tenant_rule(OPERATOR, user.tenant_id, NOW_RULE)
    raw = message(os.urandom(60_000))
    deliver(services, raw, user)
    view = services.mailboxes.open(user.user_id, "INBOX")
    archive = services.mailboxes.find(user.user_id, "Archive").id
    services.messages.copy(user.user_id, OPERATOR, view.mailbox_id, _all(view), "Archive")
    services.messages.expunge(user.user_id, OPERATOR, view.mailbox_id, None, only_deleted=False)
    assert services.retention.collect(user.user_id).messages == 0
    assert stored_messages(services, user.user_id) == 1
    services.messages.expunge(user.user_id, OPERATOR, archive, None, only_deleted=False)
    assert services.retention.collect(user.user_id).messages == 1
    assert stored_messages(services, user.user_id) == blob_bytes(services, user) == 0


def _all(view):  # type: ignore[no-untyped-def]
    from mailcore.model.uid_set import UidSet

    return UidSet.of(view.uids.tolist())


@pytest.mark.parametrize(
    "rule", [None, RetentionRule(timedelta(0), legal_hold=True), RetentionRule(timedelta(0), timedelta(1))]
)
def test_purge_period_hold_and_retention_keep_expunged_messages(
    services: MailServices, rule: RetentionRule | None
) -> None:
    user = make_user(services, shard="a")
    if rule is not None:
        services.retention.set_tenant_rule(OPERATOR, user.tenant_id, rule)
    deliver(services, message(b"x" * 50_000), user)
    expunge_all(services, user)
    assert services.retention.collect(user.user_id, sweep=True).messages == 0
    assert stored_messages(services, user.user_id) == 1
    assert len(list(services.placement.home(user.user_id).shard.purge.of_user(user.user_id))) <= 1
    services.retention.set_tenant_rule(OPERATOR, user.tenant_id, NOW_RULE)
    services.retention.set_tenant_hold(OPERATOR, user.tenant_id, held=False)
    assert services.retention.collect(user.user_id).messages == 1


def test_repeat_of_a_delivery_makes_no_second_copy(services: MailServices) -> None:
    """P3: the reply was lost and the sending agent comes again; another recipient address is another delivery."""
    user = make_user(services)
    raw = message(b"y" * 50_000)
    for _ in range(3):
        assert deliver(services, raw, user, ident="QUEUE1") == [None]
    assert inbox(services, user) == [raw]
    deliver(services, raw, user, ident="QUEUE2")
    deliver(services, raw, user)
    deliver(services, raw, user)
    assert inbox(services, user) == [raw] * 4


def test_repeat_is_found_among_many_later_commits(services: MailServices) -> None:
    """More commits than the head remembers keys."""
    user = make_user(services)
    raw = message(b"y" * 50_000)
    deliver(services, raw, user, ident="QUEUE1")
    for number in range(70):
        deliver(services, b"Subject: %d\r\n\r\n" % number, user)
    deliver(services, raw, user, ident="QUEUE1")
    assert inbox(services, user).count(raw) == 1


class Crash(BaseException):
    """As if the process had ended here."""


def crash() -> None:
    raise Crash


@pytest.mark.parametrize("point", [*POINTS, "delivery.before_reply"])
def test_crash_leaves_only_what_the_sweep_removes_and_the_repeat_delivers_once(
    services: MailServices, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F11: dead at any point; the sending agent repeats, one copy arrives, and all else is swept."""
    user = make_user(services, shard="a")
    services.retention.set_tenant_rule(OPERATOR, user.tenant_id, NOW_RULE)
    data = os.urandom(60_000)
    raw = message(data)
    fault.install({point: crash})
    with pytest.raises(Crash):
        deliver(services, raw, user, ident="Q")
    fault.install({})
    assert deliver(services, raw, user, ident="Q") == [None]
    assert inbox(services, user) == [raw]
    _sweep_at_once(services, user, monkeypatch)
    assert inbox(services, user) == [raw]
    assert stored_messages(services, user.user_id) == 1
    assert blob_bytes(services, user) == len(data)
    expunge_all(services, user)
    services.retention.collect(user.user_id)
    _sweep_at_once(services, user, monkeypatch)
    assert stored_messages(services, user.user_id) == blob_bytes(services, user) == 0


@pytest.mark.parametrize("point", ["commit.after_push", "delivery.before_reply"])
def test_repeat_that_is_not_known_again_would_be_seen(
    services: MailServices, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control of P3 and F11: with ids made anew each time, a delivery that died and is repeated is doubled."""
    monkeypatch.setattr(Arrival, "copy_id", lambda *_: None)
    user, raw = make_user(services, shard="a"), message(b"twice")
    fault.install({point: crash})
    with pytest.raises(Crash):
        deliver(services, raw, user, ident="Q")
    fault.install({})
    deliver(services, raw, user, ident="Q")
    assert inbox(services, user) == [raw] * 2


@pytest.mark.parametrize("point", POINTS[:4])
def test_crash_without_repeat_leaves_nothing_after_the_sweep(
    services: MailServices, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = make_user(services, shard="a")
    fault.install({point: crash})
    with pytest.raises(Crash):
        deliver(services, message(os.urandom(60_000)), user)
    fault.install({})
    _sweep_at_once(services, user, monkeypatch)
    assert stored_messages(services, user.user_id) == blob_bytes(services, user) == 0
    assert list(services.placement.home(user.user_id).shard.blob_refs.of_tenant(user.tenant_id)) == []


def _sweep_at_once(services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweep as if a day had passed, in which the majority got what the primary had."""
    from mailcore.services.keeping import retention

    _settle(services, user)
    monkeypatch.setattr(retention, "CRASHED_AFTER_S", -1)
    services.retention.collect(user.user_id, sweep=True)
    services.retention.sweep_blobs("a", older_than_s=-1)
    monkeypatch.undo()


def _settle(services: MailServices, user: MadeUser) -> None:
    """Wait until a majority has all that the primary has: a message whose commit never came is nobody's before."""
    services.placement.home(user.user_id).shard.hot["settled"].insert_one({})


@pytest.mark.parametrize("point", ["gc.after_epoch", "gc.before_mark", "gc.after_mark"])
def test_crash_of_the_collection_is_finished_by_the_next_ones(
    services: MailServices, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = make_user(services, shard="a")
    services.retention.set_tenant_rule(OPERATOR, user.tenant_id, NOW_RULE)
    deliver(services, message(os.urandom(60_000)), user)
    expunge_all(services, user)
    fault.install({point: crash})
    with pytest.raises(Crash):
        services.retention.collect(user.user_id)
    fault.install({})
    services.retention.collect(user.user_id)
    _sweep_at_once(services, user, monkeypatch)
    assert stored_messages(services, user.user_id) == blob_bytes(services, user) == 0


def test_young_messages_without_row_are_left_alone(services: MailServices) -> None:
    """They may be about to be named."""
    user = make_user(services)
    services.retention.set_tenant_rule(OPERATOR, user.tenant_id, NOW_RULE)
    fault.install({"delivery.after_message": crash})
    with pytest.raises(Crash):
        deliver(services, message(b"z"), user)
    fault.install({})
    _settle(services, user)
    assert services.retention.collect(user.user_id, sweep=True).messages == 0
    assert stored_messages(services, user.user_id) == 1


def test_move_during_the_collection_loses_nothing(services: MailServices) -> None:
    """A message moves, and its old mailbox is folded, while the collector reads mailbox after mailbox."""
    user = make_user(services, shard="a")
    services.retention.set_tenant_rule(OPERATOR, user.tenant_id, NOW_RULE)
    raw = message(os.urandom(60_000))
    deliver(services, raw, user)
    view = services.mailboxes.open(user.user_id, "INBOX")
    services.messages.copy(user.user_id, OPERATOR, view.mailbox_id, _all(view), "Archive")
    services.messages.expunge(user.user_id, OPERATOR, view.mailbox_id, None, only_deleted=False)
    services.messages.fold(user.user_id, view.mailbox_id)  # a purge row is due, and Archive has the message
    shard = services.placement.home(user.user_id).shard
    order = [mailbox_id for mailbox_id, _ in shard.heads.list_mailboxes(user.user_id)]
    archive = services.mailboxes.find(user.user_id, "Archive").id
    target = next(id_ for id_ in order if id_ != archive)
    names = {entry.id: entry.name for entry in services.mailboxes.tree(user.user_id)}
    read, moved = shard.heads.read, []

    def read_and_move(user_id, mailbox_id):  # type: ignore[no-untyped-def]
        head = read(user_id, mailbox_id)
        if mailbox_id == target and not moved and armed:
            moved.append(True)
            here = services.mailboxes.open(user_id, "Archive")
            services.messages.move(user_id, OPERATOR, archive, _all(here), names[target])
            services.messages.fold(user_id, archive)
        return head

    armed: list[bool] = []
    fault.install({"gc.after_epoch": lambda: armed.append(True)})
    type(shard.heads).read, original = (lambda _self, *a: read_and_move(*a)), type(shard.heads).read
    try:
        services.retention.collect(user.user_id)
    finally:
        type(shard.heads).read = original
    assert moved
    view = services.mailboxes.open(user.user_id, names[target])
    assert [b"".join(c.read()) for c in services.content.open_many(user.user_id, [view.message_oid(0)])]


def test_over_quota_tells_since_when_and_ends_when_mail_fits(services: MailServices) -> None:
    user = make_user(services, quota_bytes=100_000)
    assert deliver(services, message(b"q" * 30_000), user) == [None]
    before = datetime.now(UTC)
    [first] = deliver(services, message(b"q" * 60_000), user)
    [second] = deliver(services, message(b"q" * 60_000), user)
    assert isinstance(first, OverQuota)
    assert isinstance(second, OverQuota)
    assert first.since == second.since
    assert before - timedelta(milliseconds=1) <= first.since <= datetime.now(UTC), "it is kept in milliseconds"
    assert deliver(services, b"Subject: small\r\n\r\n", user) == [None]
    [third] = deliver(services, message(b"q" * 60_000), user)
    assert isinstance(third, OverQuota)
    assert third.since > first.since


def test_one_recipients_failure_changes_nothing_for_the_others(services: MailServices) -> None:
    full, fine = make_user(services, quota_bytes=10), make_user(services)
    raw = message(b"q" * 60_000)
    errors = deliver(services, raw, fine, full, fine)
    assert [type(error) for error in errors] == [type(None), OverQuota, type(None)]
    assert inbox(services, fine) == [raw, raw]


def test_moving_user_waits_and_then_is_told_to_come_again(services: MailServices) -> None:
    user = make_user(services, shard="a")
    heads = services.placement.home(user.user_id).shard.heads
    heads.set_state(user.user_id, "open", "moving")
    [error] = deliver(services, message(b"m"), user, ident="M")
    assert isinstance(error, MailboxMoving)
    timer = threading.Timer(0.5, lambda: heads.set_state(user.user_id, "moving", "open"))
    timer.start()
    assert deliver(services, message(b"m"), user) == [None]
    timer.join()
    assert len(inbox(services, user)) == 1


def test_dead_shard_stops_only_its_own_recipients(services: MailServices, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deadline passed on one shard is the error of its recipients alone."""
    here, there = make_user(services, shard="a"), make_user(services, shard="b")
    raw = message(b"s" * 50_000)
    messages = services.placement.shard("b").messages

    def silent(documents: object) -> set[bytes]:
        raise StoreUnavailable("timed out")

    monkeypatch.setattr(messages, "insert", silent)
    monkeypatch.setattr(messages, "insert_ahead", silent)
    errors = deliver(services, raw, there, here)
    assert [type(error) for error in errors] == [StoreUnavailable, type(None)]
    assert inbox(services, here) == [raw]


def test_messages_of_a_deleted_mailbox_go_when_their_time_is_over(services: MailServices) -> None:
    user = make_user(services, shard="a")
    deliver(services, message(os.urandom(60_000)), user)
    view = services.mailboxes.open(user.user_id, "INBOX")
    services.mailboxes.create(user.user_id, OPERATOR, "Old")
    services.messages.move(user.user_id, OPERATOR, view.mailbox_id, _all(view), "Old")
    services.mailboxes.delete(user.user_id, OPERATOR, "Old")
    assert services.retention.collect(user.user_id).messages == 0
    assert stored_messages(services, user.user_id) == 1
    services.retention.set_tenant_rule(OPERATOR, user.tenant_id, NOW_RULE)
    services.retention.set_tenant_hold(OPERATOR, user.tenant_id, held=False)
    assert services.retention.collect(user.user_id).messages == 1
    assert stored_messages(services, user.user_id) == blob_bytes(services, user) == 0


def test_blobs_and_messages_of_one_user_lie_in_its_tenants_and_its_own_key_range(services: MailServices) -> None:
    user = make_user(services, shard="a")
    deliver(services, message(os.urandom(60_000)), user)
    shard = services.placement.home(user.user_id).shard
    oid = services.mailboxes.open(user.user_id, "INBOX").message_oid(0)
    document = shard.hot["messages"].find_one({"_id": user.user_id.binary + oid})
    assert document is not None
    assert bytes(document["format"]) == b"\x01\x01\x00", "version, codec, key id"
    for collection in (shard.hot["blobs"], shard.hot["blob_refs"], shard.cold["chunks"]):
        keys = [found["_id"] for found in collection.find({"_id": {"$gte": b""}}, {"_id": 1})]
        assert any(key.startswith(user.tenant_id.binary) for key in keys)
