"""The sequencer's process: it follows a shard, may be killed anywhere, and two of them do one's work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Collection
from datetime import UTC, datetime
from functools import partial

import pytest

from mailcore.model.actor import Actor, ActorKind, Door
from mailcore.services import MailServices
from mailcore.services.events.sequencer import Sequencer
from mailcore.store.mailbox.change_events import ChangeEvents
from tests.builders import SEALING_KEYS, make_user
from tests.services.test_events import check_stream
from tests.store.test_delivery import deliver, message
from tests.waiting import wait_until
from workers.sequencer import follow

DEADLINE_S = 60.0
until = partial(wait_until, seconds=DEADLINE_S)
WHO = Actor(ActorKind.OPERATOR, Door.CLI, "op")


def free_leases(services: MailServices) -> None:
    """As if the time of every lease were over."""
    for sequencer in services.events.sequencers():
        sequencer.streams._all.update_one({"_id": b"lease"}, {"$set": {"until": datetime(1970, 1, 1, tzinfo=UTC)}})


def numbered(services: MailServices, tenant: object) -> int:
    return sum(stores.trail.highest_number(tenant) for stores in services.placement.shards())  # type: ignore[arg-type]


def test_two_followers_number_everything_as_it_happens(services: MailServices) -> None:
    user = make_user(services, shard="a")
    stopping = threading.Event()
    threads = [
        threading.Thread(target=follow, args=(sequencer, lambda: not stopping.is_set()))
        for _ in range(2)
        for sequencer in services.events.sequencers()
    ]
    for thread in threads:
        thread.start()
    try:
        for number in range(70):
            deliver(services, message(b"%d" % number), user)
            if number % 30 == 7:
                free_leases(services)
                services.users.set_quota(WHO, user.user_id, (1 << 30) + number)
        inbox = services.mailboxes.find(user.user_id, "INBOX").id
        services.messages.fold(user.user_id, inbox)
        until(lambda: numbered(services, user.tenant_id) >= 70 + 4 + 3)
    finally:
        stopping.set()
        for thread in threads:
            thread.join(DEADLINE_S)
    events = check_stream(services, user)
    assert sum(event.kind == "user.quota" for event in events) == 3


def test_a_follower_survives_what_nobody_expects(services: MailServices, monkeypatch: pytest.MonkeyPatch) -> None:
    user = make_user(services, shard="a")
    free_leases(services)
    failures = iter([ValueError("unforeseen"), KeyError("this too")])
    step = Sequencer.step

    def failing(self: Sequencer, mailbox_keys: Collection[bytes] = ()) -> int:
        for failure in failures:
            raise failure
        return step(self, mailbox_keys)

    monkeypatch.setattr(Sequencer, "step", failing)
    stopping = threading.Event()
    sequencer = next(one for one in services.events.sequencers() if one.name == "a")
    thread = threading.Thread(target=follow, args=(sequencer, lambda: not stopping.is_set()))
    thread.start()
    try:
        deliver(services, message(b"x"), user)
        until(lambda: numbered(services, user.tenant_id) > 0 and thread.is_alive())
    finally:
        stopping.set()
        thread.join(DEADLINE_S)
    sequencer.catch_up()
    check_stream(services, user)


@pytest.mark.parametrize("rounds", [3, pytest.param(40, marks=pytest.mark.soak)])
def test_killed_again_and_again_it_loses_and_repeats_nothing(services: MailServices, rounds: int) -> None:
    user = make_user(services, shard="a")
    environment = os.environ | {
        "MONGO_URI": services.settings.mongo_uri.reveal_text(),
        "EIDER_SEALING_KEYS": SEALING_KEYS,
    }
    command = [sys.executable, "-m", "workers.main", "sequencer"]
    inbox = services.mailboxes.find(user.user_id, "INBOX").id
    sent = 0
    for round_ in range(rounds):
        free_leases(services)
        before = numbered(services, user.tenant_id)
        process = subprocess.Popen(command, env=environment)
        try:
            for _ in range(20):
                deliver(services, message(b"%d" % sent), user)
                sent += 1
            if round_ % 2:
                services.messages.fold(user.user_id, inbox)
            until(lambda: numbered(services, user.tenant_id) > before)  # noqa: B023
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
    free_leases(services)
    for sequencer in services.events.sequencers():
        sequencer.catch_up()
    events = check_stream(services, user)
    assert sum(event.kind == "message.delivery" for event in events) == sent


def test_without_what_folds_write_a_sequencer_that_was_away_misses_changes(
    services: MailServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control: the check of the tests above turns red when folds do not write events."""
    monkeypatch.setattr(ChangeEvents, "insert", lambda *_: None)
    user = make_user(services, shard="a")
    for number in range(5):
        deliver(services, message(b"%d" % number), user)
    services.messages.fold(user.user_id, services.mailboxes.find(user.user_id, "INBOX").id)
    for sequencer in services.events.sequencers():
        sequencer.catch_up()
    with pytest.raises(AssertionError):
        check_stream(services, user)
