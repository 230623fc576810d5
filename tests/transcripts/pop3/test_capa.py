"""CAPA, UTF8 and LANG (RFC 2449 §5, RFC 6856); N11."""

from __future__ import annotations

from mailcore.pop3.capabilities import CAPABILITIES
from tests.builders import make_user
from tests.transcripts.pop3.dialogue import Pop3

ALWAYS = [
    b"TOP", b"UIDL", b"PIPELINING", b"RESP-CODES", b"AUTH-RESP-CODE", b"UTF8 USER", b"LANG", b"EXPIRE NEVER",
    b"LOGIN-DELAY 0", b"IMPLEMENTATION Eider",
]  # fmt: skip


def test_capabilities_before_and_after_signing_in(pop3: Pop3) -> None:
    """RFC 2449 §5: in both states; what helps to sign in is not shown after it."""
    client = pop3.connect(offers_stls=True)
    listed = client.lines("CAPA")
    assert listed[2:4] == [b"USER", b"SASL PLAIN LOGIN OAUTHBEARER XOAUTH2"]
    assert b"STLS" in listed
    assert [line for line in listed if line in ALWAYS] == ALWAYS
    assert pop3.sign_in("2").lines("CAPA") == ALWAYS
    assert len(listed) == len(CAPABILITIES)


def test_no_version_is_told(pop3: Pop3) -> None:
    """N11."""
    client = pop3.connect()
    said = client.greeting + client.run("CAPA") + client.ask(b"XYZZY\r\n")
    assert client.greeting == b"+OK POP3 server ready\r\n"
    for word in (b"0.", b"1.", b"ython", b"ongo", b"gevent"):
        assert word not in said


def test_utf8(pop3: Pop3) -> None:
    """RFC 6856 §2: before signing in only; messages are sent as they are, with or without it."""
    message = "Subject: Grüße\r\n\r\n日本\r\n".encode()
    pop3.append(message)
    client = pop3.connect()
    assert client.run("UTF8") == b"+OK UTF-8 it is\r\n"
    client.run(f"USER {pop3.user.address}")
    client.run(f"PASS {pop3.user.password}")
    assert client.retrieve(1) == message
    assert client.ask(b"UTF8\r\n") == b"-ERR Command is not allowed now\r\n"
    assert pop3.sign_in("2").retrieve(1) == message


def test_names_and_passwords_in_any_script(pop3: Pop3) -> None:
    """RFC 6856 §2.2; a name that is no UTF-8 is nobody's."""
    pop3.user = make_user(pop3.services, password="пароль 密码 ñ")
    assert pop3.sign_in().run("STAT") == b"+OK 0 0\r\n"
    client = pop3.connect("2")
    client.ask(b"USER \xff\xfe@x.test\r\n")
    assert client.ask(b"PASS x\r\n") == b"-ERR [AUTH] User name or password is wrong\r\n"


def test_lang(pop3: Pop3) -> None:
    """The dialogue of RFC 6856 §3.2, in either state; there is English only."""
    for client in (pop3.connect("1"), pop3.sign_in("2")):
        assert client.ask(b"LANG MUL\r\n") == b"-ERR en No texts in this language\r\n"
        assert client.lines("LANG") == [b"en English"]
        assert client.run("LANG *") == b"+OK en Texts are in English\r\n"
        assert client.run("LANG EN") == b"+OK en Texts are in English\r\n"
        assert client.ask(b"LANG uga\r\n") == b"-ERR en No texts in this language\r\n"
        assert client.ask(b"LANG en de\r\n") == b"-ERR One language expected\r\n"
