"""Promise P8, copies, moves, expunges, folds and collections at once: no row without its message."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest

from infra.devstack.endpoints import ShardUris
from mailcore import fault
from mailcore.errors import Conflict, MailboxNotFound, StoreUnavailable
from mailcore.model.retention import RetentionRule
from mailcore.model.uid_set import UidSet
from mailcore.services import MailServices
from mailcore.services.keeping import retention as retention_service
from mailcore.store.mailbox.heads import Heads
from mailcore.store.message.chunks import Tier
from mailcore.store.message.message_collection import oid_array_of, oid_list
from tests.builders import OPERATOR, MadeUser, make_services, make_user
from tests.store.test_delivery import deliver, message

SECONDS = float(os.environ.get("EIDER_FUZZ_SECONDS", "4"))
NAMES = ("INBOX", "Archive", "Trash", "Junk")


@pytest.fixture(scope="module")
def services(directory_uri: str, shard_uris: dict[str, ShardUris]) -> Iterator[MailServices]:
    connected = make_services(directory_uri, shard_uris)
    yield connected
    connected.close()


@pytest.fixture
def user(services: MailServices) -> MadeUser:
    made = make_user(services, shard="a")
    services.retention.set_tenant_rule(OPERATOR, made.tenant_id, RetentionRule(purge_after=timedelta(0)))
    return made


@pytest.fixture(autouse=True)
def disarm() -> Iterator[None]:
    yield
    fault.install({})


def dangling(services: MailServices, user: MadeUser) -> int:
    """Rows of the user's mailboxes whose message cannot be read whole."""
    missing = 0
    for name in NAMES:
        view = services.mailboxes.open(user.user_id, name)
        oids = {bytes(view.message_oid(row)) for row in range(view.exists)}
        found = {}
        for content in services.content.open_many(user.user_id, list(oids)):
            found[content.message_oid] = sum(len(piece) for piece in content.read()) == content.size_bytes
        missing += sum(not found.get(oid, False) for oid in oids)
    return missing


def _copy_across_a_collection(services: MailServices, user: MadeUser) -> None:
    """A COPY that sleeps just before its push while its message is expunged, folded away and collected."""
    deliver(services, message(os.urandom(40_000)), user)
    view = services.mailboxes.open(user.user_id, "INBOX")

    def meanwhile() -> None:
        fault.install({})
        services.messages.expunge(user.user_id, OPERATOR, view.mailbox_id, None, only_deleted=False)
        assert services.retention.collect(user.user_id).messages == 1

    fault.install({"commit.before_push": meanwhile})
    services.messages.copy(user.user_id, OPERATOR, view.mailbox_id, UidSet(((1, 1),)), "Archive")


def test_copy_that_slept_across_a_collection_begins_again(services: MailServices, user: MadeUser) -> None:
    _copy_across_a_collection(services, user)
    assert dangling(services, user) == 0
    assert services.mailboxes.open(user.user_id, "Archive").exists == 0


def test_without_the_epoch_the_copy_points_at_nothing(
    services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: the collector opens no new epoch."""
    monkeypatch.setattr(Heads, "bump_collection_epoch", lambda *_: 0)
    _copy_across_a_collection(services, user)
    assert dangling(services, user) == 1


def test_ids_that_end_in_nul_bytes_come_back_whole() -> None:
    oids = sorted([b"a" * 12, b"b" * 10 + b"\0\0", b"\0" * 12, b"b" * 11 + b"\0"])
    assert oid_list(oid_array_of(oids)) == oids


def test_no_row_is_ever_without_its_message(
    services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    until = time.monotonic() + SECONDS
    give_up_at = until + 90
    faults: list[BaseException] = []
    counts = dict.fromkeys(("deliver", "copy", "move", "expunge", "fold", "collect", "collected"), 0)

    def goes_on() -> bool:
        """For a while, and until everything happened: a slow machine takes longer."""
        enough = time.monotonic() >= (until if all(counts.values()) else give_up_at)
        return not enough and not faults

    def some(dice: random.Random) -> tuple[str, object, UidSet]:
        name = dice.choice(NAMES)
        view = services.mailboxes.open(user.user_id, name)
        uids = view.uids.tolist()
        return name, view.mailbox_id, UidSet.of(dice.sample(uids, min(len(uids), dice.randint(1, 4))))

    def deliverer(dice: random.Random) -> None:
        assert deliver(services, message(dice.randbytes(40_000)), user) == [None]
        counts["deliver"] += 1

    def changer(dice: random.Random) -> None:
        name, mailbox_id, uids = some(dice)
        if not uids:
            return
        action = dice.choice(("copy", "move", "expunge", "expunge"))
        other = dice.choice([each for each in NAMES if each != name])
        try:
            if action == "copy":
                services.messages.copy(user.user_id, OPERATOR, mailbox_id, uids, other)
            elif action == "move":
                services.messages.move(user.user_id, OPERATOR, mailbox_id, uids, other)
            else:
                services.messages.expunge(user.user_id, OPERATOR, mailbox_id, uids, only_deleted=False)
        except (Conflict, MailboxNotFound):
            return
        counts[action] += 1

    def folder(dice: random.Random) -> None:
        services.messages.fold(user.user_id, services.mailboxes.find(user.user_id, dice.choice(NAMES)).id)
        counts["fold"] += 1
        time.sleep(0.05)

    def collector(_dice: random.Random) -> None:
        try:
            counts["collected"] += services.retention.collect(user.user_id).messages
        except StoreUnavailable:
            return  # the mailboxes kept changing
        counts["collect"] += 1

    def repeat(work, seed: int) -> None:  # type: ignore[no-untyped-def]
        dice = random.Random(seed)
        try:
            while goes_on():
                work(dice)
        except BaseException as error:
            faults.append(error)

    workers = [deliverer, changer, changer, changer, folder, collector, collector]
    threads = [threading.Thread(target=repeat, args=(work, seed)) for seed, work in enumerate(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]
    assert dangling(services, user) == 0
    assert all(counts.values()), counts
    for name in NAMES:
        view = services.mailboxes.open(user.user_id, name)
        services.messages.expunge(user.user_id, OPERATOR, view.mailbox_id, None, only_deleted=False)
    monkeypatch.setattr(retention_service, "CRASHED_AFTER_S", -1)
    services.retention.collect(user.user_id, sweep=True)
    home = services.placement.home(user.user_id)
    assert list(home.shard.messages.stored_ids(user.user_id)) == []
    assert list(home.shard.blob_refs.of_tenant(user.tenant_id)) == []
    assert home.shard.chunks.size_bytes(user.tenant_id, Tier.COLD) == 0
