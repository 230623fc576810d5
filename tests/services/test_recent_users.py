"""W9: what logins read of a user is believed for a second, and by nobody who heard that it changed.

`elsewhere` is another process: it hears of changes only by what a test lets it hear, and its clock is turned by hand.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mailcore.errors import AppPasswordNeeded, AuthenticationFailed, MailError, UserDisabled
from mailcore.model.access import Protocol
from mailcore.model.ids import UserId
from mailcore.model.secret import Secret
from mailcore.model.tenant import State
from mailcore.sasl import PasswordOffer
from mailcore.services import MailServices
from mailcore.services.accounts import recent_users as module
from mailcore.services.accounts.identity import Identity
from mailcore.services.accounts.recent_users import RecentUsers
from mailcore.services.accounts.sessions import SignedIn
from mailcore.store.directory.users import Credentials, Users
from tests.builders import OPERATOR, MadeUser, make_services, make_user
from tests.services.test_doors_shut import WAYS, Scene, Way
from tests.waiting import wait_until


class Elsewhere:
    """A process that signs people in, and its clock."""

    def __init__(self, services: MailServices) -> None:
        self.services = services
        self.now = 1000.0
        self.recent = services.sessions.recent_users
        self.recent._clock = lambda: self.now

    def login(self, user: MadeUser, password: str | None = None, protocol: Protocol = Protocol.IMAP) -> Identity:
        offer = PasswordOffer(user.address, Secret(password or user.password))
        return self.services.authentication.accept(offer, protocol, "192.0.2.1")

    def warm(self, user: MadeUser, password: str | None = None) -> Identity:
        """Sign in until what is read of the user is remembered."""
        self.login(user, password)
        return self.login(user, password)

    def lets_in(self, user: MadeUser, password: str | None = None) -> bool:
        try:
            self.login(user, password)
        except MailError:
            return False
        return True

    def open(self, identity: Identity) -> SignedIn:
        return self.services.sessions.open(identity, lambda: None)


@pytest.fixture
def elsewhere(directory_uri: str, shard_uris: dict[str, Any]) -> Iterator[Elsewhere]:
    made = make_services(directory_uri, shard_uris)
    yield Elsewhere(made)
    made.close()


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[UserId]:
    """Whom logins read, in order."""
    found: list[UserId] = []
    real = Users.find_credentials

    def counted(self: Users, user_id: UserId) -> Credentials | None:
        found.append(user_id)
        return real(self, user_id)

    monkeypatch.setattr(Users, "find_credentials", counted)
    return found


@pytest.fixture
def user(services: MailServices) -> MadeUser:
    return make_user(services)


def scene_of(services: MailServices, user: MadeUser, way: Way) -> Scene:
    scene = Scene(services, user, Protocol.IMAP, user.password)
    if way.with_app_password:
        made, letters = services.app_passwords.create(OPERATOR, user.user_id, "phone")
        scene.app_password, scene.password = made.id, letters.reveal_text()
    return scene


CHANGES = {name: way for name, way in WAYS.items() if not way.is_compared}


# -- how long it is believed -------------------------------------------------------------------


def test_who_comes_back_within_a_second_is_not_read_again(
    elsewhere: Elsewhere, user: MadeUser, readings: list[UserId]
) -> None:
    elsewhere.warm(user)
    readings.clear()
    for _ in range(5):
        elsewhere.login(user)
        elsewhere.now += 0.19
    assert readings == []
    elsewhere.now += 0.06
    elsewhere.login(user)
    assert readings == [user.user_id]


def test_the_second_counts_from_before_the_reading(
    elsewhere: Elsewhere, user: MadeUser, readings: list[UserId], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that took its time is as old as its question."""
    elsewhere.login(user)
    real = Users.find_credentials

    def slowly(self: Users, user_id: UserId) -> Credentials | None:
        found = real(self, user_id)
        elsewhere.now += module.GOOD_FOR_S
        return found

    with monkeypatch.context() as slow:
        slow.setattr(Users, "find_credentials", slowly)
        elsewhere.login(user)
    readings.clear()
    elsewhere.login(user)
    assert readings == [user.user_id]


def test_only_doors_that_open_sessions_believe_it(elsewhere: Elsewhere, user: MadeUser, readings: list[UserId]) -> None:
    """Browser and API, where nothing looks after who is in by this password, read each time."""
    elsewhere.warm(user)
    readings.clear()
    for protocol in Protocol:
        elsewhere.services.authentication.login(user.address, Secret(user.password), protocol, "192.0.2.1")
    assert readings == [user.user_id] * len(Protocol)


def test_it_holds_no_hash_and_is_bounded(
    elsewhere: Elsewhere, services: MailServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_KNOWN", 3)
    users = [make_user(services) for _ in range(5)]
    for user in users:
        elsewhere.recent.find(user.user_id)
    kept = elsewhere.recent._known
    assert list(kept) == [user.user_id for user in users[2:]]
    assert {(found.password_hash, found.temporary) for _, found in kept.values()} == {(None, None)}
    elsewhere.now += module.GOOD_FOR_S
    elsewhere.recent.find(users[0].user_id)
    assert list(kept) == [users[0].user_id]


# -- every way to lose the right ------------------------------------------------------------------


@pytest.mark.parametrize("name", CHANGES)
def test_in_the_process_that_changed_it_nothing_old_is_believed(
    services: MailServices, user: MadeUser, name: str
) -> None:
    here = Elsewhere(services)
    scene = scene_of(services, user, CHANGES[name])
    here.warm(user, scene.password)
    CHANGES[name].shut(scene)
    assert not here.lets_in(user, scene.password)


@pytest.mark.parametrize("name", [name for name in CHANGES if "tenant" not in name])
def test_control_who_forgets_nothing_lets_the_old_in(
    services: MailServices, user: MadeUser, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control: the tenant itself is asked of each login apart from this."""
    monkeypatch.setattr(RecentUsers, "forget", lambda *_: None)
    with pytest.raises(AssertionError):
        test_in_the_process_that_changed_it_nothing_old_is_believed(services, user, name)


@pytest.mark.parametrize("name", CHANGES)
def test_without_any_notice_it_ends_after_a_second_and_its_sessions_with_the_next_look(
    services: MailServices, elsewhere: Elsewhere, user: MadeUser, name: str
) -> None:
    way = CHANGES[name]
    scene = scene_of(services, user, way)
    elsewhere.warm(user, scene.password)
    way.shut(scene)
    late = elsewhere.open(elsewhere.login(user, scene.password))
    elsewhere.services.sessions.poll()
    assert late.ended == way.farewell
    assert not elsewhere.lets_in(user, scene.password)
    late.close()


@pytest.mark.parametrize("name", [name for name in CHANGES if "tenant" not in name])
def test_without_notice_or_look_it_ends_after_a_second(
    services: MailServices, elsewhere: Elsewhere, user: MadeUser, name: str
) -> None:
    scene = scene_of(services, user, CHANGES[name])
    elsewhere.warm(user, scene.password)
    CHANGES[name].shut(scene)
    elsewhere.now += module.GOOD_FOR_S
    assert not elsewhere.lets_in(user, scene.password)


def test_a_notice_of_another_process_is_enough(services: MailServices, elsewhere: Elsewhere, user: MadeUser) -> None:
    """Also where nobody has a session, and long before any look."""
    elsewhere.warm(user)
    services.users.set_password(OPERATOR, user.user_id, Secret("another password"))
    assert elsewhere.lets_in(user)
    elsewhere.services.sessions._heard(user.user_id.binary)
    with pytest.raises(AuthenticationFailed):
        elsewhere.login(user)
    assert elsewhere.lets_in(user, "another password")


def test_a_notice_through_redis(
    services: MailServices, directory_uri: str, shard_uris: dict[str, Any], redis_url: str, user: MadeUser
) -> None:
    """The clock of the other process stands still: nothing but the notice can end what it believes."""
    made = make_services(directory_uri, shard_uris, redis_url)
    other = Elsewhere(made)
    listener: list[threading.Thread] = []

    def spawn(work: Callable[[], None]) -> None:
        listener.append(threading.Thread(target=work, daemon=True))
        listener[-1].start()

    notices = made.sessions._notices
    notices.start(spawn)
    wait_until(lambda: notices.listening)
    other.warm(user)
    services.users.set_state(OPERATOR, user.user_id, State.SUSPENDED)
    wait_until(lambda: not other.lets_in(user))
    with pytest.raises(UserDisabled):
        other.login(user)
    made.close()
    for thread in listener:
        thread.join(timeout=60)
        assert not thread.is_alive()


def test_who_is_let_in_again_need_not_wait(services: MailServices, elsewhere: Elsewhere, user: MadeUser) -> None:
    """A refusal is not believed for a second: no notice tells `elsewhere` that the user is back."""
    elsewhere.warm(user)
    services.users.set_disabled_protocols(OPERATOR, user.user_id, frozenset({Protocol.IMAP}))
    elsewhere.now += module.GOOD_FOR_S
    assert not elsewhere.lets_in(user)
    services.users.set_disabled_protocols(OPERATOR, user.user_id, frozenset())
    assert elsewhere.lets_in(user)


def test_one_who_needs_an_app_password_by_now(services: MailServices, elsewhere: Elsewhere, user: MadeUser) -> None:
    elsewhere.warm(user)
    services.second_factors.enable_custom(OPERATOR, user.user_id)
    elsewhere.services.sessions.poll()
    with pytest.raises(AppPasswordNeeded):
        elsewhere.login(user)


# -- races ------------------------------------------------------------------------------------------


def _changed_while_read(
    here: Elsewhere, user: MadeUser, change: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Let a change happen after the directory was asked and before the answer is there."""
    here.login(user)
    real = Users.find_credentials
    with monkeypatch.context() as between:

        def find(self: Users, user_id: UserId) -> Credentials | None:
            found = real(self, user_id)
            between.setattr(Users, "find_credentials", real)
            change()
            return found

        between.setattr(Users, "find_credentials", find)
        assert here.lets_in(user)


def test_a_reading_from_before_the_change_is_not_remembered_after_it(
    services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Elsewhere(services)
    new = Secret("another password")
    _changed_while_read(here, user, lambda: services.users.set_password(OPERATOR, user.user_id, new), monkeypatch)
    assert not here.lets_in(user)


def test_control_a_reading_that_is_remembered_whatever_happened_lets_the_old_in(
    services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = RecentUsers._remember
    monkeypatch.setattr(
        RecentUsers,
        "_remember",
        lambda self, user_id, until, found, _: real(self, user_id, until, found, self._forgotten),
    )
    with pytest.raises(AssertionError):
        test_a_reading_from_before_the_change_is_not_remembered_after_it(services, user, monkeypatch)


def test_a_session_that_opens_after_the_look_that_found_the_change_ends_with_the_next(
    services: MailServices, elsewhere: Elsewhere, user: MadeUser
) -> None:
    """It has the version that was read, not that of its opening."""
    elsewhere.warm(user)
    identity = elsewhere.login(user)
    services.users.log_out(OPERATOR, user.user_id, "Read the news first")
    elsewhere.services.sessions.poll()
    late = elsewhere.open(identity)
    elsewhere.services.sessions.poll()
    assert late.ended == "Read the news first"
    late.close()


def test_control_a_session_with_the_version_of_its_opening_stays(
    services: MailServices, elsewhere: Elsewhere, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_now(identity: Identity) -> SignedIn:
        found = services.users.get(identity.user_id)
        fresh = Identity(found.id, found.tenant_id, found.address, found.auth_version, identity.protocol)
        return elsewhere.services.sessions.open(fresh, lambda: None)

    monkeypatch.setattr(elsewhere, "open", of_now)
    with pytest.raises(AssertionError):
        test_a_session_that_opens_after_the_look_that_found_the_change_ends_with_the_next(services, elsewhere, user)
