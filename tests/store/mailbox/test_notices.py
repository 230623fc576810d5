"""Notices: other processes learn of changes, with the entry itself; losing them, or Redis, loses nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pymongo import monitoring

from mailcore.errors import MailboxChanged
from mailcore.model.flags import SEEN, FlagOperation, FlagSet
from mailcore.model.uid_set import UidSet
from mailcore.services import MailServices
from mailcore.services.mailboxes import notices as module
from mailcore.services.mailboxes.notices import Notices
from mailcore.services.wiring import connect
from tests.builders import make_services, make_settings, make_user
from tests.store.mailbox.conftest import ACTOR, Engine, same
from tests.waiting import wait_until


def spawn(function: Callable[[], None]) -> None:
    threading.Thread(target=function, daemon=True).start()


class Session:
    """Somebody in IDLE."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.woken = 0
        self.subscription = engine.services.notices.subscribe(engine.user_id, engine.inbox, self._wake)
        self.view = engine.services.mailboxes.open(engine.user_id, "INBOX")

    def _wake(self) -> None:
        self.woken += 1


@pytest.fixture
def processes(directory_uri: str, shard_uris: Any, redis_url: str) -> Iterator[Callable[..., Engine]]:
    """Return `new()`: the services of another process, listening; all for one user."""
    made: list[MailServices] = []
    first = make_services(directory_uri, shard_uris, redis_url)
    user_id = make_user(first).user_id
    first.close()

    def new(redis: str | None = redis_url, *, listen: bool = True) -> Engine:
        made.append(connect(make_settings(directory_uri, redis)))
        if listen:
            made[-1].notices.start(spawn)
            if redis == redis_url:
                wait_until(lambda: made[-1].notices.listening)
        return Engine(made[-1], user_id)

    yield new
    for services in made:
        services.close()


def test_a_change_reaches_the_sessions_of_another_process_without_the_database(
    processes: Callable[..., Engine],
) -> None:
    writer, reader = processes(listen=False), processes()
    session = Session(reader)
    writer.add(2)
    writer.services.messages.store(
        writer.user_id, ACTOR, writer.inbox, UidSet.of([1]), FlagOperation.ADD, FlagSet(SEEN)
    )
    wait_until(lambda: session.woken >= 2)
    known = reader.services.mailboxes.cached(reader.user_id, reader.inbox)
    assert known is not None
    assert same(known, writer.fresh())


def test_what_a_notice_does_not_say_is_read(processes: Callable[..., Engine]) -> None:
    """A new keyword's name, or a row block, is not in the entry."""
    writer, reader = processes(listen=False), processes()
    session = Session(reader)
    writer.add(100)
    wait_until(lambda: session.woken >= 1)
    writer.services.messages.store(
        writer.user_id, ACTOR, writer.inbox, UidSet.of([1]), FlagOperation.ADD, FlagSet(0, ("New",))
    )
    wait_until(lambda: session.woken >= 2)
    assert reader.services.mailboxes.cached(reader.user_id, reader.inbox) is session.view
    view = reader.services.mailboxes.refresh(reader.user_id, reader.inbox)
    assert view.flag_names(int(view.flags[0])) == ("New",)


def test_a_session_of_the_writing_process_is_woken_at_once(processes: Callable[..., Engine]) -> None:
    engine = processes(None)
    session = Session(engine)
    engine.add(1)
    assert session.woken == 1


def test_a_closed_subscription_is_woken_no_more(processes: Callable[..., Engine]) -> None:
    writer, reader = processes(listen=False), processes()
    session, other = Session(reader), Session(reader)
    session.subscription.close()
    session.subscription.close()
    writer.add(1)
    wait_until(lambda: other.woken == 1)
    assert session.woken == 0
    other.subscription.close()
    assert not reader.services.notices._subscriptions
    assert not reader.services.notices._users


def test_a_watch_hears_of_mailboxes_and_names_from_another_process(processes: Callable[..., Engine]) -> None:
    writer, reader = processes(listen=False), processes()
    woken: list[int] = []
    watch = reader.services.notices.watch(reader.user_id, lambda: woken.append(1))
    watch.learn(reader.inbox, reader.services.mailboxes.status(reader.user_id, [reader.inbox])[reader.inbox])
    watch.tree_version = reader.services.mailboxes.tree(reader.user_id).version
    wait_until(lambda: writer.add(1).modseq > 0 and bool(woken))  # Redis has the subscription
    assert (watch.changed, watch.names_changed) == ({reader.inbox}, False)
    writer.services.mailboxes.subscribe(writer.user_id, ACTOR, "elsewhere")
    wait_until(lambda: watch.names_changed)
    watch.close()
    watch.close()
    assert not reader.services.notices._watches
    assert not reader.services.notices._users


def test_without_redis_the_poll_finds_changes(
    processes: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = processes(None, listen=False)
    reader = processes(None, listen=False)
    reader.services.notices._poll_alone_s = 0.05
    reader.services.notices.start(spawn)
    session = Session(reader)
    writer.add(1)
    wait_until(lambda: session.woken >= 1)
    session.view = reader.services.mailboxes.refresh(reader.user_id, reader.inbox)
    assert session.view.exists == 1
    woken = session.woken
    wait_until(lambda: session.woken > woken)  # until it says that it has seen it
    session.subscription.seen = session.view.highest_modseq
    time.sleep(0.1)
    woken = session.woken
    time.sleep(0.3)
    assert session.woken == woken  # nothing new, nobody woken


def test_a_mailbox_deleted_elsewhere_wakes_its_sessions(processes: Callable[..., Engine]) -> None:
    writer, reader = processes(None, listen=False), processes(None, listen=False)
    mailbox_id = writer.services.mailboxes.create(writer.user_id, ACTOR, "Short")
    woken = []
    reader.services.notices.subscribe(reader.user_id, mailbox_id, lambda: woken.append(1))
    writer.services.mailboxes.delete(writer.user_id, ACTOR, "Short")
    reader.services.notices._poll()
    assert woken


@pytest.mark.parametrize("tells", [True, False], ids=["as it is", "negative control"])
def test_a_deletion_is_told_at_once(
    processes: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch, tells: bool
) -> None:
    """By a notice, before that of a later change in another mailbox; without one only the poll would tell."""
    writer, reader = processes(), processes()
    mailbox_id = writer.services.mailboxes.create(writer.user_id, ACTOR, "Short")
    deleted = reader.services.notices.subscribe(reader.user_id, mailbox_id, lambda: None)
    later = Session(reader)
    wait_until(lambda: writer.add(1).modseq > 0 and later.subscription.told > 0)  # Redis has the subscription
    with monkeypatch.context() as patch:
        if not tells:
            patch.setattr(Notices, "publish", lambda *_: None)
        writer.services.mailboxes.delete(writer.user_id, ACTOR, "Short")
    modseq = writer.add(1).modseq
    wait_until(lambda: later.subscription.told >= modseq)
    assert (deleted.told > 0) is tells
    with pytest.raises(MailboxChanged):
        reader.services.mailboxes.refresh(reader.user_id, mailbox_id)


def test_a_redis_that_is_gone_fails_no_commit_and_delays_one_only(processes: Callable[..., Engine]) -> None:
    engine = processes("redis://127.0.0.1:1/0")
    session = Session(engine)
    begun = time.monotonic()
    for _ in range(20):
        engine.add(1)
    assert time.monotonic() - begun < module.PAUSE_AFTER_FAULT_S
    assert engine.fresh().exists == 20
    assert session.woken == 20


def test_after_listening_again_what_was_missed_is_found(processes: Callable[..., Engine]) -> None:
    writer, reader = processes(listen=False), processes()
    session = Session(reader)
    notices: Notices = reader.services.notices
    wait_until(lambda: notices._pubsub is not None)
    pubsub = notices._pubsub
    assert pubsub is not None
    assert pubsub.connection is not None
    pubsub.connection.disconnect()
    writer.services.notices._publisher = None  # a change nobody is told of
    writer.add(1)
    wait_until(lambda: session.woken >= 1)
    assert reader.services.mailboxes.refresh(reader.user_id, reader.inbox).exists == 1


def test_the_poll_asks_once_for_all_mailboxes_of_a_shard(directory_uri: str, shard_uris: Any) -> None:
    commands: list[str] = []

    class Listener(monitoring.CommandListener):
        def started(self, event: monitoring.CommandStartedEvent) -> None:
            if event.command.get("find") in {"mailboxes", "mailbox_trees"}:
                commands.append(event.command["find"])

        def succeeded(self, event: monitoring.CommandSucceededEvent) -> None: ...

        def failed(self, event: monitoring.CommandFailedEvent) -> None: ...

    listener = Listener()
    monitoring.register(listener)
    try:
        services = make_services(directory_uri, shard_uris)
        users = [make_user(services, shard=shard) for shard in ("a", "b") for _ in range(3)]
        for user in users:
            for entry in services.mailboxes.tree(user.user_id):
                services.notices.subscribe(user.user_id, entry.id, lambda: None)
                watch = services.notices.watch(user.user_id, lambda: None)
                watch.learn(entry.id, services.mailboxes.status(user.user_id, [entry.id])[entry.id])
        commands.clear()
        services.notices._poll()
        assert sorted(commands) == ["mailbox_trees"] * 2 + ["mailboxes"] * 2
        services.close()
    finally:
        monitoring._LISTENERS.command_listeners.remove(listener)
