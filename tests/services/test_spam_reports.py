"""Moves to and from Junk are learned: every one, once noted never lost, and not while the client waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from redis import Redis

from infra.devstack.endpoints import Endpoints, ShardUris
from mailcore import fault
from mailcore.model.actor import Actor, ActorKind, Door
from mailcore.model.uid_set import UidSet
from mailcore.services import MailServices
from mailcore.services.events.sequencer import Sequencer
from mailcore.services.inbound import spam_reports
from mailcore.services.inbound.spam_reports import SpamReports
from tests.builders import OPERATOR, MadeUser, make_services, make_user
from tests.store.test_delivery import deliver, message
from tests.stubs.rspamd import Rspamd, rspamd
from workers.enqueue import enqueue
from workers.main import make_worker

USER = Actor(ActorKind.USER, Door.IMAP, "someone@example.org")
ALL = UidSet(((1, 1000),))


@pytest.fixture(scope="module")
def filter_() -> Iterator[Rspamd]:
    with rspamd() as service:
        yield service


@pytest.fixture(scope="module")
def services(filter_: Rspamd, stack: Endpoints, fresh_uri: Callable[[str, str], str]) -> Iterator[MailServices]:
    """A directory and shard of their own: the sequencer looks at everybody."""
    uris = stack.mongo.shards["a"]
    shard = ShardUris(fresh_uri(uris.hot, "learn_hot"), fresh_uri(uris.cold, "learn_cold"))
    connected = make_services(
        fresh_uri(stack.mongo.directory, "learn_directory"),
        {"a": shard},
        EIDER_RSPAMD_LEARN_URL=filter_.url,
        EIDER_RSPAMD_PASSWORD="sesame",
    )
    yield connected
    connected.close()


@pytest.fixture
def user(services: MailServices, filter_: Rspamd) -> Iterator[MadeUser]:
    filter_.asked.clear()
    filter_.status = 200
    yield make_user(services, shard="a")
    fault.install({})
    sequence(services)
    services.placement.shard("a").hot["spam_reports"].delete_many({})


def sequence(services: MailServices) -> None:
    for sequencer in services.events.sequencers():
        sequencer.catch_up()


def move(services: MailServices, user: MadeUser, source: str, target: str, actor: Actor = USER) -> None:
    mailbox = services.mailboxes.find(user.user_id, source).id
    services.messages.move(user.user_id, actor, mailbox, ALL, target)


def learned(filter_: Rspamd) -> list[tuple[str, bytes]]:
    return [(asked.path, asked.body) for asked in filter_.asked]


def waiting(services: MailServices) -> int:
    return services.placement.shard("a").hot["spam_reports"].count_documents({})


def test_what_users_move_to_junk_and_back_is_learned_by_a_job(
    services: MailServices, filter_: Rspamd, user: MadeUser, redis_url: str
) -> None:
    raw = message(b"x" * 50_000)
    deliver(services, raw, user)
    move(services, user, "INBOX", "Junk")
    sequence(services)
    move(services, user, "Junk", "INBOX")
    sequence(services)
    assert filter_.asked == []
    with Redis.from_url(redis_url) as redis:
        redis.flushdb()
        enqueue(redis, "spam.learn")
        make_worker(services, redis).work(burst=True, logging_level="ERROR")
    whole = f"Delivered-To: {user.address}\r\n".encode() + raw
    assert learned(filter_) == [("/learnspam", whole), ("/learnham", whole)]
    assert filter_.asked[0].header("Password") == ["sesame"]
    assert waiting(services) == services.spam_reports.learn() == 0


def test_copies_into_junk_and_moves_of_many_are_learned(
    services: MailServices, filter_: Rspamd, user: MadeUser
) -> None:
    for number in range(40):  # too many for the log's entry: they lie in a block
        deliver(services, message(b"%d" % number), user)
    inbox = services.mailboxes.find(user.user_id, "INBOX").id
    services.messages.copy(user.user_id, USER, inbox, UidSet(((1, 1),)), "Junk")
    move(services, user, "INBOX", "Junk")
    sequence(services)
    assert services.spam_reports.learn() == 41
    assert {path for path, _ in learned(filter_)} == {"/learnspam"}


def test_what_says_nothing_of_spam_is_not_learned(services: MailServices, filter_: Rspamd, user: MadeUser) -> None:
    deliver(services, message(b"1"), user)
    move(services, user, "INBOX", "Archive")
    move(services, user, "Archive", "Junk", OPERATOR)
    sequence(services)
    assert waiting(services) == 0
    move(services, user, "Junk", "Trash")  # thrown away as what it was taken for
    move(services, user, "Trash", "INBOX")
    sequence(services)
    assert waiting(services) == services.spam_reports.learn() == 0


def test_a_change_told_twice_is_noted_once(services: MailServices, filter_: Rspamd, user: MadeUser) -> None:
    """The sequencer dies after the note and before the number, and another takes over."""
    deliver(services, message(b"1"), user)
    sequence(services)
    move(services, user, "INBOX", "Junk")

    def die() -> None:
        raise KeyboardInterrupt

    fault.install({"events.numbered": die})
    with pytest.raises(KeyboardInterrupt):
        sequence(services)
    fault.install({})
    assert waiting(services) == 1
    sequence(services)
    assert services.spam_reports.learn() == 1
    assert len(learned(filter_)) == 1


@pytest.mark.parametrize("status", [500, 401, 503])
def test_a_filter_that_is_away_learns_later(
    services: MailServices, filter_: Rspamd, user: MadeUser, status: int
) -> None:
    deliver(services, message(b"1"), user)
    move(services, user, "INBOX", "Junk")
    sequence(services)
    filter_.status = status
    assert services.spam_reports.learn() == 0
    assert waiting(services) == 1
    filter_.status = 208  # learned before: a report may come twice
    assert services.spam_reports.learn() == 1
    assert waiting(services) == 0


def test_what_the_filter_does_not_want_holds_up_nothing(
    services: MailServices, filter_: Rspamd, user: MadeUser
) -> None:
    deliver(services, message(b"1"), user)
    move(services, user, "INBOX", "Junk")
    sequence(services)
    filter_.status = 404
    assert services.spam_reports.learn() == waiting(services) == 0


def test_a_message_that_is_gone_holds_up_nothing(services: MailServices, filter_: Rspamd, user: MadeUser) -> None:
    deliver(services, message(b"1"), user)
    move(services, user, "INBOX", "Junk")
    sequence(services)
    services.placement.shard("a").hot["messages"].delete_many({})
    assert services.spam_reports.learn() == waiting(services) == 0


def test_a_sequencer_that_notes_too_late_would_be_seen(
    services: MailServices, filter_: Rspamd, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control: were a change noted only after it has its number, a death in between would lose it."""
    later: list[tuple[object, ...]] = []
    number = Sequencer._number

    def note_later(_: SpamReports, *change: object) -> None:
        later.append(change)

    def number_first(self: Sequencer, events: object) -> int:
        done = number(self, events)  # type: ignore[arg-type]
        while later:
            spam_reports.SpamReports.note(services.spam_reports, *later.pop())  # type: ignore[arg-type]
        return done

    monkeypatch.setattr(services.events, "_on_change", lambda *change: note_later(services.spam_reports, *change))
    monkeypatch.setattr(Sequencer, "_number", number_first)
    with pytest.raises(AssertionError):
        test_a_change_told_twice_is_noted_once(services, filter_, user)
