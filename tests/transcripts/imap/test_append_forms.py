"""APPEND of several messages (RFC 3502), of parts on the server (RFC 4469), of binary (RFC 3516)."""

from __future__ import annotations

import pytest

from tests.builders import OPERATOR
from tests.transcripts.imap.dialogue import Client, Imap

LUNCH = b"Subject: lunch\r\n\r\nAt noon\r\n"


def literal(data: bytes, mark: bytes = b"") -> bytes:
    """A literal that does not wait."""
    return mark + b"{%d+}\r\n" % len(data) + data


def body(client: Client, number: int) -> bytes:
    """The bytes of a message of the selected mailbox."""
    answer = client.run(f"FETCH {number} BODY.PEEK[]")
    size = int(answer[answer.index(b"{") + 1 : answer.index(b"}")])
    start = answer.index(b"}\r\n") + 3
    return answer[start : start + size]


def test_two_messages_at_once(imap: Imap) -> None:
    """RFC 3502 §3's example: literals that wait."""
    client = imap.sign_in()
    client.run("CREATE saved-messages")
    first, second = b"Subject: afternoon\r\n\r\nHello Joe\r\n", b"Subject: again\r\n\r\nHi\r\n"
    assert client.ask(b"A003 APPEND saved-messages (\\Seen) {%d}\r\n" % len(first)) == b"+ OK\r\n"
    more = b' () " 7-Feb-1994 22:43:04 -0800" {%d}\r\n' % len(second)
    assert client.ask(first + more) == b"+ OK\r\n"
    answer = client.ask(second + b"\r\n")
    assert answer.startswith(b"A003 OK [APPENDUID ")
    assert answer.endswith(b" 1:2] APPEND completed\r\n")
    client.run("SELECT saved-messages")
    assert (body(client, 1), body(client, 2)) == (first, second)
    imap.transcript(r"""
        C: a FETCH 1:2 (FLAGS)
        S: * 1 FETCH (FLAGS (\Seen))
        S: * 2 FETCH (FLAGS ())
        S: a OK FETCH completed
        C: b FETCH 2 (INTERNALDATE)
        S: * 2 FETCH (INTERNALDATE " 8-Feb-1994 06:43:04 +0000")
        S: b OK FETCH completed
        """)


def test_several_messages_are_all_or_none(imap: Imap) -> None:
    """RFC 3502 §2: an empty one, a bad flag or a full quota, and nothing is stored."""
    client = imap.sign_in()
    both = literal(LUNCH) + b" " + literal(b"")
    assert client.ask(b"a APPEND INBOX " + both + b"\r\n").startswith(b"a NO [CANNOT]")
    assert client.ask(b"b APPEND INBOX " + literal(LUNCH) + b" (\\Nothing) " + literal(LUNCH) + b"\r\n").startswith(
        b"b BAD "
    )
    imap.services.users.set_quota(OPERATOR, imap.user.user_id, 3 * len(LUNCH))
    imap.services.placement.forget(imap.user.user_id)
    three = b"".join(b" " + literal(LUNCH) for _ in range(4))
    assert client.ask(b"c APPEND INBOX" + three + b"\r\n").startswith(b"c NO [OVERQUOTA]")
    assert b"MESSAGES 0" in client.run("STATUS INBOX (MESSAGES)")


def test_messages_of_one_command_share_its_limit(imap: Imap) -> None:
    client = imap.sign_in()
    half = 40 << 20
    client.ask(b"a APPEND INBOX {%d}\r\n" % half)
    client.ask(b"x" * half)
    assert client.ask(b" {%d}\r\n" % half) == b"a NO [TOOBIG] The message is too large\r\n"
    assert client.ask(b"b NOOP\r\n") == b"b OK Completed\r\n"


def test_many_messages(imap: Imap) -> None:
    client = imap.sign_in(select="INBOX")
    many = b"".join(b" " + literal(LUNCH) for _ in range(200))
    answer = client.ask(b"a APPEND INBOX" + many + b"\r\n")
    assert b"* 200 EXISTS\r\na OK [APPENDUID " in answer
    assert b" 1:200] " in answer


def test_binary(imap: Imap) -> None:
    """RFC 3516 §4.4."""
    client = imap.sign_in(select="INBOX")
    raw = b"Content-Type: x/y\r\nContent-Transfer-Encoding: binary\r\n\r\n\0\1\2\xff"
    assert b"a OK [APPENDUID " in client.ask(b"a APPEND INBOX " + literal(raw, b"~") + b"\r\n")
    assert body(client, 1) == raw


PARTS = b"\r\n".join(
    [
        b"From: a@example.com",
        b"Subject: parts",
        b"MIME-Version: 1.0",
        b'Content-Type: multipart/mixed; boundary="b"',
        b"",
        b"--b",
        b"Content-Type: text/plain",
        b"",
        b"one",
        b"--b",
        b"Content-Type: text/html",
        b"",
        b"<b>two</b>",
        b"--b--",
        b"",
    ]
)


@pytest.fixture
def validity(imap: Imap) -> str:
    """UIDVALIDITY of Drafts, which holds PARTS as UID 1."""
    imap.append(PARTS, mailbox="Drafts")
    answer = imap.sign_in("v").run("STATUS Drafts (UIDVALIDITY)")
    return answer.partition(b"UIDVALIDITY ")[2].partition(b")")[0].decode()


def test_parts_are_joined(imap: Imap, validity: str) -> None:
    """RFC 4469 §3's example, in small."""
    client = imap.sign_in()
    part = f"/Drafts;UIDVALIDITY={validity}/;UID=1"
    command = (
        b"A003 APPEND Drafts (\\Seen \\Draft $MDNSent) CATENATE (URL "
        + f'"{part}/;section=HEADER.FIELDS%20(From%20Subject)" '.encode()
        + b"TEXT "
        + literal(b"X-New: yes\r\n\r\n")
        + f' URL "{part}/;section=2" URL "{part}/;section=1/;partial=1.2")'.encode()
    )
    assert client.ask(command + b"\r\n").startswith(b"A003 OK [APPENDUID ")
    client.run("SELECT Drafts")
    assert body(client, 2) == b"From: a@example.com\r\nSubject: parts\r\n\r\nX-New: yes\r\n\r\n<b>two</b>ne"
    client.run(f'APPEND INBOX CATENATE (URL "{part}")')
    # relative to the selected mailbox
    client.run('APPEND INBOX CATENATE (URL ";UID=1/;SECTION=1.MIME" URL "/;UID=1/;SECTION=1")')
    client.run("SELECT INBOX")
    assert body(client, 1) == PARTS
    assert body(client, 2) == b"Content-Type: text/plain\r\n\r\none"


@pytest.mark.parametrize(
    "url",
    [
        "/Drafts;UIDVALIDITY=1/;UID=1",
        "/Drafts/;UID=2",
        "/Nowhere/;UID=1",
        "/Drafts/;UID=1/;SECTION=7",
        "/Drafts/;UID=1/;SECTION=nonsense",
        "/Drafts/;UID=0",
        "/Drafts",
        ";UID=1",
        "imap://other.example/Drafts/;UID=1",
        "//other.example/Drafts/;UID=1",
        "/../Drafts/;UID=1",
        "http://127.0.0.1/",
        "",
    ],
)
def test_a_part_that_is_not_there(imap: Imap, validity: str, url: str) -> None:
    """RFC 4469 §4: BADURL, and nothing is stored; no URL makes the server connect to another."""
    assert validity
    client = imap.sign_in()
    command = b"a APPEND INBOX CATENATE (TEXT " + literal(b"A: b\r\n") + f' URL "{url}")\r\n'.encode()
    answer = client.ask(command)
    assert answer.startswith(f'a NO [BADURL "{url}"] '.encode() if url else b"a NO [BADURL] ")
    assert b"MESSAGES 0" in client.run("STATUS INBOX (MESSAGES)")


def test_a_url_cannot_end_the_line(imap: Imap) -> None:
    """N10."""
    client = imap.sign_in()
    url = b"x] hello\r\n* BYE gone\r\n"
    assert client.ask(b"a APPEND INBOX CATENATE (URL " + literal(url) + b")\r\n") == (
        b"a NO [BADURL] A part cannot be had, nothing was stored\r\n"
    )


def test_joined_parts_share_the_limit(imap: Imap) -> None:
    """A small command must not make a large message out of parts."""
    imap.append(b"A: b\r\n\r\n" + b"x" * (1 << 20), mailbox="Drafts")
    client = imap.sign_in()
    parts = " ".join(['URL "/Drafts/;UID=1"'] * 100)
    assert client.ask(f"a APPEND INBOX CATENATE ({parts})\r\n".encode()).startswith(b"a NO [TOOBIG]")


@pytest.mark.parametrize(
    "arguments",
    [b"CATENATE ()", b"CATENATE (FILE x)", b"CATENATE (TEXT x)", b"CATENATE", b"(\\Seen)", b"x", b"{3+}\r\nabcx"],
)
def test_malformed(imap: Imap, arguments: bytes) -> None:
    assert imap.sign_in().ask(b"a APPEND INBOX " + arguments + b"\r\n").startswith(b"a BAD ")
