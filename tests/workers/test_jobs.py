"""Jobs run twice do no more than run once."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from bson import ObjectId
from redis import Redis

from mailcore.model.ids import MailboxId
from mailcore.model.retention import RetentionRule
from mailcore.services import MailServices
from mailcore.services.keeping import retention as retention_service
from mailcore.services.mailboxes.messages import NewMessage
from mailcore.store.keys import mailbox_key
from mailcore.store.mailbox.tree import TreeChange
from mailcore.store.message.chunks import Tier
from tests.builders import OPERATOR, MadeUser, make_user
from tests.store.test_delivery import blob_bytes, deliver, expunge_all, inbox, message, stored_messages
from workers.context import JobContext
from workers.enqueue import enqueue
from workers.jobs.collection import sweep_blobs, sweep_messages
from workers.jobs.demotion import demote_shard
from workers.jobs.indexes import ensure
from workers.jobs.retention import collect_shard, collect_user
from workers.jobs.scrub import scrub_shard
from workers.main import make_worker

AWAY = "mongodb://127.0.0.1:1/away?replicaSet=away&serverSelectionTimeoutMS=200"


@pytest.fixture
def user(services: MailServices) -> MadeUser:
    made = make_user(services, shard="a")
    services.retention.set_tenant_rule(OPERATOR, made.tenant_id, RetentionRule(purge_after=timedelta(0)))
    return made


def test_retention_through_the_queue_destroys_what_is_due_once(
    services: MailServices, redis: Redis, context: JobContext, user: MadeUser
) -> None:
    kept = make_user(services, shard="a")
    for one in (user, kept):
        deliver(services, message(os.urandom(50_000)), one)
        expunge_all(services, one)
        inbox_id = services.mailboxes.find(one.user_id, "INBOX").id
        services.messages.fold(one.user_id, inbox_id)
    enqueue(redis, "retention.all")
    make_worker(services, redis).work(burst=True, logging_level="ERROR")
    assert stored_messages(services, user.user_id) == blob_bytes(services, user) == 0
    assert stored_messages(services, kept.user_id) == 1
    collect_shard(context, "a")
    collect_user(context, str(user.user_id), sweep=True)
    assert stored_messages(services, kept.user_id) == 1


def test_sweeps_remove_abandoned_content_and_nothing_else(
    services: MailServices, context: JobContext, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = message(os.urandom(50_000))
    deliver(services, raw, user)
    home = services.placement.home(user.user_id)
    services.content.put(home, services.content.prepare(message(os.urandom(70_000))))
    for _ in range(2):
        sweep_messages(context, "a")
        sweep_blobs(context, "a")
        assert blob_bytes(services, user) == 120_000, "too young"
    monkeypatch.setattr(retention_service, "CRASHED_AFTER_S", -1)
    for _ in range(2):
        sweep_messages(context, "a")
        sweep_blobs(context, "a")
        assert blob_bytes(services, user) == 50_000
        assert inbox(services, user) == [raw]


def test_one_users_fault_does_not_hold_up_the_others(
    services: MailServices, context: JobContext, user: MadeUser
) -> None:
    """A user whose directory entry is gone is left alone: nothing says what may be destroyed."""
    ghost = make_user(services, shard="a")
    for one in (ghost, user):
        deliver(services, message(b"x" * 40_000), one)
        expunge_all(services, one)
        services.messages.fold(one.user_id, services.mailboxes.find(one.user_id, "INBOX").id)
    services.retention.set_tenant_rule(OPERATOR, ghost.tenant_id, RetentionRule(purge_after=timedelta(0)))
    assert services.retention._directory.users.delete(ghost.user_id)
    collect_shard(context, "a")
    assert stored_messages(services, user.user_id) == 0
    shard = services.placement.shard("a")
    assert len(list(shard.messages.stored_ids(ghost.user_id))) == 1


def test_demotion_and_scrub_run_over_a_shard(services: MailServices, context: JobContext, user: MadeUser) -> None:
    deliver(services, message(os.urandom(80_000)), user)
    shard = services.placement.shard("a")
    assert shard.chunks.size_bytes(user.tenant_id, Tier.COLD) == 80_000
    for _ in range(2):
        demote_shard(context, "a")
        assert shard.chunks.size_bytes(user.tenant_id, Tier.COLD) == 80_000
    before = scrub_shard(context, "a")
    oid = services.mailboxes.open(user.user_id, "INBOX").message_oid(0)
    shard.hot["messages"].update_one({"_id": user.user_id.binary + oid}, {"$set": {"sha256": bytes(32)}})
    assert scrub_shard(context, "a") == before + 1


def test_indexes_that_a_newer_version_wants_are_made(
    services: MailServices, context: JobContext, user: MadeUser
) -> None:
    """Of the directory and of each shard, though another one is away."""
    users, purge = services.placement.directory.database["users"], services.placement.shard("a").hot["purge"]
    users.drop_index("address")
    purge.drop_index("expunged_at")
    services.placement.directory.shards.insert(replace(services.shards.get("a"), name="0", hot_uri=AWAY, cold_uri=AWAY))
    services.placement.forget_shards()
    try:
        ensure(context)
        assert "address" in users.index_information()
        assert "expunged_at" in purge.index_information()
    finally:
        services.placement.directory.database["shards"].delete_one({"name": "0"})
        services.placement.forget_shards()


def test_mailbox_whose_deletion_was_cut_off_is_finished_by_the_sweep(
    services: MailServices, context: JobContext, user: MadeUser
) -> None:
    """Its name is gone, its head is open: what is in it would count in the quota for ever."""
    services.mailboxes.create(user.user_id, OPERATOR, "Lost")
    services.messages.append(user.user_id, OPERATOR, "Lost", [NewMessage(message(b"lost"))])
    deliver(services, message(b"kept"), user)
    shard = services.placement.home(user.user_id).shard
    lost = services.mailboxes.find(user.user_id, "Lost")
    tree = services.mailboxes.tree(user.user_id)
    left = [entry for entry in tree if entry.id != lost.id]
    shard.trees.replace(user.user_id, tree, TreeChange(tree.next_uid_validity, left, tree.subscribed_names))
    sweep_messages(context, "a")
    assert shard.heads.user_bytes(user.user_id) > len(message(b"kept")), "younger than any deletion lasts"

    an_hour_ago = MailboxId(ObjectId.from_datetime(datetime.now(UTC) - timedelta(hours=2)))
    heads = shard.hot["mailboxes"]
    head = heads.find_one({"_id": mailbox_key(user.user_id, lost.id)})
    heads.insert_one(head | {"_id": mailbox_key(user.user_id, an_hour_ago)})
    heads.delete_one({"_id": mailbox_key(user.user_id, lost.id)})
    sweep_messages(context, "a")
    sweep_messages(context, "a")
    assert shard.heads.user_bytes(user.user_id) == services.mailboxes.open(user.user_id, "INBOX").size_bytes > 0
    assert dict(shard.heads.list_mailboxes(user.user_id))[an_hour_ago] == "deleted"
    assert stored_messages(services, user.user_id) == 2, "messages this young are spared"
