"""The event stream: at least once, in log order for each mailbox, none missing, numbers consecutive."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from bson import ObjectId

from infra.devstack.endpoints import Endpoints, ShardUris
from mailcore import fault
from mailcore.errors import StoreUnavailable, TenantExists
from mailcore.model.actor import Actor, ActorKind, Door
from mailcore.model.event import PLATFORM, Event, Outcome
from mailcore.model.ids import TenantId
from mailcore.model.secret import Secret
from mailcore.model.tenant import State
from mailcore.services import MailServices
from mailcore.store.user.trail import AlreadyNumbered, Numbering, Trail
from tests.builders import OPERATOR, MadeUser, make_services, make_user
from tests.store.test_delivery import deliver, message

WHO = Actor(ActorKind.MEMBER, Door.PORTAL, "ada@example.org", remote_address="203.0.113.9", request_id="r-1")


@pytest.fixture(scope="module")
def services(stack: Endpoints, fresh_uri: Callable[[str, str], str]) -> Iterator[MailServices]:
    """A directory and shard of their own: the sequencer numbers what everybody did."""
    uris = stack.mongo.shards["a"]
    shard = ShardUris(fresh_uri(uris.hot, "events_hot"), fresh_uri(uris.cold, "events_cold"))
    connected = make_services(fresh_uri(stack.mongo.directory, "events_directory"), {"a": shard})
    yield connected
    connected.close()


@pytest.fixture
def user(services: MailServices) -> MadeUser:
    return make_user(services, shard="a")


def sequence(services: MailServices) -> int:
    return sum(one.catch_up() for one in services.events.sequencers())


def stream(services: MailServices, tenant_id: TenantId) -> list[Event]:
    """Everything in a tenant's stream, pulled page by page."""
    events: list[Event] = []
    cursor = ""
    while (page := services.events.read(tenant_id, cursor, 7)).events:
        events += page.events
        cursor = page.cursor
    return events


def modseqs(events: list[Event]) -> dict[object, list[object]]:
    found: dict[object, list[object]] = {}
    for event in events:
        if "modseq" in event.details:
            found.setdefault(event.details["mailbox_id"], []).append(event.details["modseq"])
    return found


def check_stream(services: MailServices, user: MadeUser) -> list[Event]:
    """Numbers are 1, 2, 3 ...; each mailbox's changes are all there, once, in order."""
    events = stream(services, user.tenant_id)
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    shard = services.placement.home(user.user_id).shard
    found = modseqs(events)
    for mailbox_id, head in shard.heads.each(user.user_id):
        expected = list(range(1, head.state.highest_modseq + 1))
        assert found.get(str(mailbox_id), []) == expected
    return events


def test_changes_of_settings_and_mail_come_in_one_stream_with_their_actor(
    services: MailServices, user: MadeUser
) -> None:
    services.users.set_quota(WHO, user.user_id, 5 << 30)
    deliver(services, message(b"x"), user)
    sequence(services)
    events = check_stream(services, user)
    quota = next(event for event in events if event.kind == "user.quota")
    assert (quota.actor, quota.user_id, quota.outcome) == (WHO, user.user_id, Outcome.DONE)
    assert quota.details == {"wanted": {"quota_bytes": 5 << 30}, "before": {"quota_bytes": None}}
    delivery = next(event for event in events if event.kind == "message.delivery")
    assert (delivery.user_id, delivery.details["count"], delivery.details["first_uid"]) == (user.user_id, 1, 1)
    kinds = {event.kind for event in events}
    assert {"tenant.created", "domain.created", "user.created", "mailbox.defaults"} <= kinds
    platform = stream(services, PLATFORM)
    assert [(event.kind, event.details["wanted"]) for event in platform] == [
        ("shard.added", {"shard": "a", "region": "eu"})
    ]


def test_what_folds_dropped_from_the_log_comes_in_its_place(services: MailServices, user: MadeUser) -> None:
    """The sequencer was away while three folds ran; then it goes on where it stopped."""
    inbox = services.mailboxes.find(user.user_id, "INBOX").id
    for round_ in range(4):
        for number in range(5):
            deliver(services, message(b"%d %d" % (round_, number)), user)
        services.messages.fold(user.user_id, inbox)
        if round_ == 1:
            sequence(services)
    deliver(services, message(b"last"), user)
    sequence(services)
    check_stream(services, user)
    assert sequence(services) == 0, "nothing is numbered twice"


@pytest.mark.parametrize("point", ["events.numbered"])
def test_a_sequencer_that_dies_loses_and_repeats_nothing(
    services: MailServices, user: MadeUser, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It wrote numbers and not how far it came: the next one finds the numbers themselves."""

    def die(name: str) -> None:
        if name == point:
            raise KeyboardInterrupt

    deliver(services, message(b"one"), user)
    monkeypatch.setattr(fault, "hit", die)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            sequence(services)
        deliver(services, message(b"more"), user)
    monkeypatch.undo()
    sequence(services)
    check_stream(services, user)


def test_two_sequencers_at_once_give_no_number_twice(services: MailServices, user: MadeUser) -> None:
    """One that slept through the end of its lease is refused by the index, and then knows better."""
    (asleep,) = (one for one in services.events.sequencers() if one.name == "a")
    deliver(services, message(b"zero"), user)
    asleep.catch_up()
    deliver(services, message(b"one"), user)
    deliver(services, message(b"two"), user)
    sequence(services)
    inbox = user.user_id.binary + services.mailboxes.find(user.user_id, "INBOX").id.binary
    with pytest.raises(AlreadyNumbered):
        asleep.step([inbox])
    deliver(services, message(b"three"), user)
    assert asleep.step([inbox]) == 1
    check_stream(services, user)


def test_without_the_fence_a_number_is_given_twice(
    services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control of the test above: events with a number are numbered anew, on a collection without the index."""
    (asleep,) = (one for one in services.events.sequencers() if one.name == "a")
    deliver(services, message(b"zero"), user)
    asleep.catch_up()
    deliver(services, message(b"one"), user)
    sequence(services)
    services.users.set_quota(WHO, user.user_id, 1 << 30)
    sequence(services)
    home = services.placement.home(user.user_id).shard
    home.hot["events"].drop_index("number")
    inbox = user.user_id.binary + services.mailboxes.find(user.user_id, "INBOX").id.binary

    def unfenced(self: Trail, numberings: list[Numbering]) -> None:
        for one in numberings:
            given = {"_id": one.key + b"again", "tenant": one.tenant_id.binary, "number": one.number}
            self._all.insert_one(one.content | given)

    monkeypatch.setattr(Trail, "give_numbers", unfenced)
    asleep.step([inbox])
    numbers = [event.number for event in stream(services, user.tenant_id)]
    home.hot["events"].delete_many({"tenant": user.tenant_id.binary})
    home.ensure_indexes()
    assert len(numbers) != len(set(numbers))


def test_lease_is_one_processes_until_it_ends_or_is_given_up(services: MailServices) -> None:
    streams = services.placement.shard("a").streams
    first, second = ObjectId(), ObjectId()
    assert streams.take_lease(first) is not None
    assert streams.take_lease(second) is None
    lease = streams.take_lease(first, {"_data": "token"})
    assert lease is not None
    streams.give_up_lease(first)
    taken = streams.take_lease(second)
    assert taken is not None
    assert taken.resume_token == {"_data": "token"}
    assert streams.take_lease(first) is None


# -- a crash between change and event ---------------------------------------------------------


def die_at(point: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(name: str) -> None:
        if name == point:
            raise SystemExit(point)

    monkeypatch.setattr(fault, "hit", die)


def long_ago(services: MailServices) -> None:
    for stores in services.placement.shards():
        stores.hot["events"].update_many(
            {"waiting_since": {"$exists": True}}, [{"$set": {"waiting_since": {"$subtract": ["$$NOW", 700_000]}}}]
        )


def states(services: MailServices, user: MadeUser) -> list[tuple[Outcome, object]]:
    events = stream(services, user.tenant_id)
    return [(one.outcome, one.details["wanted"]) for one in events if one.kind == "user.state"]


@pytest.mark.parametrize(("point", "changed"), [("audit.announced", False), ("audit.changed", True)])
def test_a_change_whose_process_died_is_told_as_unknown(
    services: MailServices, user: MadeUser, point: str, changed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before or after the change: the event is there either way, never nothing."""
    monkeypatch.setattr("mailcore.services.events.audit.Audit._settle", lambda *_: None)
    die_at(point, monkeypatch)
    with pytest.raises(SystemExit):
        services.users.set_state(WHO, user.user_id, State.SUSPENDED)
    monkeypatch.undo()
    assert (services.users.get(user.user_id).state is State.SUSPENDED) is changed
    sequence(services)
    assert states(services, user) == [], "its process may still live"
    long_ago(services)
    sequence(services)
    assert states(services, user) == [(Outcome.UNKNOWN, {"state": "suspended"})]


def test_an_event_written_after_the_change_would_be_lost(
    services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control of the test above: without the announcement a crash leaves a change that nobody knows of."""
    monkeypatch.setattr(Trail, "announce", lambda *_: None)
    die_at("audit.changed", monkeypatch)
    with pytest.raises(SystemExit):
        services.users.set_state(WHO, user.user_id, State.SUSPENDED)
    monkeypatch.undo()
    assert services.users.get(user.user_id).state is State.SUSPENDED
    long_ago(services)
    sequence(services)
    assert states(services, user) == []


def test_nothing_changes_that_cannot_be_announced(
    services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise StoreUnavailable("test")

    monkeypatch.setattr(Trail, "announce", away)
    with pytest.raises(StoreUnavailable):
        services.users.set_state(WHO, user.user_id, State.SUSPENDED)
    assert services.users.get(user.user_id).state is State.ACTIVE


def test_what_was_refused_leaves_no_event(services: MailServices, user: MadeUser) -> None:
    tenant = services.tenants.find(user.tenant_id)
    assert tenant is not None
    with pytest.raises(TenantExists):
        services.tenants.create(OPERATOR, tenant.name, "eu")
    long_ago(services)
    sequence(services)
    shard = services.placement.shard("a")
    query = {"kind": "tenant.created", "wanted.name": tenant.name}
    assert shard.hot["events"].count_documents(query) == 1


def test_secrets_cannot_get_into_the_trail(services: MailServices, user: MadeUser) -> None:
    for value in (Secret("canary"), b"canary", object()):
        with pytest.raises(TypeError), services.audit.of_user(WHO, "test", user.user_id, {"value": value}):  # type: ignore[dict-item]
            raise AssertionError("announced")
