"""Streams that tell how far long work is: who may read them, for how long, how many, and what wakes them."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from redis import Redis
from sqlalchemy import update

from mailcore.services import MailServices
from portal import progress
from portal.accounts import provisioning, sessions
from portal.accounts.models import Membership, Organisation
from portal.database import unit_of_work, utc_now
from portal.mail_plane import EXTENSION, Portal
from portal.open_streams import MOST_STREAMS, OpenStreams
from portal.permissions import Role
from tests.portal.conftest import Browser, MadeOrganisation, SignIn, make_organisation

PATH = "/overview/progress"
NEVER_S = 3600.0


class Stream:
    """The events of a stream, taken one by one; what is between them is done by the reader's own thread."""

    def __init__(self, browser: Browser, path: str = PATH) -> None:
        self.response = browser.client.get(path)
        self._parts: Iterator[bytes] = self.response.iter_encoded()

    def next(self) -> Any:
        """The next event; "" for a comment, None where the stream has ended."""
        part = next(self._parts, b"").decode()
        return json.loads(part.removeprefix("data: ")) if part.startswith("data: ") else "" if part else None

    def close(self) -> None:
        self.response.close()


@pytest.fixture
def parts(portal_app: Flask) -> Portal:
    found: Portal = portal_app.extensions[EXTENSION]
    return found


@pytest.fixture
def portal_redis(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url) as redis:
        yield redis


@pytest.fixture
def in_the_making(database: None, mail_services: MailServices) -> MadeOrganisation:
    """An organisation whose tenant is not there yet."""
    return make_organisation(mail_services, with_tenant=False)


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PAUSE_S", 0.0)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked at once, announced or not."""
    monkeypatch.setattr(progress, "LOOK_EVERY_S", 0.01)


def make_ready(organisation: Organisation) -> None:
    with unit_of_work() as current:
        current.execute(update(Organisation).where(Organisation.id == organisation.id).values(provisioned_at=utc_now()))


def test_news_wake_a_stream_and_the_end_ends_it(
    sign_in: SignIn, in_the_making: MadeOrganisation, parts: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing would be looked at before the test's time is up, but for the notice."""
    monkeypatch.setattr(progress, "LOOK_EVERY_S", NEVER_S)
    stream = Stream(sign_in(Role.OWNER, in_the_making))
    assert stream.response.mimetype == "text/event-stream"
    assert stream.response.headers["Cache-Control"] == "no-store"
    assert stream.next()["ended"] is False
    topic = provisioning.topic(in_the_making.organisation.id)
    progress.announce(parts.redis, topic)
    assert stream.next() == "", "a notice is a hint: nothing has changed"
    make_ready(in_the_making.organisation)
    progress.announce(parts.redis, topic)
    assert stream.next()["ended"] is True
    assert stream.next() is None


@pytest.mark.usefixtures("hasty")
def test_what_nobody_announces_is_seen_all_the_same(sign_in: SignIn, in_the_making: MadeOrganisation) -> None:
    stream = Stream(sign_in(Role.OWNER, in_the_making))
    assert stream.next()["ended"] is False
    make_ready(in_the_making.organisation)
    assert stream.next()["ended"] is True


@pytest.mark.usefixtures("hasty")
def test_nothing_of_postgres_is_held_while_nothing_happens(
    sign_in: SignIn, in_the_making: MadeOrganisation, parts: Portal
) -> None:
    browser = sign_in(Role.OWNER, in_the_making)
    held = parts.database.engine.pool.checkedout()  # type: ignore[attr-defined]  # by the test itself
    open_streams = [Stream(browser) for _ in range(3)]
    for stream in open_streams * 2:
        stream.next()
        assert parts.database.engine.pool.checkedout() == held  # type: ignore[attr-defined]
    for stream in open_streams:
        stream.close()


@pytest.mark.usefixtures("hasty")
def test_a_session_that_ends_ends_its_streams(sign_in: SignIn, in_the_making: MadeOrganisation) -> None:
    assert goes_on_after_signing_out(sign_in, in_the_making) is False


@pytest.mark.usefixtures("hasty")
def test_control_a_stream_that_is_never_asked_again_goes_on(
    sign_in: SignIn, in_the_making: MadeOrganisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress._Reader, "may_still", lambda _: True)
    assert goes_on_after_signing_out(sign_in, in_the_making) is True


def goes_on_after_signing_out(sign_in: SignIn, made: MadeOrganisation) -> bool:
    stream = Stream(sign_in(Role.OWNER, made))
    assert stream.next()["ended"] is False
    sessions.end_sessions(made.members[Role.OWNER].id)
    goes_on = stream.next() is not None
    stream.close()
    return goes_on


@pytest.mark.usefixtures("hasty")
def test_who_loses_the_role_reads_no_more(sign_in: SignIn, in_the_making: MadeOrganisation) -> None:
    """The role counts as it is at each look."""
    member = in_the_making.members[Role.AUDITOR]
    stream = Stream(sign_in(Role.AUDITOR, in_the_making))
    assert stream.next()["ended"] is False
    with unit_of_work() as current:
        current.execute(update(Membership).where(Membership.member_id == member.id).values(role=Role.BILLING))
    assert stream.next() == "", "who does billing sees the organisation, too"
    with unit_of_work() as current:
        current.query(Membership).filter_by(member_id=member.id).delete()
    assert stream.next() is None


@pytest.mark.usefixtures("hasty")
def test_a_person_reads_so_many_and_no_more(sign_in: SignIn, in_the_making: MadeOrganisation) -> None:
    owner, admin = sign_in(Role.OWNER, in_the_making), sign_in(Role.ADMIN, in_the_making)
    streams = [Stream(owner) for _ in range(MOST_STREAMS)]
    assert {stream.response.status_code for stream in streams} == {200}
    assert Stream(owner).response.status_code == 429
    other = Stream(admin)
    assert other.response.status_code == 200, "another one's are counted apart"
    streams[0].close()
    again = Stream(owner)
    assert again.response.status_code == 200
    for stream in (other, again, *streams[1:]):
        stream.close()


def passes_the_limit(redis: Redis) -> bool:
    """Whether one person reads more streams of two processes than may be of one."""
    one, other, whose = OpenStreams(), OpenStreams(), secrets.token_hex(8)
    tokens = [each.take(redis, whose) for _ in range(MOST_STREAMS) for each in (one, other)]
    taken = [token for token in tokens if token is not None]
    assert len(taken) >= MOST_STREAMS
    for token in taken:
        one.give(redis, whose, token)
    assert redis.zcard(f"eider:portal:streams:{whose}") == 0
    return len(taken) > MOST_STREAMS


def test_all_processes_count_together(portal_redis: Redis) -> None:
    assert not passes_the_limit(portal_redis)


def test_control_processes_that_count_alone_pass_the_limit(
    portal_redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OpenStreams, "renew", lambda *_: True)
    assert passes_the_limit(portal_redis)


def test_what_a_process_that_died_was_reading_is_free_again(portal_redis: Redis) -> None:
    """Nobody renews it; who does goes on counting."""
    whose = secrets.token_hex(8)
    dead, alive = OpenStreams(), OpenStreams()
    lost = [dead.take(portal_redis, whose) for _ in range(MOST_STREAMS - 1)]
    mine = alive.take(portal_redis, whose)
    assert mine is not None
    assert alive.take(portal_redis, whose) is None
    key = f"eider:portal:streams:{whose}"
    portal_redis.zadd(key, {str(token): 1 for token in [*lost, mine]})  # half a minute later
    assert alive.renew(portal_redis, whose, mine)
    assert portal_redis.zcard(key) == 1
    assert 0 < portal_redis.ttl(key) <= 30
    assert all(alive.take(portal_redis, whose) for _ in range(MOST_STREAMS - 1))
    assert alive.take(portal_redis, whose) is None


def test_without_redis_each_process_counts_alone() -> None:
    away = Redis.from_url("redis://127.0.0.1:1", socket_connect_timeout=0.2)
    for redis in (None, away):
        streams, whose = OpenStreams(), secrets.token_hex(8)
        tokens = [streams.take(redis, whose) for _ in range(MOST_STREAMS + 1)]
        assert [token is not None for token in tokens] == [True] * MOST_STREAMS + [False]
        streams.give(redis, whose, str(tokens[0]))
        assert streams.take(redis, whose) is not None


@pytest.mark.usefixtures("hasty")
def test_a_stream_ends_by_itself_after_its_time(
    sign_in: SignIn, in_the_making: MadeOrganisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LONGEST_S", 0.05)
    stream = Stream(sign_in(Role.OWNER, in_the_making))
    while (told := stream.next()) is not None:
        assert told == "" or told["ended"] is False
    stream.close()


@pytest.mark.usefixtures("hasty")
def test_without_redis_it_is_looked_all_the_same(
    portal_app: Flask, sign_in: SignIn, in_the_making: MadeOrganisation, parts: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(portal_app.extensions, EXTENSION, replace(parts, redis=None))
    stream = Stream(sign_in(Role.OWNER, in_the_making))
    assert stream.next()["ended"] is False
    progress.announce(None, "nobody")
    make_ready(in_the_making.organisation)
    assert stream.next()["ended"] is True


def test_strangers_are_sent_to_the_sign_in(client: Browser) -> None:
    assert client.get(PATH).status_code == 303
    assert client.get(f"/domains/{UUID(int=0)}/progress").status_code == 303
