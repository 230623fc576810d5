"""Signing in: USER, PASS, AUTH, STLS, and what is refused before (RFC 1939 §4, RFC 5034, RFC 2595; N1, N2, N12)."""

from __future__ import annotations

import base64
import logging

import pytest

from mailcore.model.limits import MAX_FAULTS, MAX_FAULTS_BEFORE_LOGIN
from mailcore.model.tenant import State as UserState
from tests.builders import OPERATOR
from tests.transcripts.pop3.dialogue import Pop3


def plain(user: str, password: str, as_user: str = "") -> str:
    return base64.b64encode(f"{as_user}\0{user}\0{password}".encode()).decode()


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_user_and_pass(pop3: Pop3) -> None:
    """RFC 1939 §7; PASS takes the rest of the line, spaces included, and whether a name exists is not told."""
    pop3.connect()
    pop3.transcript(f"""
        C: USER frated
        S: +OK Password?
        C: PASS wrong
        S: -ERR [AUTH] User name or password is wrong
        C: PASS {pop3.user.password}
        S: -ERR Command is not allowed now
        C: USER {pop3.user.address}
        S: +OK Password?
        C: PASS wrong
        S: -ERR [AUTH] User name or password is wrong
        C: USER {pop3.user.address}
        S: +OK Password?
        C: PASS {pop3.user.password}
        S: +OK 0 messages (0 octets)
        C: USER {pop3.user.address}
        S: -ERR Command is not allowed now
        C: QUIT
        S: +OK Goodbye
        """)
    assert pop3.clients[""].is_closed


def test_auth(pop3: Pop3) -> None:
    """RFC 5034 §4, with and without the first response at once; LOGIN as Outlook speaks it."""
    response = plain(pop3.user.address, pop3.user.password)
    for number in "1234":
        pop3.connect(number)
    pop3.transcript(f"""
        C1: AUTH PLAIN {response}
        S1: +OK 0 messages (0 octets)
        C2: auth plain
        S2: +…
        C2: {response}
        S2: +OK 0 messages (0 octets)
        C3: AUTH PLAIN
        S3: +…
        C3: *
        S3: -ERR Cancelled
        C3: AUTH PLAIN =
        S3: -ERR Response is not that of PLAIN
        C3: AUTH PLAIN !!!
        S3: -ERR Response is not base64
        C3: AUTH CRAM-MD5
        S3: -ERR This mechanism is not supported
        C3: AUTH
        S3: -ERR Mechanism expected
        C3: AUTH PLAIN {plain(pop3.user.address, pop3.user.password, "somebody@else.test")}
        S3: -ERR [AUTH] User name or password is wrong
        C3: AUTH PLAIN {plain(pop3.user.address, pop3.user.password, pop3.user.address)}
        S3: +OK 0 messages (0 octets)
        C4: AUTH LOGIN
        S4: + {encoded("Username:")}
        C4: {encoded(pop3.user.address)}
        S4: + {encoded("Password:")}
        C4: {encoded(pop3.user.password)}
        S4: +OK 0 messages (0 octets)
        """)


def test_refused_token_is_explained_first(pop3: Pop3) -> None:
    """RFC 7628 §3.2.3, and the same of XOAUTH2: one more challenge, whose answer is ignored."""
    pop3.connect()
    token = encoded(f"user={pop3.user.address}\1auth=Bearer wrong\1\1")
    pop3.transcript(f"""
        C: AUTH XOAUTH2 {token}
        S: + {encoded('{"status":"401","schemes":"bearer","scope":"mail"}')}
        C:
        S: -ERR [AUTH] User name or password is wrong
        C: AUTH OAUTHBEARER {encoded(f"n,a={pop3.user.address},{chr(1)}auth=Bearer wrong{chr(1)}{chr(1)}")}
        S: + {encoded('{"status":"invalid_token","scope":"mail"}')}
        C: AQ==
        S: -ERR [AUTH] User name or password is wrong
        """)


def test_commands_during_auth_are_its_response(pop3: Pop3) -> None:
    """N12."""
    client = pop3.connect()
    assert client.ask(b"AUTH PLAIN\r\nSTAT\r\nNOOP\r\n") == (
        b"+ \r\n-ERR Response is not that of PLAIN\r\n-ERR Command is not allowed now\r\n"
    )
    assert client.ask(b"AUTH PLAIN\r\nAUTH PLAIN\r\n") == b"+ \r\n-ERR Response is not base64\r\n"


def test_password_in_clear_is_refused_before_it_is_read(pop3: Pop3, caplog: pytest.LogCaptureFixture) -> None:
    """N2: no USER, no SASL before TLS, and the attempt is logged without the password."""
    client = pop3.connect(local=False, offers_stls=True)
    listed = client.lines("CAPA")
    assert b"STLS" in listed
    assert not [line for line in listed if line.startswith((b"USER", b"SASL"))]
    refused = b"-ERR Encrypt the connection first\r\n"
    with caplog.at_level(logging.DEBUG):
        for command in (b"USER bob", b"PASS open-sesame", b"AUTH PLAIN", b"AUTH PLAIN AGEAb3Blbi1zZXNhbWU="):
            assert client.ask(command + b"\r\n") == refused
    assert "pop3.login.refused" in caplog.messages
    assert "open-sesame" not in caplog.text
    assert "b3Blbi" not in caplog.text


def test_stls_forgets_what_came_before(pop3: Pop3) -> None:
    """RFC 2595 §4."""
    client = pop3.connect(local=True, offers_stls=True)
    client.run(f"USER {pop3.user.address}")
    assert client.ask(b"STLS\r\n") == b"+OK Begin TLS negotiation now\r\n"
    client.start_tls()
    assert client.ask(f"PASS {pop3.user.password}\r\n".encode()) == b"-ERR Command is not allowed now\r\n"
    listed = client.lines("CAPA")
    assert b"STLS" not in listed
    assert b"USER" in listed
    assert client.ask(b"STLS\r\n") == b"-ERR The connection is encrypted already\r\n"
    client.run(f"USER {pop3.user.address}")
    client.run(f"PASS {pop3.user.password}")
    assert client.ask(b"STLS\r\n") == b"-ERR Command is not allowed now\r\n"


def test_command_behind_stls_closes_the_connection(pop3: Pop3) -> None:
    """N1."""
    client = pop3.connect(offers_stls=True)
    assert client.ask(b"STLS\r\nCAPA\r\n") == b"+OK Begin TLS negotiation now\r\n"
    assert client.is_closed
    assert not client.wants_tls
    assert pop3.connect().ask(b"STLS\r\n") == b"-ERR TLS is not to be had here\r\n"


def test_disabled_user_is_told_with_the_right_password_only(pop3: Pop3) -> None:
    """RFC 3206 §5: [AUTH] is for any trouble with the credentials."""
    pop3.services.users.set_state(OPERATOR, pop3.user.user_id, UserState.SUSPENDED)
    pop3.connect()
    pop3.transcript(f"""
        C: AUTH PLAIN {plain(pop3.user.address, pop3.user.password)}
        S: -ERR [AUTH] This login is disabled
        C: AUTH PLAIN {plain(pop3.user.address, "wrong")}
        S: -ERR [AUTH] User name or password is wrong
        """)


def test_session_ends_when_its_user_may_not_sign_in_any_more(pop3: Pop3) -> None:
    """Looked at every 30 s; what was marked stays."""
    pop3.fill(1)
    client = pop3.sign_in()
    client.run("DELE 1")
    pop3.services.users.set_state(OPERATOR, pop3.user.user_id, UserState.SUSPENDED)
    pop3.services.sessions.poll()
    assert client.ask(b"QUIT\r\n") == b"-ERR [AUTH] This login is disabled\r\n"
    assert client.is_closed
    assert pop3.services.mailboxes.open(pop3.user.user_id, "INBOX").exists == 1


def test_deadlines(pop3: Pop3) -> None:
    """N7: 60 s in all to sign in; then 10 minutes of silence (RFC 1939 §3), after which nothing is said."""
    client = pop3.connect()
    assert [(deadline.seconds, deadline.total) for deadline in client.deadlines] == [(60, True)]
    client.ask(b"NOOP\r\nCAPA\r\nUSER x\r\n")
    assert len(client.deadlines) == 1
    client = pop3.sign_in()
    assert [(deadline.seconds, deadline.total) for deadline in client.deadlines] == [(60, True), (600, False)]
    client.run("NOOP")
    assert len(client.deadlines) == 2
    assert client.time_out() == b""
    assert client.is_closed


def test_bad_commands_end_the_connection(pop3: Pop3) -> None:
    client = pop3.connect()
    answer = client.ask(b"XYZZY\r\n" * 60)
    assert answer.count(b"-ERR Unknown command\r\n") == MAX_FAULTS_BEFORE_LOGIN
    assert answer.endswith(b"-ERR Too many bad commands\r\n")
    assert client.is_closed
    client = pop3.sign_in()
    assert client.ask(b"XYZZY\r\n" * 60).count(b"-ERR Unknown command\r\n") == MAX_FAULTS
    assert client.is_closed


def test_end_of_the_process_is_told(pop3: Pop3) -> None:
    """P13: whoever is connected is told to come back, and nothing is removed."""
    pop3.fill(1)
    client = pop3.sign_in()
    client.run("DELE 1")
    assert client.drain() == b"-ERR [SYS/TEMP] Server is restarting, connect again\r\n"
    assert client.is_closed
    assert pop3.services.mailboxes.open(pop3.user.user_id, "INBOX").exists == 1
