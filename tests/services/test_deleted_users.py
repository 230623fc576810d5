"""Deleted users are gone at once, come back whole until their time is over, and then leave nothing."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from bson import ObjectId, encode
from redis import Redis

from infra.devstack.endpoints import Endpoints, ShardUris
from mailcore import fault
from mailcore.errors import (
    AddressKept,
    AddressNotFound,
    AddressTaken,
    AuthenticationFailed,
    Conflict,
    DeletedUserNotFound,
    ErasureBegun,
    NotPermitted,
    TooManyUsers,
    UserNotFound,
)
from mailcore.model.access import Protocol
from mailcore.model.actor import SYSTEM
from mailcore.model.filter import RuleContent, of_user
from mailcore.model.ids import MailboxId, UserId
from mailcore.model.outbound import NewOutbound, OutboundRecipient, Reason
from mailcore.model.retention import RetentionRule
from mailcore.model.roles import Role
from mailcore.model.secret import Secret
from mailcore.model.tenant import Tenant, TenantLimits
from mailcore.services import MailServices
from mailcore.services.accounts import deleted_users as service
from mailcore.services.mailboxes.messages import NewMessage
from mailcore.services.tenants.seats import Seats
from mailcore.smtp.replies import reply_for
from mailcore.store.directory.address_entries import RESERVED
from mailcore.store.directory.deleted_users import Stage
from mailcore.store.indexes import HOT
from mailcore.store.keys import change_key, user_key
from mailcore.store.mailbox import annotations, blocks, heads, message_ids, notes, purge, row_blocks, segments
from mailcore.store.message import messages
from mailcore.store.message.chunks import Tier
from mailcore.store.user import auth_log, autoreplies, correspondents, files, outbound
from mailcore.store.user.erasure import KEPT, RANGES
from tests.builders import OPERATOR, MadeUser, make_services, make_user
from tests.store.test_delivery import blob_bytes, deliver, inbox, message
from workers.enqueue import enqueue
from workers.main import make_worker

CANARY = "Xanthippe"
RESTORED = 50


@pytest.fixture(scope="module")
def services(stack: Endpoints, fresh_uri: Callable[[str, str], str], redis_url: str) -> Iterator[MailServices]:
    """A directory and a shard of their own: everything in them is looked through."""
    uris = stack.mongo.shards["a"]
    shard = ShardUris(fresh_uri(uris.hot, "deleted_hot"), fresh_uri(uris.cold, "deleted_cold"))
    connected = make_services(fresh_uri(stack.mongo.directory, "deleted_directory"), {"a": shard}, redis_url)
    connected.placement.directory.ensure_indexes()
    yield connected
    connected.close()


@pytest.fixture
def user(services: MailServices) -> MadeUser:
    return make_user(services)


@pytest.fixture(autouse=True)
def disarm() -> Iterator[None]:
    yield
    fault.install({})


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has deliveries under way here."""
    monkeypatch.setattr(service, "GRACE", timedelta(0))


def sign_in(services: MailServices, user: MadeUser) -> object:
    return services.authentication.login(user.address, Secret(user.password), Protocol.IMAP, "192.0.2.1").user_id


def over() -> datetime:
    return datetime.now(UTC)


def furnish(services: MailServices, user: MadeUser) -> None:
    """Let a user leave traces in every collection there is."""
    domain = user.address.partition("@")[2]
    deliver(services, message(os.urandom(60_000), CANARY), user)
    services.messages.append(user.user_id, OPERATOR, "INBOX", [NewMessage(message(b"x", CANARY))])
    services.addresses.create(OPERATOR, user.user_id, f"second@{domain}")
    services.filters.create(OPERATOR, of_user(user.user_id), RuleContent(name=CANARY))
    services.autoreplies.set(OPERATOR, user.user_id, {"is_on": True, "text": CANARY})
    services.tokens.create(OPERATOR, services.tokens.owner_of_user(user.user_id), Role.USER, CANARY)
    services.users.set_name(OPERATOR, user.user_id, CANARY)
    sign_in(services, user)
    services.auth_log.flush()
    inbox_id = services.mailboxes.find(user.user_id, "INBOX").id
    services.messages.expunge(user.user_id, OPERATOR, inbox_id, None, only_deleted=False)
    deliver(services, message(os.urandom(60_000), CANARY), user)
    services.messages.fold(user.user_id, inbox_id)


def traces(services: MailServices, user: MadeUser) -> set[str]:
    """Collections in which a document names the user, by id, address or canary."""
    directory, shard = services.placement.directory, services.placement.shard("a")
    words = [user.user_id.binary, str(user.user_id).encode(), user.address.encode(), CANARY.encode()]
    found = set()
    for database in (directory.database, shard.hot, shard.cold):
        for name in database.list_collection_names():
            for document in database[name].find():
                if any(word in encode(document) for word in words):
                    found.add(name)
    return found


def test_whoever_is_deleted_is_gone_and_comes_back_whole(services: MailServices, user: MadeUser) -> None:
    raw = message(os.urandom(50_000))
    deliver(services, raw, user)
    signed_in = services.sessions.open(
        services.authentication.login(user.address, Secret(user.password), Protocol.IMAP, "192.0.2.1"), lambda: None
    )
    made = services.deleted_users.delete(OPERATOR, user.user_id)
    assert (made.addresses, made.erase_after > datetime.now(UTC) + timedelta(days=29)) == (1, True)
    services.sessions.poll()
    assert signed_in.ended == "This login is gone"
    with pytest.raises(AuthenticationFailed):
        sign_in(services, user)
    with pytest.raises(AddressNotFound) as refused:
        services.delivery.resolve(user.address)
    assert reply_for(refused.value).code == 550
    with pytest.raises(UserNotFound):
        services.users.get(user.user_id)
    with pytest.raises(AddressTaken):
        services.users.create(OPERATOR, user.address, None, "", user.tenant_id)
    with pytest.raises(UserNotFound):
        services.deleted_users.delete(OPERATOR, user.user_id)
    assert services.deleted_users.addresses_of(user.user_id) == [user.address]
    assert services.deleted_users.used_bytes(user.user_id) > 50_000
    assert [one.user.id for one in services.deleted_users.list_of_tenant(user.tenant_id)] == [user.user_id]
    assert services.deleted_users.restore(OPERATOR, user.user_id) == service.Restored(1, user.address)
    assert sign_in(services, user) == user.user_id
    assert inbox(services, user) == [raw]
    assert deliver(services, raw, user) == [None]
    assert services.deleted_users.list_of_tenant(user.tenant_id) == []
    with pytest.raises(DeletedUserNotFound):
        services.deleted_users.restore(OPERATOR, user.user_id)


def test_who_wants_a_deleted_users_address_is_told_who_keeps_it(services: MailServices, user: MadeUser) -> None:
    domain = user.address.partition("@")[2]
    heir = make_user(services, tenant=(user.tenant_id, domain))
    services.addresses.create(OPERATOR, user.user_id, f"*@{domain}", allow_wildcard=True)
    services.addresses.create(OPERATOR, user.user_id, f"oca@{domain}")
    made = services.deleted_users.delete(OPERATOR, user.user_id)
    wanted: list[Callable[[str], object]] = [
        lambda address: services.users.create(OPERATOR, address, None, "", user.tenant_id),
        lambda address: services.addresses.create(OPERATOR, heir.user_id, address, allow_wildcard=True),
        lambda address: services.groups.create(OPERATOR, user.tenant_id, address),
        lambda address: services.forwarded_addresses.create(
            OPERATOR, user.tenant_id, address, ["x@else.test"], allow_wildcard=True
        ),
        lambda address: services.renaming.rename(OPERATOR, heir.user_id, address),
    ]
    for want in wanted:
        with pytest.raises(AddressKept) as refused:
            want(user.address)
        assert refused.value.until == pytest.approx(made.erase_after, abs=timedelta(seconds=1))
        assert user.address in str(refused.value)
    for address, ways in ((f"*@{domain}", (wanted[1], wanted[3])), (f"\u043e\u0441\u0430@{domain}", wanted[:2])):
        for want in ways:
            with pytest.raises(AddressKept):
                want(address)
    for want in wanted[:4]:
        with pytest.raises(AddressTaken) as refused:
            want(heir.address)
        assert not isinstance(refused.value, AddressKept), "who has it is there"


def test_no_other_tenant_is_told_of_a_deleted_user(services: MailServices, user: MadeUser) -> None:
    services.deleted_users.delete(OPERATOR, user.user_id)
    entry = services.addresses.get(user.address)
    assert services.addresses.held(user.tenant_id, entry) is not None
    assert services.addresses.held(make_user(services).tenant_id, entry) is None


def test_a_successor_gets_the_mail_of_a_freed_address(services: MailServices, user: MadeUser) -> None:
    domain, address = user.address.partition("@")[2], user.address
    heir = make_user(services, tenant=(user.tenant_id, domain))
    services.addresses.create(OPERATOR, user.user_id, f"second@{domain}")
    services.addresses.create(OPERATOR, user.user_id, f"*@{domain}", allow_wildcard=True)
    services.groups.create(OPERATOR, user.tenant_id, f"all@{domain}", [heir.address, address, f"second@{domain}"])
    before, after = message(b"before"), message(b"after")
    deliver(services, before, user)
    services.deleted_users.delete(OPERATOR, user.user_id)
    services.deleted_users.set_hold(OPERATOR, user.user_id, held=True)
    freed = services.deleted_users.free_addresses(OPERATOR, user.user_id)
    assert set(freed) == {address, f"second@{domain}", f"*@{domain}"}
    assert set(services.deleted_users.addresses_of(user.user_id)) == set(freed)
    assert services.deleted_users.free_addresses(OPERATOR, user.user_id) == []
    assert services.groups.get(user.tenant_id, f"all@{domain}").members == (heir.address,)
    services.addresses.create(OPERATOR, heir.user_id, address)
    assert services.deleted_users.addresses_of(user.user_id) == [f"second@{domain}", f"*@{domain}"]
    assert deliver(services, after, replace(heir, address=address)) == [None]
    assert inbox(services, replace(heir, address=address)) == [after]
    with pytest.raises(AddressNotFound):
        services.delivery.resolve(f"second@{domain}")
    restored = services.deleted_users.restore(OPERATOR, user.user_id)
    assert restored == service.Restored(2, f"second@{domain}", (address,))
    assert services.users.get(user.user_id).address == f"second@{domain}"
    assert services.addresses.get(address).user_id == heir.user_id
    assert services.addresses.get(f"second@{domain}").user_id == user.user_id
    assert services.groups.get(user.tenant_id, f"all@{domain}").members == (heir.address, f"second@{domain}")
    assert inbox(services, user) == [before]


def test_who_lost_all_addresses_is_restored_once_one_is_free(services: MailServices, user: MadeUser) -> None:
    heir = make_user(services, tenant=(user.tenant_id, user.address.partition("@")[2]))
    services.deleted_users.delete(OPERATOR, user.user_id)
    services.deleted_users.free_addresses(OPERATOR, user.user_id)
    services.addresses.create(OPERATOR, heir.user_id, user.address)
    with pytest.raises(Conflict):
        services.deleted_users.restore(OPERATOR, user.user_id)
    assert services.deleted_users.get(user.user_id).stage is Stage.KEPT
    services.addresses.delete(OPERATOR, heir.user_id, user.address)
    assert services.deleted_users.restore(OPERATOR, user.user_id) == service.Restored(1, user.address)
    assert sign_in(services, user) == user.user_id


def test_freeing_that_was_cut_off_loses_nothing(services: MailServices, user: MadeUser) -> None:
    services.deleted_users.delete(OPERATOR, user.user_id)

    def die() -> None:
        raise Died

    fault.install({"user_free.after_note": die})
    with pytest.raises(Died):
        services.deleted_users.free_addresses(OPERATOR, user.user_id)
    fault.install({})
    with pytest.raises(AddressKept):
        services.addresses.check_free(user.tenant_id, user.address)
    services.deleted_users.free_addresses(OPERATOR, user.user_id)
    services.addresses.check_free(user.tenant_id, user.address)
    assert services.deleted_users.restore(OPERATOR, user.user_id) == service.Restored(1, user.address)


def test_tokens_from_before_stay_worthless(services: MailServices, user: MadeUser) -> None:
    value = services.tokens.create(OPERATOR, services.tokens.owner_of_user(user.user_id), Role.USER, "test")[1]
    services.deleted_users.delete(OPERATOR, user.user_id)
    with pytest.raises(AuthenticationFailed):
        services.bearers.find(value, "")
    services.deleted_users.restore(OPERATOR, user.user_id)
    with pytest.raises(AuthenticationFailed):
        services.bearers.find(value, "")


def test_a_full_plan_takes_nobody_back(services: MailServices, user: MadeUser) -> None:
    services.deleted_users.delete(OPERATOR, user.user_id)
    domain = user.address.partition("@")[2]
    make_user(services, tenant=(user.tenant_id, domain))
    limits = {"users": TenantLimits(users=1).users, "quota_bytes": None}
    services.placement.directory.database["tenants"].update_one({"_id": user.tenant_id}, {"$set": {"limits": limits}})
    with pytest.raises(TooManyUsers):
        services.deleted_users.restore(OPERATOR, user.user_id)


def restored_at_once(services: MailServices, user: MadeUser) -> int:
    """Restore fifty users at the same time under a plan of three; return how many users there are then."""
    domain = user.address.partition("@")[2]
    made = [make_user(services, tenant=(user.tenant_id, domain)) for _ in range(RESTORED)]
    for one in made:
        services.deleted_users.delete(OPERATOR, one.user_id)
    limits = {"users": TenantLimits(users=3).users, "quota_bytes": None}
    services.placement.directory.database["tenants"].update_one({"_id": user.tenant_id}, {"$set": {"limits": limits}})

    def restore(one: MadeUser) -> bool:
        try:
            services.deleted_users.restore(OPERATOR, one.user_id)
        except TooManyUsers:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        back = list(pool.map(restore, made))
    there = services.users.count_of_tenant(user.tenant_id)
    kept = services.deleted_users.list_of_tenant(user.tenant_id)
    assert there + len(kept) == 1 + RESTORED, "a user is lost"
    addresses = services.placement.directory.database["addresses"]
    for one, is_back in zip(made, back, strict=True):
        assert addresses.count_documents({"user": one.user_id, RESERVED: True}) == (0 if is_back else 1)
    return there


def test_fifty_restores_at_once_fill_the_plan_and_no_more(services: MailServices, user: MadeUser) -> None:
    assert restored_at_once(services, user) == 3


def test_control_without_the_turn_they_pass_the_plan(
    services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_the_same_time = threading.Barrier(8)
    first = iter(range(8))  # who comes later finds the plan full, or that nobody waits any more
    checked = Seats.check

    def check_together(seats: Seats, tenant: Tenant) -> None:
        checked(seats, tenant)
        if tenant.limits.users is not None and next(first, None) is not None:  # before, all have room
            at_the_same_time.wait(60)

    monkeypatch.setattr(Seats, "check", check_together)
    monkeypatch.setattr(Seats, "take", lambda *_: None)
    assert restored_at_once(services, user) > 3


def test_who_gets_the_journal_stays(services: MailServices, user: MadeUser) -> None:
    services.journal.set_archive(OPERATOR, user.tenant_id, user.user_id)
    with pytest.raises(NotPermitted):
        services.deleted_users.delete(OPERATOR, user.user_id)


def test_every_collection_is_erased_or_says_why_not() -> None:
    assert RANGES.keys() | KEPT.keys() == HOT.keys()
    assert not RANGES.keys() & KEPT.keys()
    key = ObjectId()
    user_id, mailbox_id = UserId(key), MailboxId(key)
    lengths = {
        "messages": messages.MESSAGE_KEY_BYTES,
        "outbound": outbound.KEY_BYTES,
        "files": files.KEY_BYTES,
        "mailboxes": heads.KEY_BYTES,
        "segments": segments.KEY_BYTES,
        "row_blocks": row_blocks.KEY_BYTES,
        "vanished": len(change_key(user_id, mailbox_id, 1)),
        "notes": notes.KEY_BYTES,
        "annotations": annotations.KEY_BYTES,
        "message_ids": message_ids.KEY_BYTES,
        "blocks": blocks.KEY_BYTES,
        "purge": purge.KEY_BYTES,
        "spam_reports": len(change_key(user_id, mailbox_id, 1)),
        "filters": len(user_key(user_id)),
        "correspondents": correspondents.KEY_BYTES,
        "auth_log": auth_log.KEY_BYTES,
        "autoreplies": len(autoreplies.memory_key(user_id, "x")),
        "mailbox_trees": len(user_key(user_id)),
    }
    assert lengths == RANGES


def test_erasure_by_the_job_leaves_nothing_but_the_trail(
    services: MailServices, user: MadeUser, redis_url: str, at_once: None
) -> None:
    """Promise P15; others of the tenant keep theirs, an attachment of both included."""
    other = make_user(services, tenant=(user.tenant_id, user.address.partition("@")[2]))
    furnish(services, user)
    shared = message(os.urandom(70_000))
    local, _, domain = user.address.partition("@")
    members = [f"{local.upper()}@{domain}", other.address]
    services.groups.create(OPERATOR, user.tenant_id, f"all@{domain}", members)
    deliver(services, shared, user, other)
    assert {"messages", "mailbox_trees", "purge", "filters", "auth_log", "addresses", "users"} <= traces(services, user)
    services.deleted_users.delete(OPERATOR, user.user_id, over())
    with Redis.from_url(redis_url) as redis:
        for _ in range(2):
            enqueue(redis, "users.erase_due")
            make_worker(services, redis).work(burst=True, logging_level="ERROR")
    assert traces(services, user) <= {"events", "sign_in_changes", "trace", "streams"}
    assert blob_bytes(services, other) == 70_000
    assert inbox(services, other) == [shared]
    assert services.groups.get(user.tenant_id, f"all@{domain}").members == (other.address,)
    with pytest.raises(DeletedUserNotFound):
        services.deleted_users.get(user.user_id)
    assert services.users.create(OPERATOR, user.address, None, "", user.tenant_id) != user.user_id


def test_a_range_that_is_forgotten_would_be_seen(
    services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch, at_once: None
) -> None:
    """Control."""
    furnish(services, user)
    monkeypatch.setattr(service, "RANGES", {name: size for name, size in RANGES.items() if name != "purge"})
    services.deleted_users.delete(OPERATOR, user.user_id, over())
    assert services.deleted_users.erase(SYSTEM, user.user_id)
    assert "purge" in traces(services, user)


class Died(BaseException):
    """The process was killed here."""


@pytest.mark.parametrize("point", ["user_erase.after_page", "user_erase.after_mail"])
def test_an_erasure_that_was_cut_off_is_finished_and_not_undone(
    services: MailServices, user: MadeUser, at_once: None, point: str
) -> None:
    furnish(services, user)
    services.deleted_users.delete(OPERATOR, user.user_id, over())

    def die() -> None:
        raise Died

    fault.install({point: die})
    with pytest.raises(Died):
        services.deleted_users.erase(SYSTEM, user.user_id)
    fault.install({})
    with pytest.raises(ErasureBegun):
        services.deleted_users.restore(OPERATOR, user.user_id)
    assert services.deleted_users.erase(SYSTEM, user.user_id)
    assert traces(services, user) <= {"events", "sign_in_changes", "trace", "streams"}
    assert blob_bytes_of_nobody(services, user) == 0


def blob_bytes_of_nobody(services: MailServices, user: MadeUser) -> int:
    chunks = services.placement.shard("a").chunks
    return sum(chunks.size_bytes(user.tenant_id, tier) for tier in Tier)


@pytest.mark.parametrize("point", ["user_delete.after_copy", "user_restore.after_copy"])
def test_a_deletion_or_restore_that_was_cut_off_leaves_the_user_there(
    services: MailServices, user: MadeUser, at_once: None, point: str
) -> None:
    def die() -> None:
        raise Died

    fault.install({point: die})
    with pytest.raises(Died):
        services.deleted_users.delete(OPERATOR, user.user_id, over())
        services.deleted_users.restore(OPERATOR, user.user_id)
    fault.install({})
    services.placement.forget(user.user_id)
    assert services.users.get(user.user_id).address == user.address
    assert services.deleted_users.list_of_tenant(user.tenant_id) == []
    assert not services.deleted_users.erase(SYSTEM, user.user_id), "who is there is not erased"
    assert sign_in(services, user) == user.user_id


@pytest.mark.parametrize("what", ["tenant hold", "user hold", "hold after", "rule", "not due", "mail waits"])
def test_what_must_be_kept_is_not_erased(services: MailServices, user: MadeUser, at_once: None, what: str) -> None:
    deliver(services, message(b"kept"), user)
    until = over()
    if what == "tenant hold":
        services.retention.set_tenant_hold(OPERATOR, user.tenant_id, held=True)
    elif what == "user hold":
        services.retention.set_user_hold(OPERATOR, user.user_id, held=True)
    elif what == "rule":
        services.retention.set_user_rule(OPERATOR, user.user_id, RetentionRule(keep_for=timedelta(days=3650)))
    elif what == "not due":
        until += timedelta(hours=1)
    elif what == "mail waits":
        services.queueing.enqueue(waiting_mail(user), OPERATOR)
    services.deleted_users.delete(OPERATOR, user.user_id, until)
    if what == "hold after":
        services.deleted_users.set_hold(OPERATOR, user.user_id, held=True)
    assert not services.deleted_users.erase(SYSTEM, user.user_id)
    services.deleted_users.restore(OPERATOR, user.user_id)
    assert len(inbox(services, user)) == 1


def test_destruction_that_asks_nobody_would_be_seen(
    services: MailServices, user: MadeUser, at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control."""
    monkeypatch.setattr(service, "may_destroy", lambda *_: True)
    with pytest.raises(AssertionError):
        test_what_must_be_kept_is_not_erased(services, user, at_once, "tenant hold")


def waiting_mail(user: MadeUser) -> NewOutbound:
    return NewOutbound(
        user_id=user.user_id,
        tenant_id=user.tenant_id,
        reverse_path=user.address,
        forward_paths=(OutboundRecipient("x@else.test"),),
        message=b"Subject: x\r\n\r\nx\r\n",
        reason=Reason.SUBMISSION,
        key=ObjectId().binary,
    )
