"""The scanner: the same commands however the input is cut, and never more memory than allowed (N5, N6)."""

from __future__ import annotations

import tracemalloc

import pytest

from mailcore.imap.wire.scanner import (
    MAX_LITERALS,
    Command,
    Event,
    Literal,
    LiteralOffered,
    LiteralTooLarge,
    Scanner,
    TooLong,
)
from tests.unit.imap.wire.commands import command_of, scan_all

CASES = [
    pytest.param(b"a NOOP\r\n", [("a", "NOOP", b"a NOOP", [])], id="plain"),
    pytest.param(b"a noop\n", [("a", "NOOP", b"a noop", [])], id="bare line feed, any case"),
    pytest.param(b"a uid fetch 1 (X)\r\n", [("a", "UID FETCH", b"a uid fetch 1 (X)", [])], id="uid"),
    pytest.param(
        b"a LOGIN {3}\r\nbob {2+}\r\npw\r\nb NOOP\r\n",
        [("a", "LOGIN", b"a LOGIN {3} {2+}", [b"bob", b"pw"]), ("b", "NOOP", b"b NOOP", [])],
        id="literals of both kinds, then another",
    ),
    pytest.param(
        b"a APPEND x {8}\r\nb NOOP\r\n\r\nc NOOP\r\n",
        [("a", "APPEND", b"a APPEND x {8}", [b"b NOOP\r\n"]), ("c", "NOOP", b"c NOOP", [])],
        id="a literal that looks like a command",
    ),
    pytest.param(b"a X {0}\r\n\r\n", [("a", "X", b"a X {0}", [b""])], id="empty literal"),
    pytest.param(b"a X ~{2}\r\n\0\0)\r\n", [("a", "X", b"a X ~{2})", [b"\0\0"])], id="literal8"),
    pytest.param(b'a X "{5}"\r\n', [("a", "X", b'a X "{5}"', [])], id="quoted braces are no literal"),
    pytest.param(b"\r\n", [("", "", b"", [])], id="empty line"),
    pytest.param(b"+ NOOP\r\n", [("", "", b"+ NOOP", [])], id="plus is no tag"),
    pytest.param(b"tagonly\r\n", [("tagonly", "", b"tagonly", [])], id="tag without command"),
]


@pytest.mark.parametrize(("data", "expected"), CASES)
@pytest.mark.parametrize("piece", [1, 2, 7, 1 << 20])
def test_input_cut_anywhere_gives_the_same_commands(
    data: bytes, expected: list[tuple[str, str, bytes, list[bytes]]], piece: int
) -> None:
    scanner = Scanner(8192, 8192)
    events: list[Event] = []
    for start in range(0, len(data), piece):
        scanner.feed(data[start : start + piece])
        events += scan_all(scanner)
    found = []
    for event in events:
        assert isinstance(event, Command)
        found.append((event.head.tag, event.head.name, event.text, [literal.data for literal in event.literals]))
    assert found == expected
    assert not scanner.holds_input
    assert not scanner.within_command


def test_mark_says_where_in_the_text_the_literal_is() -> None:
    command = command_of(b"a X ~{1+}\r\nq {2}\r\nrs\r\n")
    assert command.literals == (Literal(4, b"q", binary=True), Literal(10, b"rs", binary=False))


def test_refused_literal_leaves_a_clean_scanner() -> None:
    scanner = Scanner(8192)
    scanner.feed(b"a LOGIN {5}\r\n")
    assert isinstance(scanner.read_command(), LiteralOffered)
    assert scanner.read_command() is None
    scanner.refuse()
    scanner.feed(b"b NOOP\r\n")
    (event,) = scan_all(scanner)
    assert isinstance(event, Command)
    assert event.text == b"b NOOP"


LARGE = [
    pytest.param(b"a LOGIN {99999999999}\r\n", False, id="waits"),
    pytest.param(b"a LOGIN {100000000+}\r\n", True, id="comes at once"),
    pytest.param(b"a APPEND x {1073741824}\r\n", False, id="a message of 1 GB"),
    pytest.param(b"a APPEND x {1073741824+}\r\n", True, id="a message of 1 GB at once"),
    pytest.param(b"a X {" + b"9" * 25 + b"}\r\n", False, id="more digits than a number has"),
]


@pytest.mark.parametrize(("line", "fatal"), LARGE)
def test_large_literal_is_refused_before_memory_is_taken(line: bytes, fatal: bool) -> None:
    scanner = Scanner(8192, 64 << 20)
    tracemalloc.start()
    scanner.feed(line)
    event = scanner.read_command()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(event, LiteralTooLarge)
    assert event.fatal is fatal
    assert event.head.tag == "a"
    assert peak < 64 * 1024


def test_literals_of_a_command_count_together() -> None:
    scanner = Scanner(8192)
    scanner.feed(b"a LOGIN {8000+}\r\n" + b"x" * 8000 + b" {500}\r\n")
    assert isinstance(scanner.read_command(), LiteralTooLarge)


def test_a_thousand_literals_are_too_many() -> None:
    scanner = Scanner(1 << 20)
    scanner.feed(b"a X" + b" {0+}\r\n" * 1000 + b"\r\n")
    event = scanner.read_command()
    assert isinstance(event, LiteralTooLarge)
    assert MAX_LITERALS < 1000


def test_message_of_append_has_its_own_limit() -> None:
    scanner = Scanner(100, 5000)
    scanner.feed(b"a APPEND x {5000+}\r\n" + b"m" * 5000 + b"\r\n")
    (event,) = scan_all(scanner)
    assert isinstance(event, Command)
    assert len(event.literals[0].data) == 5000


def test_long_line_is_refused_at_once_and_skipped_to_its_end() -> None:
    scanner = Scanner(8192)
    tracemalloc.start()
    events: list[Event] = []
    for _ in range(200):
        scanner.feed(b"a NOOP " + b"x" * 1024)
        events += scan_all(scanner)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    scanner.feed(b"\r\nb NOOP\r\n")
    events += scan_all(scanner)
    assert [type(event) for event in events] == [TooLong, Command]
    assert events[0].head.tag == "a"
    assert events[1].head.tag == "b"
    assert peak < 64 * 1024


def test_long_line_that_announces_a_literal_ends_the_connection() -> None:
    """What follows would otherwise be read as commands."""
    scanner = Scanner(100)
    scanner.feed(b"a X " + b"x" * 1000)
    assert isinstance(scanner.read_command(), TooLong)
    scanner.feed(b" {10+}\r\nb LOGOUT\r\n")
    event = scanner.read_command()
    assert isinstance(event, LiteralTooLarge)
    assert event.fatal


def test_lines_are_read_as_they_are() -> None:
    scanner = Scanner(8192)
    scanner.feed(b"DONE\r\nx {5}\r\n")
    assert scanner.read_line(100) == b"DONE"
    assert scanner.read_line(100) == b"x {5}"
    assert scanner.read_line(100) is None
    scanner.feed(b"y" * 200)
    assert isinstance(scanner.read_line(100), TooLong)
    scanner.feed(b"yy\r\nb NOOP\r\n")
    (event,) = scan_all(scanner)
    assert isinstance(event, Command)
    assert event.head.tag == "b"
