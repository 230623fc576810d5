"""Signing in: LOGIN, AUTHENTICATE, STARTTLS, and what is refused before (RFC 3501 §6.2; N1, N2, N12)."""

from __future__ import annotations

import base64

import pytest

from mailcore.model.limits import MAX_FAULTS, MAX_FAULTS_BEFORE_LOGIN
from mailcore.model.tenant import State as UserState
from tests.builders import OPERATOR
from tests.transcripts.imap.dialogue import Client, Imap


def _plain(user: str, password: str, as_user: str = "") -> str:
    return base64.b64encode(f"{as_user}\0{user}\0{password}".encode()).decode()


def test_login_and_logout(imap: Imap) -> None:
    imap.connect()
    imap.transcript(f"""
        C: a1 LOGIN {imap.user.address} "wrong"
        S: a1 NO [AUTHENTICATIONFAILED] User name or password is wrong
        C: a2 LOGIN {imap.user.address} "{imap.user.password}"
        S: a2 OK [CAPABILITY IMAP4rev1 …] Signed in
        C: a3 LOGIN {imap.user.address} "{imap.user.password}"
        S: a3 BAD Command is not allowed now
        C: a4 LOGOUT
        S: * BYE Goodbye
        S: a4 OK LOGOUT completed
        """)
    assert imap.clients[""].is_closed


def test_nothing_is_answered_after_logout(imap: Imap) -> None:
    client = imap.sign_in()
    answer = client.ask(b'a LOGOUT\r\nb NOOP\r\nc LIST "" *\r\n')
    assert answer.endswith(b"a OK LOGOUT completed\r\n")
    assert client.is_closed


def test_login_with_literals(imap: Imap) -> None:
    client = imap.connect()
    address, password = imap.user.address.encode(), imap.user.password.encode()
    assert client.ask(b"a LOGIN {%d}\r\n" % len(address)) == b"+ OK\r\n"
    assert client.ask(address + b" {%d}\r\n" % len(password)) == b"+ OK\r\n"
    assert client.ask(password + b"\r\n").startswith(b"a OK ")


def test_authenticate_plain(imap: Imap) -> None:
    """RFC 4616, with and without the first response at once (RFC 4959)."""
    response = _plain(imap.user.address, imap.user.password)
    imap.connect("1")
    imap.connect("2")
    imap.connect("3")
    imap.transcript(f"""
        C1: a AUTHENTICATE PLAIN {response}
        S1: a OK [CAPABILITY IMAP4rev1 …] Signed in
        C2: a authenticate plain
        S2: +…
        C2: {response}
        S2: a OK [CAPABILITY IMAP4rev1 …] Signed in
        C3: a AUTHENTICATE PLAIN
        S3: +…
        C3: *
        S3: a BAD Cancelled
        C3: b AUTHENTICATE PLAIN =
        S3: b BAD Response is not that of PLAIN
        C3: c AUTHENTICATE PLAIN !!!
        S3: c BAD Response is not base64
        C3: d AUTHENTICATE CRAM-MD5
        S3: d NO [CANNOT] This mechanism is not supported
        C3: e AUTHENTICATE PLAIN {_plain(imap.user.address, imap.user.password, "somebody@else.test")}
        S3: e NO [AUTHENTICATIONFAILED] User name or password is wrong
        C3: f AUTHENTICATE PLAIN {_plain(imap.user.address, imap.user.password, imap.user.address)}
        S3: f OK …
        """)


def test_commands_during_authenticate_are_its_response(imap: Imap) -> None:
    """N12."""
    client = imap.connect()
    assert client.ask(b"a AUTHENTICATE PLAIN\r\nb NOOP\r\nc NOOP\r\n") == (
        b"+ \r\na BAD Response is not base64\r\nc OK Completed\r\n"
    )


def test_password_in_clear_is_refused_before_it_is_read(imap: Imap) -> None:
    """N2: LOGINDISABLED, no AUTH, and no "+" for the literal that would hold the password."""
    client = imap.connect(local=False, offers_starttls=True)
    assert b"LOGINDISABLED" in client.greeting
    assert b"STARTTLS" in client.greeting
    assert b"AUTH=" not in client.greeting
    refused = b"NO [PRIVACYREQUIRED] Encrypt the connection first\r\n"
    assert client.ask(b"a LOGIN {4}\r\n") == b"a " + refused
    assert client.ask(b'b LOGIN bob "secret"\r\n') == b"b " + refused
    assert client.ask(b"c LOGIN x {3+}\r\nabc\r\n") == b"c " + refused
    assert client.ask(b"d AUTHENTICATE PLAIN\r\n") == b"d " + refused
    assert client.ask(b"e AUTHENTICATE PLAIN AGEAYg==\r\n") == b"e " + refused


def test_starttls_forgets_what_came_before(imap: Imap) -> None:
    client = imap.connect(local=False, offers_starttls=True)
    client.ask(b'a ID ("name" "evil")\r\n')
    assert client.ask(b"b STARTTLS\r\n") == b"b OK Begin TLS negotiation now\r\n"
    client.start_tls()
    assert client.connection.session.client_id == {}
    answer = client.ask(b"c CAPABILITY\r\n")
    assert b"AUTH=PLAIN" in answer
    assert b"STARTTLS" not in answer
    assert b"LOGINDISABLED" not in answer
    assert client.ask(b"d STARTTLS\r\n") == b"d BAD The connection is encrypted already\r\n"
    client.run(f'LOGIN {imap.user.address} "{imap.user.password}"')


def test_command_behind_starttls_closes_the_connection(imap: Imap) -> None:
    """N1: the injected command is never answered."""
    client = imap.connect(local=False, offers_starttls=True)
    answer = client.ask(b"a STARTTLS\r\nb NOOP\r\n")
    assert answer == b"a OK Begin TLS negotiation now\r\n"
    assert client.is_closed
    assert not client.wants_tls


def test_starttls_without_certificate(imap: Imap) -> None:
    client = imap.connect(local=False)
    assert b"STARTTLS" not in client.greeting
    assert client.ask(b"a STARTTLS\r\n").startswith(b"a BAD ")


def test_tls_from_the_start_allows_login(imap: Imap) -> None:
    client = imap.connect(tls=True, local=False)
    assert b"AUTH=PLAIN" in client.greeting
    client.run(f'LOGIN {imap.user.address} "{imap.user.password}"')


COMMANDS = [
    "SELECT INBOX", "EXAMINE INBOX", "CREATE x", "DELETE x", "RENAME x y", "SUBSCRIBE x", "UNSUBSCRIBE x", 'LIST "" *',
    'LSUB "" *', "STATUS INBOX (MESSAGES)", "APPEND INBOX {1+}\r\nx", "IDLE", "NAMESPACE", "ENABLE UTF8=ACCEPT",
    "CHECK", "CLOSE", "UNSELECT", "EXPUNGE", "SEARCH ALL", "FETCH 1 FLAGS", "STORE 1 FLAGS (x)", "COPY 1 x", "MOVE 1 x",
    "UID FETCH 1 FLAGS", "UID EXPUNGE 1",
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_works_before_signing_in(imap: Imap, command: str) -> None:
    client = imap.connect()
    assert client.ask(f"a {command}\r\n".encode()) == b"a BAD Command is not allowed now\r\n"


def test_message_literal_before_signing_in_is_not_taken(imap: Imap) -> None:
    client = imap.connect()
    assert client.ask(b"a APPEND INBOX {100}\r\n") == b"a BAD Command is not allowed now\r\n"


@pytest.mark.parametrize(("signed_in", "count"), [(False, MAX_FAULTS_BEFORE_LOGIN), (True, MAX_FAULTS)])
def test_many_failures_end_the_connection(imap: Imap, signed_in: bool, count: int) -> None:
    client = imap.sign_in() if signed_in else imap.connect()
    client.ask(b"a XYZZY\r\nb NOOP\r\n")
    for _ in range(count):
        assert not client.is_closed
        answer = client.ask(b"a XYZZY\r\n")
    assert answer == b"a BAD Unknown command\r\n* BYE Too many bad commands\r\n"
    assert client.is_closed


def test_guesses_end_the_connection(imap: Imap) -> None:
    client = imap.connect()
    for number in range(MAX_FAULTS_BEFORE_LOGIN):
        assert not client.is_closed, number
        answer = client.ask(b"a LOGIN nobody@nowhere.test wrong\r\n")
        assert answer.startswith(b"a NO [AUTHENTICATIONFAILED]")
    assert client.is_closed


def test_who_does_not_sign_in_is_cut_off_in_total_time(imap: Imap) -> None:
    """N7: the deadline counts from the connection, whatever is sent meanwhile."""
    client = imap.connect()
    assert [(deadline.seconds, deadline.total) for deadline in client.deadlines] == [(60, True)]
    client.ask(b"a NOOP\r\nb CAPABILITY\r\n")
    assert len(client.deadlines) == 1
    assert client.time_out().startswith(b"* BYE ")
    assert client.is_closed


def test_signed_in_only_silence_ends_it(imap: Imap) -> None:
    client = imap.sign_in()
    assert not client.deadlines[-1].total
    assert client.deadlines[-1].seconds == 30 * 60
    assert client.time_out() == b"* BYE Autologout, idle for too long\r\n"


def test_session_ends_when_the_user_may_no_longer_sign_in(imap: Imap) -> None:
    """W9: a session that is told so, or asks for anything, is ended; one in IDLE too."""
    told, asking = imap.sign_in("1"), imap.sign_in("2", select="INBOX")
    told.ask(b"a IDLE\r\n")
    imap.services.users.set_state(OPERATOR, imap.user.user_id, UserState.SUSPENDED)
    imap.services.sessions.poll()
    assert asking.ask(b"b NOOP\r\n") == b"* BYE This login is disabled\r\n"
    told.notice()
    assert told.take() == b"* BYE This login is disabled\r\n"
    assert told.is_closed
    assert asking.is_closed
    assert imap.services.sessions.count_of(imap.user.user_id) == 2
    told.close()
    asking.close()
    assert imap.services.sessions.count_of(imap.user.user_id) == 0


def test_disabled_user_cannot_sign_in(imap: Imap) -> None:
    imap.services.users.set_state(OPERATOR, imap.user.user_id, UserState.SUSPENDED)
    client = imap.connect()
    answer = client.ask(f'a LOGIN {imap.user.address} "{imap.user.password}"\r\n'.encode())
    assert answer.startswith(b"a NO [AUTHORIZATIONFAILED]")


def test_draining_says_goodbye(imap: Imap) -> None:
    """P13."""
    client: Client = imap.sign_in()
    assert client.drain().startswith(b"* BYE ")
    assert client.is_closed
