"""Signing in: AUTHENTICATE, STARTTLS, UNAUTHENTICATE, and what is refused before (RFC 5804 §2.1, §2.2; N1, N2, N12)."""

from __future__ import annotations

import logging
from base64 import b64encode

import pytest

from mailcore import sasl
from mailcore.model.limits import MAX_FAULTS, MAX_FAULTS_BEFORE_LOGIN
from mailcore.model.tenant import State as UserState
from tests.builders import OPERATOR
from tests.transcripts.managesieve.dialogue import ManageSieve, plain


def encoded(text: str) -> str:
    return b64encode(text.encode()).decode()


def test_the_greeting_says_what_can_be_done(sieve: ManageSieve) -> None:
    """RFC 5804 §1.7; extensions are those that scripts may require."""
    lines = sieve.connect(offers_starttls=True).greeting.decode().split("\r\n")
    extensions = " ".join(sieve.services.scripts.extensions)
    assert lines == [
        '"IMPLEMENTATION" "Eider"',
        '"VERSION" "1.0"',
        f'"SASL" "{" ".join(sasl.MECHANISMS)}"',
        f'"SIEVE" "{extensions}"',
        '"MAXREDIRECTS" "4"',
        '"UNAUTHENTICATE"',
        '"STARTTLS"',
        'OK "ManageSieve server ready"',
        "",
    ]
    assert "fileinto" in extensions.split()
    client = sieve.sign_in()
    listed = client.run("CAPABILITY").decode()
    assert f'"OWNER" "{sieve.user.address}"\r\n' in listed
    assert "STARTTLS" not in listed


def test_authenticate(sieve: ManageSieve) -> None:
    """RFC 5804 §2.1, with and without the first response at once, quoted and as a literal; cancelled by a star."""
    response = plain(sieve.user.address, sieve.user.password)
    for number in "1234":
        sieve.connect(number)
    sieve.transcript(f"""
        C1: AUTHENTICATE "PLAIN" "{response}"
        S1: OK "You are in"
        C2: authenticate "plain"
        S2: ""
        C2: "{response}"
        S2: OK "You are in"
        C3: AUTHENTICATE "PLAIN"
        S3: ""
        C3: "*"
        S3: NO "Cancelled"
        C3: AUTHENTICATE "PLAIN" ""
        S3: NO "Response is not that of PLAIN"
        C3: AUTHENTICATE "PLAIN" "!!!"
        S3: NO "Response is not base64"
        C3: AUTHENTICATE "CRAM-MD5"
        S3: NO "This mechanism is not supported"
        C3: AUTHENTICATE
        S3: NO "Mechanism expected"
        C3: AUTHENTICATE "PLAIN" "{plain(sieve.user.address, "wrong")}"
        S3: NO "User name or password is wrong"
        C4: AUTHENTICATE "LOGIN"
        S4: "{encoded("Username:")}"
        C4: "{encoded(sieve.user.address)}"
        S4: "{encoded("Password:")}"
        C4: "{encoded(sieve.user.password)}"
        S4: OK "You are in"
        C4: AUTHENTICATE "PLAIN" "{response}"
        S4: NO "Command is not allowed now"
        """)
    client = sieve.connect("5")
    assert client.ask(b'AUTHENTICATE "PLAIN" {%d+}\r\n%s\r\n' % (len(response), response.encode())) == (
        b'OK "You are in"\r\n'
    )


def test_refused_token_is_explained_first(sieve: ManageSieve) -> None:
    """RFC 7628 §3.2.3, and the same of XOAUTH2: one more challenge, whose answer is ignored."""
    sieve.connect()
    token = encoded(f"user={sieve.user.address}\1auth=Bearer wrong\1\1")
    sieve.transcript(f"""
        C: AUTHENTICATE "XOAUTH2" "{token}"
        S: "{encoded('{"status":"401","schemes":"bearer","scope":"mail"}')}"
        C: ""
        S: NO "User name or password is wrong"
        C: AUTHENTICATE "OAUTHBEARER" "{encoded(f"n,a={sieve.user.address},{chr(1)}auth=Bearer wrong{chr(1)}{chr(1)}")}"
        S: "{encoded('{"status":"invalid_token","scope":"mail"}')}"
        C: "AQ=="
        S: NO "User name or password is wrong"
        """)


def test_commands_during_authenticate_are_no_response(sieve: ManageSieve) -> None:
    """N12."""
    client = sieve.connect()
    assert client.ask(b'AUTHENTICATE "PLAIN"\r\nLISTSCRIPTS\r\nNOOP\r\n') == (
        b'""\r\nNO "A response is one string"\r\nOK "Done"\r\n'
    )


def test_what_needs_a_user_is_refused_before(sieve: ManageSieve) -> None:
    """N12."""
    sieve.connect()
    refused = 'NO "Command is not allowed now"'
    sieve.transcript(f"""
        C: LISTSCRIPTS
        S: {refused}
        C: PUTSCRIPT "a" "keep;"
        S: {refused}
        C: CHECKSCRIPT "keep;"
        S: {refused}
        C: HAVESPACE "a" 1
        S: {refused}
        C: SETACTIVE ""
        S: {refused}
        C: UNAUTHENTICATE
        S: {refused}
        C: "lone string"
        S: NO "Unknown command"
        """)


def test_unauthenticate_is_the_beginning_again(sieve: ManageSieve) -> None:
    """RFC 5804 §2.14.1."""
    client = sieve.sign_in()
    assert sieve.services.sessions.count_of(sieve.user.user_id) == 1
    client.run("UNAUTHENTICATE")
    assert sieve.services.sessions.count_of(sieve.user.user_id) == 0
    assert client.ask(b"LISTSCRIPTS\r\n") == b'NO "Command is not allowed now"\r\n'
    assert [(each.seconds, each.total) for each in client.deadlines] == [(60, True), (1800, False), (60, True)]
    client.run(f'AUTHENTICATE "PLAIN" "{plain(sieve.user.address, sieve.user.password)}"')
    client.run("LISTSCRIPTS")


def test_password_in_clear_is_refused_before_it_is_read(sieve: ManageSieve, caplog: pytest.LogCaptureFixture) -> None:
    """N2: no SASL before TLS, and the attempt is logged without the password."""
    client = sieve.connect(local=False, offers_starttls=True)
    assert b'"SASL" ""\r\n' in client.greeting
    with caplog.at_level(logging.DEBUG):
        for command in (b'AUTHENTICATE "PLAIN"', b'AUTHENTICATE "PLAIN" "AGEAb3Blbi1zZXNhbWU="'):
            assert client.ask(command + b"\r\n") == b'NO (ENCRYPT-NEEDED) "Encrypt the connection first"\r\n'
    assert "managesieve.login.refused" in caplog.messages
    assert "b3Blbi" not in caplog.text


def test_starttls_forgets_and_says_again_what_can_be_done(sieve: ManageSieve) -> None:
    """RFC 5804 §2.2."""
    client = sieve.connect(local=False, offers_starttls=True)
    assert client.ask(b"STARTTLS\r\n") == b'OK "Begin TLS negotiation now"\r\n'
    client.start_tls()
    listed = client.take()
    assert b'"SASL" "PLAIN' in listed
    assert b"STARTTLS" not in listed
    assert listed.endswith(b'OK "TLS is on"\r\n')
    assert client.ask(b"STARTTLS\r\n") == b'NO "The connection is encrypted already"\r\n'
    client.run(f'AUTHENTICATE "PLAIN" "{plain(sieve.user.address, sieve.user.password)}"')


@pytest.mark.parametrize("behind", [b"CAPABILITY\r\n", b"N", b"CHECKSCRIPT {3+}\r\nke"])
def test_whatever_comes_behind_starttls_closes_the_connection(sieve: ManageSieve, behind: bytes) -> None:
    """N1."""
    client = sieve.connect(offers_starttls=True)
    assert client.ask(b"STARTTLS\r\n" + behind) == b'OK "Begin TLS negotiation now"\r\n'
    assert client.is_closed
    assert not client.wants_tls
    assert sieve.connect().ask(b"STARTTLS\r\n") == b'NO "TLS is not to be had here"\r\n'


def test_session_ends_when_its_user_may_not_sign_in_any_more(sieve: ManageSieve) -> None:
    client = sieve.sign_in()
    sieve.services.users.set_state(OPERATOR, sieve.user.user_id, UserState.SUSPENDED)
    sieve.services.sessions.poll()
    assert client.ask(b'PUTSCRIPT "a" "keep;"\r\n') == b'BYE "This login is disabled"\r\n'
    assert client.is_closed
    assert sieve.services.scripts.list_of(sieve.user.user_id) == []


def test_deadlines(sieve: ManageSieve) -> None:
    """N7: 60 s in all to sign in; then half an hour of silence (RFC 5804 §1.2)."""
    client = sieve.connect()
    assert [(deadline.seconds, deadline.total) for deadline in client.deadlines] == [(60, True)]
    client.ask(b'NOOP\r\nCAPABILITY\r\nNOOP "x"\r\n')
    assert len(client.deadlines) == 1
    client = sieve.sign_in()
    assert [(deadline.seconds, deadline.total) for deadline in client.deadlines] == [(60, True), (1800, False)]
    assert client.time_out() == b'BYE "Nothing heard for too long"\r\n'
    assert client.is_closed


def test_bad_commands_end_the_connection(sieve: ManageSieve) -> None:
    client = sieve.connect()
    answer = client.ask(b"XYZZY\r\n" * 60)
    assert answer.count(b'NO "Unknown command"\r\n') == MAX_FAULTS_BEFORE_LOGIN
    assert answer.endswith(b'BYE "Too many bad commands"\r\n')
    assert client.is_closed
    client = sieve.sign_in()
    assert client.ask(b"XYZZY\r\n" * 60).count(b'NO "Unknown command"\r\n') == MAX_FAULTS
    assert client.is_closed


def test_end_of_the_process_is_told(sieve: ManageSieve) -> None:
    """P13."""
    client = sieve.sign_in()
    assert client.drain() == b'BYE (TRYLATER) "Server is restarting, connect again"\r\n'
    assert client.is_closed
