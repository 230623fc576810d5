"""Every server that people sign in to: it asks for its own protocol, and says goodbye to whoever is shut out."""

from __future__ import annotations

import itertools
from base64 import b64encode
from collections.abc import Callable
from importlib.util import find_spec

import pytest

from mailcore.imap.connection import ImapConnection
from mailcore.managesieve.connection import ManageSieveConnection
from mailcore.model.access import RULES, Protocol, Scope
from mailcore.model.actions import Close, Connection, Peer, Send, Tls
from mailcore.model.actor import Door as AuditDoor
from mailcore.model.roles import Role
from mailcore.model.secret import Secret
from mailcore.pop3.connection import Pop3Connection
from mailcore.services import MailServices
from mailcore.services.accounts.door_session import DoorSession
from mailcore.smtp.connection import SmtpConnection
from mailcore.submission.policy import SubmissionPolicy
from tests.builders import OPERATOR, MadeUser, make_user

_addresses = itertools.count(1)


class Dialogue:
    """A connection, what it said last, and whether it was woken or has closed."""

    def __init__(self, open_: Callable[[Peer, Callable[[], None]], Connection]) -> None:
        self.is_woken = self.is_closed = False
        peer = Peer(f"2001:db8:{next(_addresses):x}::1", 4711, Tls("TLSv1.3", "TLS_AES_128_GCM_SHA256"), "test")
        self.connection = open_(peer, self._wake)
        self.said = self._perform(self.connection.greeting())

    def _wake(self) -> None:
        self.is_woken = True

    def ask(self, line: str) -> bytes:
        self.said = self._perform(self.connection.receive(line.encode() + b"\r\n"))
        return self.said

    def look(self) -> bytes:
        """What the connection says after it was woken."""
        return self._perform(self.connection.wake()) if self.is_woken else b""

    def _perform(self, actions: object) -> bytes:
        said = b""
        for action in actions:  # type: ignore[attr-defined]
            if isinstance(action, Send):
                said += action.data
            self.is_closed = self.is_closed or isinstance(action, Close)
        return said


class Door:
    """How one server is spoken to."""

    module: str

    def connect(self, services: MailServices) -> Dialogue:
        raise NotImplementedError

    def password(self, dialogue: Dialogue, user: MadeUser, password: str) -> bool:
        raise NotImplementedError

    def token(self, dialogue: Dialogue, mechanism: str, line: str) -> bool:
        raise NotImplementedError


class ImapDoor(Door):
    module = "imap"

    def connect(self, services: MailServices) -> Dialogue:
        return Dialogue(lambda peer, wake: ImapConnection(services, peer, wake))

    def password(self, dialogue: Dialogue, user: MadeUser, password: str) -> bool:
        return b"a OK" in dialogue.ask(f'a LOGIN {user.address} "{password}"')

    def token(self, dialogue: Dialogue, mechanism: str, line: str) -> bool:
        return b"a OK" in dialogue.ask(f"a AUTHENTICATE {mechanism} {line}")


class Pop3Door(Door):
    module = "pop3"

    def connect(self, services: MailServices) -> Dialogue:
        return Dialogue(lambda peer, wake: Pop3Connection(services, peer, wake))

    def password(self, dialogue: Dialogue, user: MadeUser, password: str) -> bool:
        dialogue.ask(f"USER {user.address}")
        return dialogue.ask(f"PASS {password}").startswith(b"+OK")

    def token(self, dialogue: Dialogue, mechanism: str, line: str) -> bool:
        return dialogue.ask(f"AUTH {mechanism} {line}").startswith(b"+OK")


class SubmissionDoor(Door):
    module = "submission"

    def connect(self, services: MailServices) -> Dialogue:
        policy = SubmissionPolicy(services, services.settings)

        def open_(peer: Peer, wake: Callable[[], None]) -> Connection:
            door = DoorSession(services, peer, wake, AuditDoor.SUBMISSION, plaintext_allowed=False, offers_tls=False)
            return SmtpConnection(policy, peer, False, door)

        dialogue = Dialogue(open_)
        dialogue.ask("EHLO client.test")
        return dialogue

    def password(self, dialogue: Dialogue, user: MadeUser, password: str) -> bool:
        response = b64encode(f"\0{user.address}\0{password}".encode()).decode()
        return dialogue.ask(f"AUTH PLAIN {response}").startswith(b"235")

    def token(self, dialogue: Dialogue, mechanism: str, line: str) -> bool:
        return dialogue.ask(f"AUTH {mechanism} {line}").startswith(b"235")


class ManageSieveDoor(Door):
    module = "managesieve"

    def connect(self, services: MailServices) -> Dialogue:
        return Dialogue(lambda peer, wake: ManageSieveConnection(services, peer, wake))

    def password(self, dialogue: Dialogue, user: MadeUser, password: str) -> bool:
        response = b64encode(f"\0{user.address}\0{password}".encode()).decode()
        return dialogue.ask(f'AUTHENTICATE "PLAIN" "{response}"').startswith(b"OK")

    def token(self, dialogue: Dialogue, mechanism: str, line: str) -> bool:
        return dialogue.ask(f'AUTHENTICATE "{mechanism}" "{line}"').startswith(b"OK")


DOORS: dict[Protocol, Door] = {
    Protocol.IMAP: ImapDoor(),
    Protocol.POP3: Pop3Door(),
    Protocol.SMTP: SubmissionDoor(),
    Protocol.MANAGESIEVE: ManageSieveDoor(),
}
SERVERS = {
    Protocol.IMAP: "imap",
    Protocol.POP3: "pop3",
    Protocol.SMTP: "submission",
    Protocol.MANAGESIEVE: "managesieve",
}
"""Where the server of each mail protocol is, or will be."""


@pytest.fixture
def user(services: MailServices) -> MadeUser:
    return make_user(services)


@pytest.fixture(params=DOORS)
def protocol(request: pytest.FixtureRequest) -> Protocol:
    return request.param


def test_no_server_is_missing() -> None:
    assert set(SERVERS) == {protocol for protocol, rule in RULES.items() if not rule.second_step}
    served = {protocol for protocol, module in SERVERS.items() if find_spec(f"mailcore.{module}") is not None}
    assert served == set(DOORS)


@pytest.mark.parametrize("scope", Scope)
def test_each_asks_for_its_own_scope(services: MailServices, user: MadeUser, protocol: Protocol, scope: Scope) -> None:
    door = DOORS[protocol]
    _, letters = services.app_passwords.create(OPERATOR, user.user_id, "x", [scope])
    dialogue = door.connect(services)
    assert door.password(dialogue, user, letters.reveal_text()) == (scope in RULES[protocol].scopes)
    dialogue.connection.eof()


@pytest.mark.parametrize("mechanism", ["OAUTHBEARER", "XOAUTH2"])
def test_each_takes_tokens(services: MailServices, user: MadeUser, protocol: Protocol, mechanism: str) -> None:
    owner = services.tokens.owner_of_user(user.user_id)
    token_id, token = services.tokens.create(OPERATOR, owner, Role.USER, "x")
    head = f"n,a={user.address}," if mechanism == "OAUTHBEARER" else f"user={user.address}"
    line = b64encode(f"{head}\x01auth=Bearer {token.reveal_text()}\x01\x01".encode()).decode()
    door = DOORS[protocol]
    dialogue = door.connect(services)
    assert door.token(dialogue, mechanism, line)
    services.tokens.revoke(OPERATOR, owner, token_id.id)
    services.sessions.poll()
    assert b"revoked" in dialogue.look()
    assert dialogue.is_closed
    dialogue.connection.eof()
    again = door.connect(services)
    assert not door.token(again, mechanism, line)
    again.connection.eof()


def test_each_says_goodbye_and_forgets(services: MailServices, user: MadeUser, protocol: Protocol) -> None:
    door = DOORS[protocol]
    dialogue = door.connect(services)
    assert door.password(dialogue, user, user.password)
    assert services.sessions.count_of(user.user_id) == 1
    services.users.set_password(OPERATOR, user.user_id, Secret("another password"))
    services.sessions.poll()
    assert b"The password was changed" in dialogue.look()
    assert dialogue.is_closed
    dialogue.connection.eof()
    assert services.sessions.count_of(user.user_id) == 0
