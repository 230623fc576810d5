"""The authentication log: grouped, paged, of one user, never in a login's way; new networks become events."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mailcore.errors import AuthenticationFailed, StoreUnavailable, ValueInvalid
from mailcore.model.access import Protocol
from mailcore.model.ids import UserId
from mailcore.model.limits import DEFAULT_LIMITS
from mailcore.model.secret import Secret
from mailcore.services import MailServices
from mailcore.services.accounts import auth_log as auth_log_service
from mailcore.services.accounts.auth_log import AuthLog, network_of
from mailcore.services.accounts.login_guard import Attempt
from mailcore.store.user import auth_log as auth_log_store
from mailcore.store.user.auth_log import AuthLogRow, AuthLogRows
from tests.builders import MadeUser, make_user

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def user(services: MailServices) -> MadeUser:
    return make_user(services, shard="a")


@pytest.fixture
def clock(services: MailServices, monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(services.auth_log, "_clock", made)
    return made


def sign_in(services: MailServices, user: MadeUser, address: str = "192.0.2.1", password: str | None = None) -> None:
    try:
        services.authentication.login(user.address, Secret(password or user.password), Protocol.IMAP, address)
    except AuthenticationFailed:
        pass


def test_tries_are_grouped_by_hour_and_what_they_have_in_common(
    services: MailServices, user: MadeUser, clock: Clock
) -> None:
    for minute in range(3):
        clock.now = START + timedelta(minutes=minute)
        sign_in(services, user)
        services.auth_log.flush()
    sign_in(services, user, password="wrong password")
    sign_in(services, user, "192.0.2.9")
    clock.now = START + timedelta(hours=2)
    sign_in(services, user)
    services.auth_log.flush()
    rows = services.auth_log.list_of_user(user.user_id)
    found = [(row.sign_in.remote_address, row.sign_in.result, row.count) for row in rows]
    assert found[0] == ("192.0.2.1", "accepted", 1)
    assert sorted(found[1:]) == [("192.0.2.1", "accepted", 3), ("192.0.2.1", "wrong", 1), ("192.0.2.9", "accepted", 1)]
    [three] = [row for row in rows if row.count == 3]
    assert (three.first_at, three.last_at) == (START, START + timedelta(minutes=2))
    assert three.sign_in.protocol == "imap"


def test_pages_follow_each_other_and_are_one_users_own(services: MailServices, user: MadeUser, clock: Clock) -> None:
    other = make_user(services, shard="a")
    for hour in range(7):
        clock.now = START + timedelta(hours=hour)
        sign_in(services, user)
        sign_in(services, other)
    services.auth_log.flush()
    seen = []
    before = ""
    while page := services.auth_log.list_of_user(user.user_id, before, 3):
        seen += [row.last_at for row in page]
        before = page[-1].key.hex()
    assert seen == [START + timedelta(hours=hour) for hour in reversed(range(7))]
    foreign = services.auth_log.list_of_user(other.user_id)[0].key.hex()
    for wrong in (foreign, "zz", "00", before + "00"):
        with pytest.raises(ValueInvalid):
            services.auth_log.list_of_user(user.user_id, wrong)


def test_of_one_hour_the_latest_comes_first(services: MailServices, user: MadeUser, clock: Clock) -> None:
    for minute in range(9):
        clock.now = START + timedelta(minutes=minute)
        sign_in(services, user, f"192.0.2.{minute}")
    services.auth_log.flush()
    found = [row.sign_in.remote_address for row in services.auth_log.list_of_user(user.user_id)]
    assert found == [f"192.0.2.{minute}" for minute in reversed(range(9))]
    seen, before = [], ""
    while page := services.auth_log.list_of_user(user.user_id, before, 4):
        assert page == sorted(page, key=lambda row: row.last_at, reverse=True)
        seen += [row.sign_in.remote_address for row in page]
        before = min(row.key for row in page).hex()
    assert sorted(seen) == sorted(found)


def test_rows_lie_on_the_users_shard_only_and_expire(services: MailServices, user: MadeUser, clock: Clock) -> None:
    sign_in(services, user)
    services.auth_log.flush()
    owner = {"_id": {"$gte": user.user_id.binary + bytes(12), "$lte": user.user_id.binary + b"\xff" * 12}}
    a, b = services.placement.shard("a"), services.placement.shard("b")
    assert a.hot["auth_log"].count_documents(owner) == 3  # the try, the network, and that there was one
    assert b.hot["auth_log"].count_documents(owner) == 0
    assert "auth_log" not in services.users._directory.database.list_collection_names()
    row = a.hot["auth_log"].find_one({**owner, "result": "accepted"})
    assert row is not None
    assert row["expires_at"] == START + timedelta(seconds=DEFAULT_LIMITS.auth_log_kept_s)
    ttl = a.hot["auth_log"].index_information()["expires_at"]
    assert ttl["expireAfterSeconds"] == 0


def test_a_login_waits_for_no_database_that_keeps_the_log(
    services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shard is away: logins go on, what was noted is lost and counted."""
    calls: list[object] = []

    def away(*arguments: object) -> None:
        calls.append(arguments)
        raise StoreUnavailable("test")

    monkeypatch.setattr(AuthLogRows, "note", away)
    for _ in range(3):
        sign_in(services, user)
    assert calls == []
    lost: list[float] = []
    monkeypatch.setattr(auth_log_service.DROPPED, "inc", lambda by=1: lost.append(by))
    assert services.auth_log.flush() == 1
    assert lost == [1]


def test_a_network_that_could_not_be_noted_is_told_with_the_next_sign_in(
    services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written is not lost, and of two networks that not noted yet is not forgotten."""
    lost: list[float] = []
    monkeypatch.setattr(auth_log_service.DROPPED, "inc", lambda by=1: lost.append(by))
    sign_in(services, user)
    sign_in(services, user, "203.0.113.5")

    note = AuthLogRows.note

    def away_without_rows(stored: AuthLogRows, rows: Sequence[AuthLogRow], *more: Any) -> list[tuple[UserId, str]]:
        if not rows:
            raise StoreUnavailable("test")
        return note(stored, rows, *more)

    with monkeypatch.context() as without:
        without.setattr(AuthLogRows, "note", away_without_rows)
        services.auth_log.flush()
    assert lost == []
    assert {row.sign_in.remote_address for row in services.auth_log.list_of_user(user.user_id)} == {
        "192.0.2.1",
        "203.0.113.5",
    }
    sign_in(services, user, "203.0.113.5")
    services.auth_log.flush()
    assert new_networks(services, user) == ["203.0.113.0/24"]


def test_what_waits_is_bounded(services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch) -> None:
    lost: list[float] = []
    monkeypatch.setattr(auth_log_service.DROPPED, "inc", lambda by=1: lost.append(by))
    log = AuthLog(services.placement, services.audit)
    many = DEFAULT_LIMITS.auth_log_waiting + 10
    for number in range(many):
        address = f"2001:db8::{number:x}"
        log.note(Attempt(user.address, Protocol.IMAP, address, user.user_id), "wrong")
    assert len(log._waiting) == DEFAULT_LIMITS.auth_log_waiting
    assert len(lost) == 10


def test_unknown_users_have_no_log(services: MailServices) -> None:
    before = len(services.auth_log._waiting)
    services.auth_log.note(Attempt("nobody@example.org", Protocol.IMAP, "192.0.2.1"), "wrong")
    assert len(services.auth_log._waiting) == before


# -- new networks -------------------------------------------------------------------------------


def new_networks(services: MailServices, user: MadeUser) -> list[object]:
    shard = services.placement.home(user.user_id).shard
    query = {"kind": "login.new_network", "user": user.user_id}
    return [document["wanted"]["network"] for document in shard.hot["events"].find(query).sort("_id", 1)]


def test_a_new_network_is_told_once_and_the_first_is_not_new(services: MailServices, user: MadeUser) -> None:
    for address in ("192.0.2.1", "192.0.2.77", "2001:db8:1::1", "2001:db8:1::2", "198.51.100.4", "192.0.2.1"):
        sign_in(services, user, address)
        services.auth_log.flush()
    expected = ["2001:db8:1::/64", "198.51.100.0/24"]
    assert new_networks(services, user) == expected
    another_process = AuthLog(services.placement, services.audit)
    attempt = Attempt(user.address, Protocol.IMAP, "198.51.100.9", user.user_id)
    another_process.note(attempt, "accepted")
    another_process.flush()
    assert new_networks(services, user) == expected


def test_networks_of_one_second_are_told_as_if_they_came_one_by_one(services: MailServices, user: MadeUser) -> None:
    """Many users in one round trip, and of a user's first two networks only the second is new."""
    other = make_user(services)
    sign_in(services, user)
    sign_in(services, user, "203.0.113.5")
    sign_in(services, other)
    services.auth_log.flush()
    assert new_networks(services, user) == ["203.0.113.0/24"]
    assert new_networks(services, other) == []


def test_a_refused_try_makes_no_network_known(services: MailServices, user: MadeUser) -> None:
    sign_in(services, user)
    for password in ("wrong password", None):
        sign_in(services, user, "203.0.113.5", password)
        services.auth_log.flush()
        assert new_networks(services, user) == ([] if password else ["203.0.113.0/24"])


def test_without_the_first_look_every_first_sign_in_is_told(
    services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control: were any unknown network new, the very first sign-in would be told."""
    monkeypatch.setattr(auth_log_store, "_is_new", lambda place, upserted: place in upserted)
    sign_in(services, user)
    services.auth_log.flush()
    assert new_networks(services, user) == ["192.0.2.0/24"]


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.200", "192.0.2.0/24"),
        ("::ffff:192.0.2.200", "192.0.2.0/24"),
        ("2001:db8:1:2:3::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", None),
        ("unix", None),
    ],
)
def test_network_of_an_address(address: str, network: str | None) -> None:
    assert network_of(address) == network


@pytest.mark.parametrize("newer", [True, False])
def test_notes_of_networks_are_no_rows_of_the_log(services: MailServices, user: MadeUser, newer: bool) -> None:
    """In no page, from no edge, not counted, and not found by their keys."""
    for address in ("192.0.2.1", "203.0.113.5"):
        sign_in(services, user, address)
        services.auth_log.flush()
    log, user_id = services.auth_log, user.user_id
    stored = services.placement.shard("a").hot["auth_log"]
    keys = [bytes(row["_id"]).hex() for row in stored.find({"_id": {"$gte": user_id.binary + b"\xff" * 4 + bytes(8)}})]
    notes = [key for key in keys if key.startswith(user_id.binary.hex())]
    assert len(notes) == 3
    for edge in ("", *notes):
        found, total = log.page(user_id, auth_log_store.RowFilter(), edge, 250, newer=newer)
        assert total == 2
        assert len(found) == (0 if newer and edge else 2)
        assert len(log.list_of_user(user_id, edge, 250)) == 2
    assert [log.find(user_id, key) for key in notes] == [None] * 3
