"""Who signs in: counted in hashes and round trips, never in seconds."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from bson import ObjectId

from mailcore.errors import AuthenticationFailed, ServerBusy, StoreUnavailable, TooManyAttempts, UserDisabled
from mailcore.model.access import Protocol
from mailcore.model.ids import TenantId, UserId
from mailcore.model.limits import DEFAULT_LIMITS, LoginLimits, Penalty
from mailcore.model.secret import Secret
from mailcore.model.tenant import State
from mailcore.services import MailServices
from mailcore.services.accounts import user_lookup, verified_passwords
from mailcore.services.accounts.authentication import Authentication
from mailcore.services.accounts.failed_logins import FailedLogins
from mailcore.services.accounts.identity import Identity
from mailcore.services.accounts.passwords import Argon2, Passwords
from mailcore.services.addresses.addresses import Addresses
from mailcore.services.process.offload import InlineOffload
from mailcore.services.process.redis_link import RedisLink
from mailcore.services.wiring import connect
from mailcore.store.client import Clients
from mailcore.store.directory import Directory
from tests.builders import OPERATOR, PASSWORD, MadeUser, make_settings, make_user


class Counting(Argon2):
    """The real hash, counted."""

    def __init__(self) -> None:
        super().__init__()
        self.verified = self.hashed = 0

    def hash(self, password: bytes) -> str:
        self.hashed += 1
        return super().hash(password)

    def verify(self, encoded: str, password: bytes) -> bool:
        self.verified += 1
        return super().verify(encoded, password)


class Bench:
    """An Authentication of its own with a hash counter and a clock to turn."""

    def __init__(self, services: MailServices, directory_uri: str) -> None:
        self.services = services
        self.argon2 = Counting()
        self.now = 1000.0
        self.clients = Clients({})
        self.passwords = Passwords(InlineOffload(), self.argon2)
        directory = self.directory = Directory.of(self.clients.database(directory_uri))
        self.authentication = Authentication(
            directory,
            services.placement,
            self.passwords,
            services.app_passwords,
            services.temporary_passwords,
            services.tokens,
            services.last_uses,
            services.sessions.recent_users,
            clock=lambda: self.now,
        )

    def login(self, username: str, password: str | bytes = PASSWORD, address: str = "192.0.2.1") -> Identity:
        return self.authentication.login(username, Secret(password), Protocol.IMAP, address)

    def may_stay(self, identity: Identity) -> bool:
        """Whether a session that this login opened goes on."""
        session = self.services.sessions.open(identity, lambda: None)
        self.services.sessions.compare_all()
        session.close()
        return session.ended is None

    def hashes_of(self, username: str, password: str | bytes) -> int:
        before = self.argon2.verified
        with pytest.raises(AuthenticationFailed):
            self.login(username, password)
        return self.argon2.verified - before


def tenant_of(user: MadeUser) -> tuple[TenantId, str]:
    return user.tenant_id, user.address.partition("@")[2]


@pytest.fixture
def bench(services: MailServices, directory_uri: str) -> Iterator[Bench]:
    bench = Bench(services, directory_uri)
    yield bench
    bench.clients.close()


@pytest.fixture
def user(services: MailServices) -> MadeUser:
    return make_user(services)


def test_any_address_in_any_spelling_signs_in(bench: Bench, user: MadeUser) -> None:
    local, domain = user.address.split("@")
    bench.services.addresses.create(OPERATOR, user.user_id, f"Änderung@{domain}")
    expected = Identity(user.user_id, user.tenant_id, user.address, 1, Protocol.IMAP)
    for name in (user.address, user.address.upper(), f"{local[0]}.{local[1:]}@{domain}", f"a\u0308nderung@{domain}"):
        assert bench.login(name) == expected


def test_of_two_with_one_main_address_it_signs_in_whom_it_reaches(bench: Bench, user: MadeUser) -> None:
    """As where an address went to somebody else while its owner was renamed."""
    other = make_user(bench.services, tenant=tenant_of(user), password="another password")
    bench.services.placement.directory.user_changes.set_address(other.user_id, user.address)
    assert bench.login(user.address, user.password).user_id == user.user_id
    with pytest.raises(AuthenticationFailed):
        bench.login(user.address, "another password")


def test_a_user_whose_creation_ended_before_the_claim_signs_in_never(
    bench: Bench, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed right before: what else was to be set may be missing."""
    address = f"half.{user.address}"

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Addresses, "claim", killed)
    with pytest.raises(KeyboardInterrupt):
        bench.services.users.create(OPERATOR, address, Secret(PASSWORD), "", user.tenant_id)
    assert bench.directory.database["users"].count_documents({"address": address}) == 1
    with pytest.raises(AuthenticationFailed):
        bench.login(address)
    bench.directory.database["users"].update_one({"address": address}, {"$unset": {"is_unclaimed": ""}})
    assert bench.login(address), "control: nothing else keeps it out"


def test_an_address_that_went_to_somebody_else_signs_that_one_in(bench: Bench, user: MadeUser) -> None:
    """Though its owner of before still shows it: killed in the middle of a change. A wrong guess finds it out."""
    other = make_user(bench.services, tenant=tenant_of(user), password="another password")
    alias = f"also.{user.address}"
    bench.services.placement.directory.user_changes.set_address(user.user_id, alias)
    bench.services.addresses.create(OPERATOR, other.user_id, alias)
    with pytest.raises(AuthenticationFailed):
        bench.login(alias, "another password")
    assert bench.login(alias, "another password").user_id == other.user_id
    with pytest.raises(AuthenticationFailed):
        bench.login(alias, user.password)
    assert bench.login(user.address).user_id == user.user_id
    bench.services.renaming.rename(OPERATOR, user.user_id, user.address)
    assert bench.login(user.address).user_id == user.user_id


def test_unknown_users_cost_the_hash_of_a_wrong_password(bench: Bench, user: MadeUser) -> None:
    """Account enumeration by time: the work is the same whatever is wrong."""
    domain = user.address.split("@")[1]
    without = bench.services.users.create(OPERATOR, f"nopass@{domain}", None, "", user.tenant_id)
    assert without
    wrong = bench.hashes_of(user.address, "wrong password")
    assert wrong == 1
    for unknown in (f"nobody@{domain}", "nobody@nowhere.test", "not an address", "", "x" * 5000, f"nopass@{domain}"):
        assert bench.hashes_of(unknown, "wrong password") == wrong
    assert bench.argon2.hashed == 0


def test_without_the_stand_in_unknown_users_would_be_told_by_their_cost(
    bench: Bench, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: verification that skips the work when there is no hash."""
    real = Passwords.verify
    monkeypatch.setattr(
        Passwords, "verify", lambda self, encoded, password: encoded is not None and real(self, encoded, password)
    )
    assert bench.hashes_of("nobody@nowhere.test", "wrong password") != bench.hashes_of(user.address, "wrong password")


@pytest.mark.parametrize("password", ["", "x" * 1025, b"\xff" * 2000])
def test_empty_and_huge_passwords_are_not_hashed(bench: Bench, user: MadeUser, password: str | bytes) -> None:
    assert bench.hashes_of(user.address, password) == 0


def test_a_password_that_is_not_text_is_just_wrong(bench: Bench, user: MadeUser) -> None:
    assert bench.hashes_of(user.address, b"\xff\xfe") == 1


def test_a_verified_password_is_not_hashed_again_for_a_minute(bench: Bench, user: MadeUser) -> None:
    for _ in range(5):
        bench.login(user.address)
    assert bench.argon2.verified == 1
    assert bench.hashes_of(user.address, PASSWORD + "x") == 1
    bench.now += verified_passwords.VERIFIED_S
    bench.login(user.address)
    assert bench.argon2.verified == 3


def test_a_wrong_password_is_never_remembered(bench: Bench, user: MadeUser) -> None:
    assert bench.hashes_of(user.address, "wrong password") == 1
    assert bench.hashes_of(user.address, "wrong password") == 1


def test_a_changed_password_ends_what_was_remembered_at_once(bench: Bench, user: MadeUser) -> None:
    identity = bench.login(user.address)
    bench.services.users.set_password(OPERATOR, user.user_id, Secret("another password"))
    assert bench.hashes_of(user.address, PASSWORD) == 1
    assert not bench.may_stay(identity)
    fresh = bench.login(user.address, "another password")
    assert fresh.auth_version == 2
    assert bench.may_stay(fresh)


def test_a_cache_without_auth_version_would_let_the_old_password_in(
    bench: Bench, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: what is remembered taken without comparing."""
    bench.login(user.address)
    bench.services.users.set_password(OPERATOR, user.user_id, Secret("another password"))

    monkeypatch.setattr(verified_passwords.Known, "still_good", lambda self, _found: self.credential)
    assert bench.login(user.address).user_id == user.user_id


def test_a_taken_away_address_signs_in_no_more(bench: Bench, user: MadeUser) -> None:
    alias = f"alias@{user.address.split('@')[1]}"
    bench.services.addresses.create(OPERATOR, user.user_id, alias)
    bench.login(alias)
    bench.services.addresses.delete(OPERATOR, user.user_id, alias)
    assert bench.hashes_of(alias, PASSWORD) == 1


def test_suspended_and_disabled_users_are_told_only_after_the_right_password(bench: Bench, user: MadeUser) -> None:
    identity = bench.login(user.address)
    for state in (State.SUSPENDED, State.DISABLED):
        bench.services.users.set_state(OPERATOR, user.user_id, state)
        with pytest.raises(UserDisabled):
            bench.login(user.address)
        assert bench.hashes_of(user.address, "wrong password") == 1
        assert not bench.may_stay(identity)
    bench.services.users.set_state(OPERATOR, user.user_id, State.ACTIVE)
    assert bench.login(user.address).auth_version == 4


def test_a_suspended_tenant_shuts_out_its_users(bench: Bench, user: MadeUser) -> None:
    identity = bench.login(user.address)
    bench.services.tenants.set_state(OPERATOR, user.tenant_id, State.SUSPENDED)
    with pytest.raises(UserDisabled):
        bench.login(user.address)
    assert not bench.may_stay(identity)


def test_an_outdated_hash_is_upgraded_at_login(
    bench: Bench, user: MadeUser, directory_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from argon2 import PasswordHasher

    old = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
    directory = Directory.of(bench.clients.database(directory_uri))
    directory.user_changes.set_password(user.user_id, old)
    bench.login(user.address)
    found = directory.users.find_credentials(user.user_id)
    assert found is not None
    assert found.password_hash is not None
    assert "m=19456,t=2,p=1" in found.password_hash
    assert found.user.auth_version == 2  # open sessions go on: the password is the same


def guarded(bench: Bench, limits: LoginLimits = DEFAULT_LIMITS.logins) -> FailedLogins:
    """Have failures counted, by this process alone."""
    guard = FailedLogins(RedisLink(None), limits)
    bench.authentication._guard = guard
    return guard


def test_a_right_password_counts_as_no_failure_when_the_directory_fails_after_it(
    bench: Bench, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard = guarded(bench)

    def away(_tenant_id: TenantId) -> None:
        raise StoreUnavailable("directory")

    monkeypatch.setattr(bench.services.placement, "tenant", away)
    with pytest.raises(StoreUnavailable):
        bench.login(user.address)
    assert {count for count, _, _ in guard._alone._counts.values()} == {0}
    monkeypatch.undo()
    assert bench.login(user.address)


def test_no_time_for_a_better_hash_keeps_nobody_out(
    bench: Bench, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard = guarded(bench)

    def busy(_encoded: str, _password: Secret) -> None:
        raise ServerBusy("passwords")

    monkeypatch.setattr(bench.passwords, "upgraded", busy)
    assert bench.login(user.address).user_id == user.user_id
    assert {count for count, _, _ in guard._alone._counts.values()} <= {0}


def test_failures_of_unknown_names_and_of_users_are_one_count_of_their_tenant(bench: Bench, user: MadeUser) -> None:
    """Else whoever made unknown names wait could tell by who need not wait that there is such a user."""
    guarded(bench, LoginLimits(tenant=Penalty(free=20, first_wait_s=600, longest_wait_s=600), lone_share=5))
    domain = user.address.rpartition("@")[2]
    for number in range(4):
        with pytest.raises(AuthenticationFailed):
            bench.login(f"nobody{number}@{domain}", "wrong password", f"203.0.{number}.1")
    for name in (f"nobody@{domain}", user.address):
        with pytest.raises(TooManyAttempts):
            bench.login(name, "wrong password", "192.0.2.1")
    with pytest.raises(AuthenticationFailed):
        bench.login("nobody@nowhere.test", "wrong password", "192.0.2.1")


def test_a_deleted_users_session_ends(bench: Bench) -> None:
    gone = Identity(UserId(ObjectId()), TenantId(ObjectId()), "gone@example.com", 1, Protocol.IMAP)
    assert not bench.may_stay(gone)


def test_without_directory_nobody_is_refused_for_good() -> None:
    services = connect(make_settings("mongodb://127.0.0.1:1/none?serverSelectionTimeoutMS=100"))
    with pytest.raises(StoreUnavailable):
        services.authentication.login("a@example.com", Secret("password"), Protocol.IMAP, "")
    services.close()


def test_no_password_reaches_the_log(bench: Bench, user: MadeUser, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    bench.login(user.address)
    bench.hashes_of(user.address, "canary-wrong-password")
    events = [record for record in caplog.records if record.name.startswith("mailcore")]
    assert {record.message for record in events} >= {"login.accepted", "login.refused"}
    for record in caplog.records:
        assert PASSWORD not in str(record.__dict__)
        assert "canary" not in str(record.__dict__)


def test_what_is_no_address_is_not_kept_in_memory() -> None:
    """Names are strangers' text of any length; only addresses are remembered, which have a longest length."""
    user_lookup._parsed.cache_clear()
    assert user_lookup.canonical("A.B@Example.com") == "ab@example.com"
    for number in range(10):
        assert user_lookup.canonical(f"{number}@" + "x" * 5000) is None
    assert user_lookup._parsed.cache_info().currsize == 1
