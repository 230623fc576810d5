"""What would take memory or time is refused before it does (N5, N6)."""

from __future__ import annotations

import tracemalloc

import pytest

from tests.transcripts.imap.dialogue import Imap


@pytest.mark.parametrize(
    ("line", "answer", "closes"),
    [
        (b"a LOGIN {99999999999}\r\n", b"a BAD Literal is too large\r\n", False),
        (b"a LOGIN {100000000+}\r\n", b"a BAD Literal is too large\r\n* BYE Literal is too large\r\n", True),
        (b"a LOGIN {8193}\r\n", b"a BAD Literal is too large\r\n", False),
        (b"a NOOP " + b"x" * 9000 + b"\r\n", b"a BAD Command is too long\r\n", False),
    ],
)
def test_before_signing_in(imap: Imap, line: bytes, answer: bytes, closes: bool) -> None:
    client = imap.connect()
    assert client.ask(line) == answer
    assert client.is_closed is closes
    if not closes:
        assert client.ask(b"b NOOP\r\n") == b"b OK Completed\r\n"


@pytest.mark.parametrize(
    ("line", "answer", "closes"),
    [
        (b"a APPEND INBOX {1073741824}\r\n", b"a NO [TOOBIG] The message is too large\r\n", False),
        (
            b"a APPEND INBOX {1073741824+}\r\n",
            b"a NO [TOOBIG] The message is too large\r\n* BYE Literal is too large\r\n",
            True,
        ),
        (b'a LIST "" {99999999999}\r\n', b"a BAD Literal is too large\r\n", False),
        (b"a XYZZY {10}\r\n", b"a BAD Unknown command\r\n", False),
        (b"a FETCH {10}\r\n", b"a BAD Command is not allowed now\r\n", False),
    ],
)
def test_signed_in(imap: Imap, line: bytes, answer: bytes, closes: bool) -> None:
    client = imap.sign_in()
    tracemalloc.start()
    assert client.ask(line) == answer
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20
    assert client.is_closed is closes
    if not closes:
        assert client.ask(b"b NOOP\r\n") == b"b OK Completed\r\n"


def test_thousand_literals(imap: Imap) -> None:
    client = imap.sign_in()
    answer = client.ask(b'a LIST ""' + b" {0+}\r\n" * 1000 + b"\r\n")
    assert b"* BYE" in answer
    assert client.is_closed


HEAVY = [
    pytest.param(b"SEARCH " + b"(" * 60_000, id="parentheses"),
    pytest.param(b"SEARCH " + b"NOT " * 15_000 + b"ALL", id="NOT chain"),
    pytest.param(b"SEARCH " + b"OR ALL " * 9_000 + b"ALL", id="OR tree"),
    pytest.param(b"NOOP " + b"x" * 200_000, id="long line"),
    pytest.param(b"FETCH 1 (BODY[" + b"1." * 25_000 + b"1])", id="deep part"),
    pytest.param(b"FETCH " + b"1," * 30_000 + b"x FLAGS", id="bad set"),
    pytest.param(b'LIST "" (' + b"* " * 10_000 + b"*)", id="many patterns"),
    pytest.param(b"STORE 1 +FLAGS (" + b"\\Seen " * 5_000 + b"\\Nothing)", id="many flags"),
]


@pytest.mark.parametrize("command", HEAVY)
def test_heavy_commands_are_refused_cheaply(imap: Imap, command: bytes) -> None:
    """N6: BAD, no RecursionError, little memory."""
    imap.fill(1)
    client = imap.sign_in(select="INBOX")
    tracemalloc.start()
    answer = client.ask(b"a " + command + b"\r\n")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert answer.startswith(b"a BAD ")
    assert b"SERVERBUG" not in answer
    assert peak < 5 << 20
    assert client.ask(b"b NOOP\r\n") == b"b OK Completed\r\n"


def test_a_long_set_is_carried_out(imap: Imap) -> None:
    imap.fill(3)
    client = imap.sign_in(select="INBOX")
    numbers = b",".join(b"%d" % (number % 3 + 1) for number in range(30_000))
    assert client.ask(b"a FETCH " + numbers + b" UID\r\n") == (
        b"* 1 FETCH (UID 1)\r\n* 2 FETCH (UID 2)\r\n* 3 FETCH (UID 3)\r\na OK FETCH completed\r\n"
    )


def test_part_of_a_command_changes_nothing(imap: Imap) -> None:
    """A connection that ends within a literal leaves nothing behind."""
    client = imap.sign_in()
    assert client.ask(b"a APPEND INBOX {1000}\r\nFrom: x") == b"+ OK\r\n"
    client.close()
    assert b"MESSAGES 0" in imap.sign_in("2").run("STATUS INBOX (MESSAGES)")
