"""Every way to lose the right to be signed in, at every server: open sessions are told and end, nobody gets in again.

Generated from the servers of `test_every_door` and the ways below: a new server, or a new reason to let nobody in,
fails until somebody has said what it does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import pytest
from bson import ObjectId

from mailcore.model.access import CAN_BE_DISABLED, Protocol
from mailcore.model.secret import Secret
from mailcore.model.tenant import State
from mailcore.services import MailServices
from mailcore.services.accounts import sessions as sessions_service
from mailcore.services.accounts.login_guard import Refusal
from mailcore.services.accounts.sign_in_rules import FAREWELLS
from mailcore.services.process.clock import now
from tests.builders import OPERATOR, MadeUser, make_user
from tests.services.test_every_door import DOORS, Dialogue

GONE = "This app password was revoked or has expired"


@dataclass
class Scene:
    """A user whose session is open, by the master password or an app password."""

    services: MailServices
    user: MadeUser
    protocol: Protocol
    password: str
    app_password: ObjectId | None = None

    def set_protocols(self, of: str) -> None:
        off = frozenset({self.protocol})
        if of == "tenant":
            self.services.tenants.set_disabled_protocols(OPERATOR, self.user.tenant_id, off)
        else:
            self.services.users.set_disabled_protocols(OPERATOR, self.user.user_id, off)


@dataclass(frozen=True)
class Way:
    """How the right ends, what sessions are told, and whether they are those of an app password."""

    shut: Callable[[Scene], object]
    farewell: str
    with_app_password: bool = False
    is_compared: bool = False
    """Nobody changed anything: the comparison of all sessions, every half minute, finds it."""


def _user(state: State) -> Callable[[Scene], object]:
    return lambda scene: scene.services.users.set_state(OPERATOR, scene.user.user_id, state)


def _tenant(state: State) -> Callable[[Scene], object]:
    return lambda scene: scene.services.tenants.set_state(OPERATOR, scene.user.tenant_id, state)


def _revoke(scene: Scene) -> None:
    assert scene.app_password is not None
    scene.services.app_passwords.revoke(OPERATOR, scene.user.user_id, scene.app_password)


def _expire(scene: Scene) -> None:
    """As if its time had come."""
    passwords = scene.services.placement.directory.app_passwords._collection
    past = {"app_passwords.0.expires_at": now() - timedelta(seconds=1)}
    assert passwords.update_one({"_id": scene.user.user_id}, {"$set": past}).modified_count == 1
    scene.services.sessions.recent_users.forget(scene.user.user_id)  # of which logins have read


DISABLED, SWITCHED_OFF = FAREWELLS[Refusal.DISABLED], FAREWELLS[Refusal.PROTOCOL]
WAYS = {
    "user suspended": Way(_user(State.SUSPENDED), DISABLED),
    "user disabled": Way(_user(State.DISABLED), DISABLED),
    "user disabled, app password": Way(_user(State.DISABLED), DISABLED, with_app_password=True),
    "tenant suspended": Way(_tenant(State.SUSPENDED), DISABLED),
    "tenant disabled": Way(_tenant(State.DISABLED), DISABLED, with_app_password=True),
    "protocol off by the tenant": Way(lambda scene: scene.set_protocols("tenant"), SWITCHED_OFF),
    "protocol off by the user": Way(lambda scene: scene.set_protocols("user"), SWITCHED_OFF, with_app_password=True),
    "second factor": Way(
        lambda scene: scene.services.second_factors.enable_custom(OPERATOR, scene.user.user_id),
        FAREWELLS[Refusal.SECOND_FACTOR],
    ),
    "password to be changed": Way(
        lambda scene: scene.services.users.set_password(
            OPERATOR, scene.user.user_id, Secret("chosen by others"), change_needed=True
        ),
        FAREWELLS[Refusal.CHANGE_NEEDED],
    ),
    "app password revoked": Way(_revoke, GONE, with_app_password=True),
    "app password expired": Way(_expire, GONE, with_app_password=True, is_compared=True),
    "user deleted": Way(
        lambda scene: scene.services.deleted_users.delete(OPERATOR, scene.user.user_id), "This login is gone"
    ),
}
ELSEWHERE = {
    Refusal.WRONG: "test_every_door.py::test_each_says_goodbye_and_forgets",
    Refusal.SCOPE: "test_every_door.py::test_each_asks_for_its_own_scope",
    Refusal.NOT_YET_VALID: "test_sign_in_matrix.py::test_temporary_passwords, which open no mail",
}
"""What no session that is open can meet, or what is asked of every server there."""


def open_session(services: MailServices, protocol: Protocol, way: Way) -> tuple[Scene, Dialogue]:
    """The third login in a row, by what was read for the second."""
    user = make_user(services)
    scene = Scene(services, user, protocol, user.password)
    if way.with_app_password:
        made, letters = services.app_passwords.create(OPERATOR, user.user_id, "phone")
        scene.app_password, scene.password = made.id, letters.reveal_text()
    for _ in range(2):
        before = DOORS[protocol].connect(services)
        assert DOORS[protocol].password(before, user, scene.password)
        before.connection.eof()
    dialogue = DOORS[protocol].connect(services)
    assert DOORS[protocol].password(dialogue, user, scene.password)
    return scene, dialogue


def test_nothing_is_without_an_entry() -> None:
    assert set(DOORS) == CAN_BE_DISABLED
    farewells = {way.farewell for way in WAYS.values()}
    assert {refusal for refusal in Refusal if FAREWELLS[refusal] not in farewells} == set(ELSEWHERE)


@pytest.mark.parametrize("protocol", DOORS)
@pytest.mark.parametrize("name", WAYS)
def test_open_sessions_end_and_nobody_gets_in_again(services: MailServices, protocol: Protocol, name: str) -> None:
    way, door = WAYS[name], DOORS[protocol]
    scene, dialogue = open_session(services, protocol, way)
    way.shut(scene)
    again = door.connect(services)
    assert not door.password(again, scene.user, scene.password)
    again.connection.eof()
    if way.is_compared:
        services.sessions.compare_all()
    else:
        services.sessions.poll()
    said = dialogue.look()
    assert way.farewell.encode() in said, said
    assert dialogue.is_closed
    dialogue.connection.eof()
    assert services.sessions.count_of(scene.user.user_id) == 0


@pytest.mark.parametrize("protocol", DOORS)
def test_others_protocols_go_on(services: MailServices, protocol: Protocol) -> None:
    """Switched off is one protocol, not the login."""
    scene, dialogue = open_session(services, protocol, Way(_revoke, GONE))
    for other in set(DOORS) - {protocol}:
        services.users.set_disabled_protocols(OPERATOR, scene.user.user_id, frozenset({other}))
        services.sessions.poll()
        assert (dialogue.look(), dialogue.is_closed) == (b"", False)
    dialogue.connection.eof()


@pytest.mark.parametrize("name", WAYS)
def test_sessions_that_are_never_asked_again_would_be_seen(
    services: MailServices, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control."""
    monkeypatch.setattr(sessions_service.Sessions, "_why_ended", lambda *_: None)
    with pytest.raises(AssertionError):
        test_open_sessions_end_and_nobody_gets_in_again(services, Protocol.POP3, name)
