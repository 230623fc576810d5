"""SASL exchanges: what is offered, what is malformed, and that no input does anything else."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailcore.errors import SyntaxFault
from mailcore.model.secret import Secret
from mailcore.sasl import MECHANISMS, Exchange, Offer, PasswordOffer, TokenOffer, read_line, write_line

TOKEN = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="


def run(mechanism: str, *responses: bytes, at_once: bool = False) -> tuple[list[bytes], Offer]:
    """The challenges that came, and what was offered."""
    exchange = Exchange(MECHANISMS[mechanism])
    left = list(responses)
    challenges = []
    challenge = exchange.begin(left.pop(0) if at_once else None)
    while challenge is not None:
        challenges.append(challenge)
        challenge = exchange.step(left.pop(0))
    assert not left
    return challenges, exchange.offer


@pytest.mark.parametrize(
    ("response", "offer"),
    [
        pytest.param(b"\0tim\0tanstaaftanstaaf", PasswordOffer("tim", Secret("tanstaaftanstaaf")), id="RFC 4616 §4"),
        pytest.param(b"Ursel\0Kurt\0xipj3plmq", PasswordOffer("Kurt", Secret("xipj3plmq"), "Ursel"), id="for another"),
        pytest.param("\0jürgen\0pä".encode(), PasswordOffer("jürgen", Secret("pä")), id="UTF-8"),
        pytest.param(b"\0a\0\xff", PasswordOffer("a", Secret(b"\xff")), id="password of any octets"),
        pytest.param(b"\0\0", PasswordOffer("", Secret("")), id="empty"),
    ],
)
def test_plain(response: bytes, offer: Offer) -> None:
    assert run("PLAIN", response) == ([b""], offer)
    assert run("PLAIN", response, at_once=True) == ([], offer)


def test_login_asks_twice() -> None:
    expected = PasswordOffer("a@example.com", Secret("secret word"))
    assert run("LOGIN", b"a@example.com", b"secret word") == ([b"Username:", b"Password:"], expected)
    assert run("LOGIN", b"a@example.com", b"secret word", at_once=True) == ([b"Password:"], expected)


@pytest.mark.parametrize(
    ("response", "username"),
    [
        pytest.param(
            b"n,a=user@example.com,\x01host=server.example.com\x01port=143\x01auth=Bearer %b\x01\x01" % TOKEN.encode(),
            "user@example.com",
            id="RFC 7628 §4.1",
        ),
        pytest.param(b"n,,\x01auth=Bearer %b\x01\x01" % TOKEN.encode(), "", id="user left to the token"),
        pytest.param(b"y,a=a=2Cb=3dc,\x01auth=bearer  %b\x01\x01" % TOKEN.encode(), "a,b=c", id="escapes"),
    ],
)
def test_oauthbearer(response: bytes, username: str) -> None:
    assert run("OAUTHBEARER", response, at_once=True) == ([], TokenOffer(username, Secret(TOKEN)))


def test_xoauth2() -> None:
    response = b"user=someuser@example.com\x01auth=Bearer %b\x01\x01" % TOKEN.encode()
    assert run("XOAUTH2", response)[1] == TokenOffer("someuser@example.com", Secret(TOKEN))


@pytest.mark.parametrize(
    ("mechanism", "responses"),
    [
        ("PLAIN", [b""]),
        ("PLAIN", [b"a\0b"]),
        ("PLAIN", [b"a\0b\0c\0d"]),
        ("PLAIN", [b"\0\xff\0c"]),
        ("PLAIN", [b"\0" + b"x" * 1025 + b"\0c"]),
        ("LOGIN", [b"a\0b"]),
        ("LOGIN", [b"a", b"b\0c"]),
        ("OAUTHBEARER", [b""]),
        ("OAUTHBEARER", [b"\x01"]),
        ("OAUTHBEARER", [b"n,,\x01\x01"]),
        ("OAUTHBEARER", [b"p=tls-unique,,\x01auth=Bearer x\x01\x01"]),
        ("OAUTHBEARER", [b"n,b=x,\x01auth=Bearer x\x01\x01"]),
        ("OAUTHBEARER", [b"n,a=a=2x,\x01auth=Bearer x\x01\x01"]),
        ("OAUTHBEARER", [b"n,,\x01auth=Bearer x\x01"]),
        ("OAUTHBEARER", [b"n,,\x01auth=Basic x\x01\x01"]),
        ("OAUTHBEARER", [b"n,,\x01auth=Bearer x y\x01\x01"]),
        ("OAUTHBEARER", [b"n,,\x01auth=Bearer x\x01auth=Bearer y\x01\x01"]),
        ("OAUTHBEARER", [b"n,,\x01auth=Bearer " + b"x" * 4097 + b"\x01\x01"]),
        ("OAUTHBEARER", [b"n,,\x01" + b"k=v\x01" * 5000 + b"\x01"]),
        ("XOAUTH2", [b"auth=Bearer x\x01\x01"]),
        ("XOAUTH2", [b"user=\xff\x01auth=Bearer x\x01\x01"]),
    ],
)
def test_malformed_responses(mechanism: str, responses: list[bytes]) -> None:
    with pytest.raises(SyntaxFault):
        run(mechanism, *responses)


@pytest.mark.parametrize("mechanism", MECHANISMS)
@given(responses=st.lists(st.binary(max_size=60), min_size=3, max_size=3))
def test_no_input_raises_anything_else(mechanism: str, responses: list[bytes]) -> None:
    exchange = Exchange(MECHANISMS[mechanism])
    try:
        challenge = exchange.begin()
        while challenge is not None:
            challenge = exchange.step(responses.pop())
    except SyntaxFault:
        return
    assert isinstance(exchange.offer, PasswordOffer | TokenOffer)


def test_tokens_and_passwords_do_not_show() -> None:
    for offer in (run("PLAIN", b"\0a\0canary")[1], run("XOAUTH2", b"user=a\x01auth=Bearer canary\x01\x01")[1]):
        assert "canary" not in repr(offer)


def test_refusals_are_explained_in_json() -> None:
    """RFC 7628 §3.2.2: `status` has to be there."""
    explained = {row.name for row in MECHANISMS.values() if row.failure is not None}
    assert explained == {"OAUTHBEARER", "XOAUTH2"}
    for name in explained:
        assert json.loads(MECHANISMS[name].failure or b"")["status"]


def test_lines() -> None:
    assert read_line(b"*") is None
    assert read_line(b"=") == read_line(b"") == b""
    assert read_line(write_line(b"\0a\0b")) == b"\0a\0b"
    assert b"\n" not in write_line(b"x" * 500)
    for line in (b"!!!", b"QQ=", b"QQ= =", b"Q Q=", base64.b64encode(b"x" * 7000)):
        with pytest.raises(SyntaxFault):
            read_line(line)
