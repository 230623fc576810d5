"""AUTHENTICATE beyond PLAIN: LOGIN (RFC 4422), and bearer tokens with their explained refusal (RFC 7628 §3.2.3)."""

from __future__ import annotations

import base64

import pytest

from tests.transcripts.imap.dialogue import Imap


def _line(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_authenticate_login(imap: Imap) -> None:
    imap.connect("1")
    imap.connect("2")
    imap.transcript(f"""
        C1: a AUTHENTICATE LOGIN
        S1: + {_line("Username:")}
        C1: {_line(imap.user.address)}
        S1: + {_line("Password:")}
        C1: {_line(imap.user.password)}
        S1: a OK [CAPABILITY …] Signed in
        C2: a AUTHENTICATE LOGIN {_line(imap.user.address)}
        S2: + {_line("Password:")}
        C2: *
        S2: a BAD Cancelled
        C2: b AUTHENTICATE LOGIN {_line(imap.user.address)}
        S2: + {_line("Password:")}
        C2: {_line("wrong")}
        S2: b NO [AUTHENTICATIONFAILED] …
        """)


@pytest.mark.parametrize(
    ("mechanism", "response", "explained"),
    [
        (
            "OAUTHBEARER",
            "n,a={user},\x01host=mx.test\x01port=143\x01auth=Bearer unknown\x01\x01",
            '{"status":"invalid_token","scope":"mail"}',
        ),
        (
            "XOAUTH2",
            "user={user}\x01auth=Bearer unknown\x01\x01",
            '{"status":"401","schemes":"bearer","scope":"mail"}',
        ),
    ],
)
def test_a_refused_token_is_explained(imap: Imap, mechanism: str, response: str, explained: str) -> None:
    response = _line(response.format(user=imap.user.address))
    imap.connect("1")
    imap.connect("2")
    imap.transcript(f"""
        C1: a AUTHENTICATE {mechanism} {response}
        S1: + {_line(explained)}
        C1: AQ==
        S1: a NO [AUTHENTICATIONFAILED] User name or password is wrong
        C1: b AUTHENTICATE {mechanism}
        S1: +…
        C1: {response}
        S1: + {_line(explained)}
        C1: *
        S1: b NO [AUTHENTICATIONFAILED] User name or password is wrong
        C2: a AUTHENTICATE {mechanism} {_line("user")}
        S2: a BAD Response is not that of {mechanism}
        """)
