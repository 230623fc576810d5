"""The outbound queue on real databases: stored once, leased, held, cancelled, and cleaned up after."""

from __future__ import annotations

import base64
import itertools
import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import redis

from mailcore.errors import BeingSent, QueueEntryNotFound, ValueInvalid
from mailcore.model.actor import Actor, ActorKind, Door
from mailcore.model.outbound import (
    EntryState,
    NewOutbound,
    Notify,
    OutboundRecipient,
    QueueId,
    Reason,
    RecipientState,
    ReturnContent,
)
from mailcore.services import MailServices
from mailcore.services.mailboxes.messages import NewMessage
from mailcore.services.outbound.outbound import entry_of
from mailcore.services.outbound.queueing import WAKE_CHANNEL
from mailcore.services.outbound.trace import Step
from mailcore.store.user.outbound import OutboundEntries
from tests.builders import OPERATOR, MadeUser, make_user

LEASE = timedelta(minutes=2)
NOW = timedelta(0)
_numbers = itertools.count(1)


def plain(body: bytes = b"Hello\r\n") -> bytes:
    return b"From: a@b.test\r\nMessage-ID: <%d@b.test>\r\n\r\n%b" % (next(_numbers), body)


def with_attachment(size: int = 100_000) -> bytes:
    encoded = base64.encodebytes(os.urandom(size)).replace(b"\n", b"\r\n")
    return (
        b'From: a@b.test\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n'
        b"--b\r\nContent-Type: text/plain\r\n\r\nHello\r\n"
        b"--b\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + encoded
        + b"--b--\r\n"
    )


def new_outbound(
    user: MadeUser,
    to: Sequence[str] = ("bob@else.test",),
    *,
    message: bytes | None = None,
    key: bytes | None = None,
    held: str | None = None,
    delay_s: float = 0,
    not_before: datetime | None = None,
) -> NewOutbound:
    return NewOutbound(
        user_id=user.user_id,
        tenant_id=user.tenant_id,
        reverse_path=user.address,
        forward_paths=tuple(OutboundRecipient(address) for address in to),
        message=plain() if message is None else message,
        reason=Reason.SUBMISSION,
        key=os.urandom(12) if key is None else key,
        held=held,
        delay_s=delay_s,
        not_before=not_before,
    )


def queued(services: MailServices, user: MadeUser, *, held: str | None = None) -> QueueId:
    return services.queueing.enqueue(new_outbound(user, held=held), OPERATOR)


@pytest.fixture
def user(services: MailServices) -> MadeUser:
    return make_user(services, shard="a")


@pytest.fixture
def entries(services: MailServices) -> OutboundEntries:
    """The queue of the shard, empty."""
    shard = services.placement.shard("a")
    shard.hot["outbound"].delete_many({})
    return shard.outbound


def test_what_is_queued_comes_back_byte_for_byte(services: MailServices, user: MadeUser) -> None:
    for message in (plain(), with_attachment(), plain(b"\x00\xff bare\n"), b"", plain(b"x" * 2_000_000)):
        queue_id = services.queueing.enqueue(new_outbound(user, message=message), OPERATOR)
        assert b"".join(services.outbound.content(user.user_id, queue_id).read()) == message
        assert services.outbound.get(user.user_id, queue_id).size_bytes == len(message)


def test_every_field_is_kept(services: MailServices, user: MadeUser) -> None:
    new = NewOutbound(
        user.user_id,
        user.tenant_id,
        user.address,
        (
            OutboundRecipient("a@else.test", frozenset({Notify.SUCCESS}), "rfc822;b@else.test"),
            OutboundRecipient("c@else.test", frozenset()),
        ),
        plain(),
        Reason.API,
        b"key",
        return_content=ReturnContent.HEADERS,
        envelope_id="<QQ314159>",
        is_utf8=True,
        header_message_id="<1@b.test>",
    )
    entry = services.outbound.get(user.user_id, services.queueing.enqueue(new, OPERATOR))
    assert [(path.address, path.notify, path.original_recipient) for path in entry.recipients] == [
        (path.address, path.notify, path.original_recipient) for path in new.forward_paths
    ]
    assert (entry.envelope_id, entry.return_content, entry.is_utf8) == ("<QQ314159>", ReturnContent.HEADERS, True)
    assert (entry.reverse_path, entry.reason, entry.header_message_id) == (user.address, Reason.API, "<1@b.test>")
    assert entry.state is EntryState.QUEUED
    assert entry.expires_at - entry.created_at == timedelta(days=4)


def test_same_key_is_the_same_entry_also_when_it_has_ended(
    services: MailServices, user: MadeUser, entries: OutboundEntries
) -> None:
    """Promise P17: a repeat is told the same id, and nothing is sent again."""
    new = new_outbound(user, message=with_attachment())
    first = services.queueing.enqueue(new, OPERATOR)
    assert services.queueing.enqueue(new, OPERATOR) == first
    claimed = entries.claim(LEASE, ())
    assert claimed is not None
    assert entries.finish(claimed["_id"], claimed["lease"], datetime.now(UTC) + LEASE, {})
    assert services.queueing.enqueue(new, OPERATOR) == first
    assert entries.claim(LEASE, ()) is None
    assert services.outbound.get(user.user_id, first).state is EntryState.DONE


def test_another_user_with_the_same_key_is_another_entry(services: MailServices, user: MadeUser) -> None:
    other = make_user(services, shard="a")
    ids = {services.queueing.enqueue(new_outbound(each, key=b"same"), OPERATOR) for each in (user, other)}
    assert len(ids) == 2
    for each in ids:
        found = [user for user in (user, other) if _has(services, user, each)]
        assert len(found) == 1


def _has(services: MailServices, user: MadeUser, queue_id: QueueId) -> bool:
    try:
        services.outbound.get(user.user_id, queue_id)
    except QueueEntryNotFound:
        return False
    return True


def test_attachment_is_shared_within_the_tenant_and_gone_after_the_last(
    services: MailServices, user: MadeUser, entries: OutboundEntries
) -> None:
    """Promise P8: the queue's references keep an attachment, and nothing keeps it after them."""
    message = with_attachment()
    services.messages.append(user.user_id, OPERATOR, "INBOX", [NewMessage(message)])
    blobs = services.placement.shard("a").blobs

    def count() -> int:
        return sum(1 for _ in blobs.of_tenant(user.tenant_id))

    assert count() == 1
    queue_id = services.queueing.enqueue(new_outbound(user, message=message), OPERATOR)
    assert count() == 1
    own = services.queueing.enqueue(new_outbound(user, message=with_attachment()), OPERATOR)
    assert count() == 2
    services.retention.sweep_blobs("a", older_than_s=-1)
    assert b"".join(services.outbound.content(user.user_id, queue_id).read()) == message
    for each in (queue_id, own):
        services.outbound.cancel(OPERATOR, user.user_id, each)
    assert count() == 1
    services.retention.sweep_blobs("a", older_than_s=-1)
    assert count() == 1


def test_lease_is_one_relays_until_it_ends(services: MailServices, user: MadeUser, entries: OutboundEntries) -> None:
    queue_id = queued(services, user)
    first = entries.claim(LEASE, ())
    assert first is not None
    assert entry_of(first).id == queue_id
    assert not first["was_leased"]
    assert entries.claim(LEASE, ()) is None
    assert entries.renew(first["_id"], first["lease"], NOW)  # ends at once, as if its holder had died
    second = entries.claim(LEASE, ())
    assert second is not None
    assert (second["lease"], second["was_leased"]) == (first["lease"] + 1, True)
    assert not entries.renew(first["_id"], first["lease"], LEASE)
    assert not entries.record(first["_id"], first["lease"], {"recipients.0.state": "sent"})
    assert not entries.finish(first["_id"], first["lease"], datetime.now(UTC), {})
    assert entries.record(second["_id"], second["lease"], {"recipients.0.attempts": 1})
    assert entries.give_back(second["_id"], second["lease"], datetime.now(UTC) + LEASE, {})
    assert not entries.record(second["_id"], second["lease"], {"recipients.0.attempts": 2})
    entry = services.outbound.get(user.user_id, queue_id)
    assert (entry.recipients[0].attempts, entry.recipients[0].state) == (1, RecipientState.QUEUED)


def test_without_the_fence_a_relay_that_is_too_late_would_be_believed(
    services: MailServices, user: MadeUser, entries: OutboundEntries, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: a filter without the lease's number."""
    queued(services, user)
    first = entries.claim(NOW, ())
    second = entries.claim(LEASE, ())
    assert first is not None
    assert second is not None
    monkeypatch.setattr("mailcore.store.user.outbound._held_lease", lambda key, number: {"_id": key})
    assert entries.record(first["_id"], first["lease"], {"recipients.0.state": "sent"})


def test_longest_due_is_first_and_tenants_may_be_left_out(
    services: MailServices, user: MadeUser, entries: OutboundEntries
) -> None:
    other = make_user(services, shard="a")
    ids = [queued(services, each) for each in (user, user, other)]
    claimed = [entries.claim(LEASE, [user.tenant_id]), *(entries.claim(LEASE, ()) for _ in range(2))]
    assert [entry_of(each).id for each in claimed if each is not None] == [ids[2], ids[0], ids[1]]


def test_nothing_is_due_before_its_time(services: MailServices, user: MadeUser, entries: OutboundEntries) -> None:
    """Scheduled sending, and undo within some seconds: judged by the database's clock."""
    later = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    scheduled = services.queueing.enqueue(new_outbound(user, not_before=later), OPERATOR)
    delayed = services.queueing.enqueue(new_outbound(user, delay_s=30), OPERATOR)
    held = services.queueing.enqueue(new_outbound(user, held="burst"), OPERATOR)
    past = services.queueing.enqueue(new_outbound(user, not_before=later - timedelta(hours=2)), OPERATOR)
    claimed = entries.claim(LEASE, ())
    assert claimed is not None
    assert entry_of(claimed).id == past
    assert entries.claim(LEASE, ()) is None
    assert services.outbound.get(user.user_id, scheduled).next_at == later
    entry = services.outbound.get(user.user_id, delayed)
    assert entry.next_at == entry.created_at + timedelta(seconds=30)
    assert services.outbound.get(user.user_id, held).next_at is None


def test_cancel_ends_what_waits_and_leaves_what_is_being_sent(
    services: MailServices, user: MadeUser, entries: OutboundEntries
) -> None:
    queue_id = queued(services, user)
    services.outbound.cancel(OPERATOR, user.user_id, queue_id)
    entry = services.outbound.get(user.user_id, queue_id)
    assert (entry.state, entry.recipients[0].state) == (EntryState.CANCELLED, RecipientState.CANCELLED)
    assert entries.claim(LEASE, ()) is None
    with pytest.raises(QueueEntryNotFound):
        services.outbound.cancel(OPERATOR, user.user_id, queue_id)
    with pytest.raises(QueueEntryNotFound):
        services.outbound.content(user.user_id, queue_id)
    other = queued(services, user)
    claimed = entries.claim(LEASE, ())
    assert claimed is not None
    for change in (services.outbound.cancel, services.outbound.retry):
        with pytest.raises(BeingSent):
            change(OPERATOR, user.user_id, other)
    with pytest.raises(BeingSent):
        services.outbound.hold(OPERATOR, user.user_id, other, "why")


def test_hold_and_release(services: MailServices, user: MadeUser, entries: OutboundEntries) -> None:
    queue_id = queued(services, user)
    services.outbound.hold(OPERATOR, user.user_id, queue_id, "a burst")
    assert entries.claim(LEASE, ()) is None
    assert services.outbound.get(user.user_id, queue_id).held == "a burst"
    services.outbound.release(OPERATOR, user.user_id, queue_id)
    claimed = entries.claim(LEASE, ())
    assert claimed is not None
    assert entry_of(claimed).held is None
    with pytest.raises(QueueEntryNotFound):
        services.outbound.release(OPERATOR, user.user_id, queue_id)


def test_another_users_entry_is_not_found(services: MailServices, user: MadeUser) -> None:
    queue_id, other = queued(services, user), make_user(services, shard="a")
    for reach in (services.outbound.get, services.outbound.content):
        with pytest.raises(QueueEntryNotFound):
            reach(other.user_id, queue_id)
    with pytest.raises(QueueEntryNotFound):
        services.outbound.cancel(OPERATOR, other.user_id, queue_id)
    for nonsense in ("", "zz", "00" * 11, "00" * 13, "$ne"):
        with pytest.raises(QueueEntryNotFound):
            services.outbound.get(user.user_id, nonsense)


def test_lists(services: MailServices, user: MadeUser) -> None:
    ids = [queued(services, user) for _ in range(3)]
    services.outbound.cancel(OPERATOR, user.user_id, ids[1])
    assert {entry.id for entry in services.outbound.list_of_user(user.user_id)} == {ids[0], ids[2]}
    assert len(services.outbound.list_of_user(user.user_id, waiting=False)) == 3
    assert {entry.id for entry in services.outbound.list_of_tenant(user.tenant_id)} == {ids[0], ids[2]}
    assert services.outbound.list_of_tenant(make_user(services).tenant_id) == []


def test_a_tenants_list_asks_its_own_region_alone(
    services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is away elsewhere is nothing to it."""
    ids = [queued(services, user) for _ in range(3)]
    asked: list[str] = []
    placement = services.placement
    monkeypatch.setitem(placement._shards, "mars", (replace(placement._shards["a"][0], region="mars"), None))
    everywhere = placement.shards
    monkeypatch.setattr(placement, "shards", lambda region=None: (asked.append(region), everywhere(region))[1])
    assert {entry.id for entry in services.outbound.list_of_tenant(user.tenant_id)} == set(ids)
    assert asked == ["eu"]
    assert len(everywhere()) == len(everywhere("eu")) + 1


@pytest.mark.parametrize("address", ["a@b\r\nRCPT TO:<x@y>", "a>@b", "a\x00@b", ""])
def test_addresses_that_would_say_more_are_refused(services: MailServices, user: MadeUser, address: str) -> None:
    with pytest.raises(ValueInvalid):
        services.queueing.enqueue(new_outbound(user, [address] if address else []), OPERATOR)
    if address and ">" not in address:
        new = replace(new_outbound(user), forward_paths=(OutboundRecipient("a@b.test", None, f"rfc822;{address}"),))
        with pytest.raises(ValueInvalid):
            services.queueing.enqueue(new, OPERATOR)


def test_relays_are_woken(services: MailServices, user: MadeUser, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client, client.pubsub() as pubsub:
        pubsub.subscribe(WAKE_CHANNEL)
        assert pubsub.get_message(timeout=5)["type"] == "subscribe"
        services.queueing.enqueue(new_outbound(user, delay_s=60), OPERATOR)
        queued(services, user)
        message = pubsub.get_message(timeout=5)
        assert message["data"] == b"a"
        assert pubsub.get_message(timeout=0.1) is None


def test_queued_message_names_its_actor(services: MailServices, user: MadeUser) -> None:
    actor = Actor(ActorKind.USER, Door.SUBMISSION, user.address, user.user_id, request_id="r1")
    queue_id = services.queueing.enqueue(new_outbound(user), actor)
    assert services.outbound.get(user.user_id, queue_id).actor == f"submission:{user.address}"
    services.trace.flush()
    row = services.trace.search(user.tenant_id, queue_id=queue_id)[0]
    assert (row.step, row.detail["actor"]) == (Step.QUEUED, user.address)


def test_trace_is_found_by_each_key_and_by_its_tenant_only(services: MailServices, user: MadeUser) -> None:
    new = new_outbound(user, ["Bob@Else.test", "carol@else.test"])
    queue_id = services.queueing.enqueue(new, OPERATOR)
    services.outbound.cancel(OPERATOR, user.user_id, queue_id)
    services.trace.flush()
    found = services.trace.search(user.tenant_id, queue_id=queue_id)
    assert [row.step for row in found] == [Step.CANCELLED, Step.QUEUED]
    assert len(services.trace.search(user.tenant_id, sender=user.address.upper())) == 2
    for recipient in ("bob@else.TEST", "carol@else.test"):
        rows = services.trace.search(user.tenant_id, recipient=recipient)
        assert [(row.recipient, row.others) for row in rows] == [("Bob@Else.test", ("carol@else.test",))] * 2
    assert services.trace.search(user.tenant_id, sender=user.address, recipient="nobody@else.test") == []
    assert services.trace.search(make_user(services).tenant_id, queue_id=queue_id) == []
    with pytest.raises(ValueInvalid):
        services.trace.search(user.tenant_id, limit=0)


def test_suppressions_are_the_tenants_own_and_hard_bounces_only(services: MailServices, user: MadeUser) -> None:
    suppressions, tenant_id = services.suppressions, user.tenant_id
    assert not suppressions.note_bounce(tenant_id, "full@x.test", "5.2.2", "full", "q")
    assert suppressions.note_bounce(tenant_id, "Gone@x.test", "5.1.1", "unknown $user", "q")
    assert set(suppressions.among(tenant_id, ["gone@X.test", "full@x.test"])) == {"gone@x.test"}
    assert suppressions.among(make_user(services).tenant_id, ["gone@x.test"]) == {}
    assert [(row.address, row.reason, row.queue_id) for row in suppressions.list_of(tenant_id)] == [
        ("Gone@x.test", "5.1.1 unknown $user", "q")
    ]
    suppressions.remove(OPERATOR, tenant_id, "GONE@x.test")
    assert suppressions.among(tenant_id, ["gone@x.test"]) == {}
