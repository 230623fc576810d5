"""AUTH (RFC 4954): what is answered to right and wrong, in every mechanism, and when enough is enough."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest

from mailcore.model.access import Protocol
from mailcore.model.actions import Tls
from mailcore.model.roles import Role
from mailcore.model.tenant import State
from mailcore.services import MailServices
from mailcore.services.accounts.door_session import DoorSession
from tests.builders import OPERATOR, make_user
from tests.transcripts.submission.conftest import TLS, Client, plain

WRONG = "535 5.7.8 Authentication failed"


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.fixture
def greeted(connect: Callable[..., Client]) -> Client:
    client = connect()
    client.ask("EHLO client.test\r\n")
    return client


def test_dialogues(greeted: Client) -> None:
    greeted.transcript(
        """
        C: AUTH PLAIN
        S: 334...
        C: {wrong}
        S: 535 5.7.8 Authentication failed
        C: AUTH login
        S: 334 VXNlcm5hbWU6
        C: {name}
        S: 334 UGFzc3dvcmQ6
        C: *
        S: 501 5.7.0 Cancelled
        C: AUTH PLAIN not-base64!
        S: 501 5.5.2 Not a response of this mechanism
        C: AUTH PLAIN =
        S: 501 5.5.2 Not a response of this mechanism
        C: AUTH CRAM-MD5
        S: 504 5.5.4 This mechanism is not supported
        C: AUTH
        S: 504 5.5.4 This mechanism is not supported
        C: AUTH LOGIN {name}
        S: 334 UGFzc3dvcmQ6
        C: {password}
        S: 235 2.7.0 Signed in
        """,
        wrong=plain(greeted.user, "guess"),
        name=encoded(greeted.user.address),
        password=encoded(greeted.user.password),
    )


def test_a_refused_token_is_explained_first(greeted: Client) -> None:
    """RFC 7628 §3.2.3: a challenge says why, whatever the client answers is ignored."""
    greeted.say(
        f"AUTH XOAUTH2 {encoded(f'user={greeted.user.address}' + chr(1) + 'auth=Bearer x' + chr(1) * 2)}\r\n", "334 ..."
    )
    greeted.say("AQ==\r\n", WRONG)
    greeted.say(f"AUTH OAUTHBEARER {encoded('n,,' + chr(1) + 'auth=Bearer x' + chr(1) * 2)}\r\n", "334 ...")
    greeted.say("*\r\n", WRONG)
    greeted.say("NOOP\r\n", "250 2.0.0 OK")


def test_a_long_token_fits(services: MailServices, greeted: Client) -> None:
    """Lines of AUTH may have 12288 octets (RFC 4954 §4), others no more than before."""
    greeted.say(f"AUTH XOAUTH2 {'A' * 8000}\r\n", "501 5.5.2 Not a response of this mechanism")
    greeted.say(f"NOOP {'A' * 8000}\r\n", "500 5.5.6 Line too long")
    greeted.say(f"AUTH XOAUTH2 {'A' * 13000}\r\n", "500 5.5.6 Line too long")
    owner = services.tokens.owner_of_user(greeted.user.user_id)
    token = services.tokens.create(OPERATOR, owner, Role.USER, "x")[1].reveal_text()
    greeted.say(
        f"AUTH XOAUTH2 {encoded(f'user={greeted.user.address}' + chr(1) + f'auth=Bearer {token}' + chr(1) * 2)}\r\n",
        "235 2.7.0 Signed in",
    )


def test_guesses_end_the_connection(greeted: Client) -> None:
    for _ in range(9):
        greeted.say(f"AUTH PLAIN {plain(greeted.user, 'guess')}\r\n", WRONG)
    greeted.say(f"AUTH PLAIN {plain(greeted.user, 'guess')}\r\n", WRONG, "421 4.7.0 Too many mistakes; closing")
    assert greeted.is_closed


def test_refused_senders_and_recipients_end_the_connection(client: Client) -> None:
    for _ in range(49):
        client.say("MAIL FROM:<boss@bank.test>\r\n", "553 5.7.1 ...")
    client.say("MAIL FROM:<boss@bank.test>\r\n", "553 5.7.1 ...", "421 4.7.0 Too many mistakes; closing")


def test_in_clear_nothing_is_read(connect: Callable[..., Client], monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack N2: neither the initial response nor the next line is looked at."""
    client = connect(tls=None)
    client.unread.clear()
    assert not any("AUTH" in line for line in client.ask("EHLO client.test\r\n"))
    client.say(f"AUTH PLAIN {plain(client.user)}\r\n", "538 5.7.11 Begin TLS first: passwords do not travel in clear")
    client.say(f"{plain(client.user)}\r\n", "500 5.5.2 Not a command")
    assert client.door.identity is None
    monkeypatch.setattr(DoorSession, "may_sign_in", property(lambda _: True))
    client.say(f"AUTH PLAIN {plain(client.user)}\r\n", "235 2.7.0 Signed in")  # negative control


def test_starttls_forgets_everything(connect: Callable[..., Client]) -> None:
    """Attack N1: RFC 3207 §4.2."""
    client = connect(tls=None)
    client.unread.clear()
    client.ask("EHLO client.test\r\n")
    client.say("STARTTLS\r\n", "220 2.0.0 Begin TLS")
    assert client.starts_tls
    client.take(client.connection.tls_started(Tls("TLSv1.3", "x")))
    client.say(f"AUTH PLAIN {plain(client.user)}\r\n", "503 5.5.1 Introduce yourself first")
    client.sign_in()
    client.say("STARTTLS\r\n", "503 5.5.1 TLS is on already")


def test_commands_behind_starttls_are_refused(connect: Callable[..., Client]) -> None:
    """Attack N1: RFC 3207 §6, whatever is behind it in the packet."""
    client = connect(tls=None)
    client.unread.clear()
    client.ask("EHLO client.test\r\n")
    client.say("STARTTLS\r\nNOOP\r\n", "501 5.5.4 Nothing may follow STARTTLS before the handshake")
    assert client.is_closed
    assert not client.starts_tls


def test_who_does_not_sign_in_is_cut_off_in_total_time(connect: Callable[..., Client]) -> None:
    """Attack N7: the time runs whatever is sent, until somebody is signed in."""
    client = connect()
    assert [(deadline.seconds, deadline.total) for deadline in client.deadlines] == [(60, True)]
    client.ask("EHLO client.test\r\nNOOP\r\n")
    assert len(client.deadlines) == 1
    client.sign_in()
    assert [(deadline.seconds, deadline.total) for deadline in client.deadlines[1:]] == [(300, False)]


@pytest.mark.parametrize("during", ["nothing", "a transaction", "a message"])
def test_signed_out_sessions_end(services: MailServices, client: Client, during: str) -> None:
    if during != "nothing":
        client.ask(f"MAIL FROM:<{client.user.address}>\r\nRCPT TO:<bob@else.test>\r\n")
    if during == "a message":
        client.ask("DATA\r\nSubject: x\r\n\r\n")
    services.users.set_state(OPERATOR, client.user.user_id, State.SUSPENDED)
    services.sessions.poll()
    assert client.woken
    client.take(client.connection.wake())
    client.expect("421 4.7.0 This login is disabled")
    assert client.is_closed
    client.connection.eof()
    assert services.sessions.count_of(client.user.user_id) == 0


def test_a_command_finds_out_too(services: MailServices, client: Client) -> None:
    services.users.set_disabled_protocols(OPERATOR, client.user.user_id, frozenset({Protocol.SMTP}))
    services.sessions.poll()
    client.say("NOOP\r\n", "421 4.7.0 This protocol is switched off for this login")


@pytest.mark.parametrize(
    ("state", "reply"),
    [(State.SUSPENDED, "550 5.2.1 This mailbox is disabled"), (State.DISABLED, "550 5.2.1 This mailbox is disabled")],
)
def test_who_may_not_sign_in(services: MailServices, connect: Callable[..., Client], state: State, reply: str) -> None:
    user = make_user(services)
    services.users.set_state(OPERATOR, user.user_id, state)
    client = connect(user, tls=TLS)
    client.unread.clear()
    client.ask("EHLO client.test\r\n")
    client.say(f"AUTH PLAIN {plain(user)}\r\n", reply)


def test_nobody_acts_for_others(services: MailServices, greeted: Client) -> None:
    other = make_user(services)
    acting = encoded(f"{other.address}\0{greeted.user.address}\0{greeted.user.password}")
    greeted.say(f"AUTH PLAIN {acting}\r\n", WRONG)
