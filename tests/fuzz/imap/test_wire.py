"""No input makes the grammar raise anything but SyntaxFault, nor the scanner lose its place."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailcore.errors import SyntaxFault
from mailcore.imap.commands import COMMANDS
from mailcore.imap.wire.cursor import Cursor
from mailcore.imap.wire.scanner import Command, Event, LiteralOffered, LiteralTooLarge, Scanner, TooLong, read_head

FRAGMENTS = [
    b"a", b"1", b"*", b":", b",", b" ", b"(", b")", b"[", b"]", b"<", b">", b".", b'"', b"\\", b"{", b"}", b"%", b"~",
    b"NIL", b"INBOX", b"inbox/x", b"FLAGS", b"+FLAGS.SILENT", b"\\Seen", b"\\Nothing", b"$Work", b"UID", b"BODY",
    b"BODY[]", b"BODY.PEEK[1.2.MIME]<0.5>", b"HEADER.FIELDS", b"(DATE)", b"1-Feb-1994", b'"17-Jul-1996 02:44:25 -0700"',
    b"OR", b"NOT", b"ALL", b"SEEN", b"TEXT", b"HEADER", b"CHARSET", b"UTF-8", b"SINCE", b"LARGER", b"RETURN",
    b"STATUS", b"MESSAGES", b"SUBSCRIBED", b"USE", b"PLAIN", b"=", b"&AEE-", b"&U,BTFw-", b"\xc3\xbc", b"\xff", b"\0",
    b"CATENATE (", b"URL", b'"/x;UID=1/;SECTION=1"', b"BINARY.PEEK[1]<0.5>", b"BINARY.SIZE[]", b"DEPTH", b"MAXSIZE",
    b"infinity", b"/private/x", b"/shared/comment", b"STORAGE", b"lrswi", b"+kx", b"DEFLATE", b"MYRIGHTS",
    b"{3}\r\nabc", b"{0+}\r\n", b"~{2}\r\n\0\0", b"{4}\r\n\r\n\r\n", b"4294967296", b"0",
    b"$", b"MODSEQ", b'"/flags/\\\\draft"', b"CHANGEDSINCE", b"VANISHED", b"UNCHANGEDSINCE", b"QRESYNC", b"CONDSTORE",
    b"PARTIAL", b"-1:-30", b"(MIN MAX)", b"SAVE", b"COUNT", b"YOUNGER", b"EMAILID", b"THREADID", b"X-GM-MSGID",
    b"SET", b"(selected (MessageNew (UID)", b"MessageExpunge))", b"(subtree (a b) NONE)", b"(personal (FlagChange))",
    b"PREVIEW (LAZY)", b"SAVEDON", b"(REVERSE SUBJECT)", b"REFERENCES", b"99999999999999999999999",
]  # fmt: skip
arguments = st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.binary(max_size=4)), max_size=14).map(b"".join)


def _events(scanner: Scanner) -> list[Event]:
    events: list[Event] = []
    while (event := scanner.read_command()) is not None:
        if isinstance(event, LiteralOffered):
            scanner.accept()
            continue
        events.append(event)
        if isinstance(event, LiteralTooLarge) and event.fatal:
            break
    return events


@pytest.mark.parametrize("name", sorted(COMMANDS))
@settings(max_examples=60, deadline=None)
@given(rest=arguments, utf8=st.booleans(), spaced=st.booleans())
def test_arguments_parse_or_are_refused(name: str, rest: bytes, utf8: bool, spaced: bool) -> None:
    scanner = Scanner(1 << 20, 1 << 20)
    scanner.feed(b"t " + name.encode() + (b" " if spaced else b"") + rest + b"\r\n")
    for event in _events(scanner):
        if isinstance(event, Command):
            row = COMMANDS.get(event.head.name)
            if row is not None:
                try:
                    row.prepare(Cursor(event, utf8=utf8))
                except SyntaxFault:
                    pass


@settings(max_examples=300, deadline=None)
@given(data=st.lists(st.sampled_from([*FRAGMENTS, b"\r\n", b"\n", b"\r", b"t NOOP\r\n"]), max_size=40).map(b"".join))
def test_the_scanner_finds_the_same_in_any_pieces(data: bytes) -> None:
    whole = Scanner(300, 300)
    whole.feed(data)
    expected = _events(whole)
    cut = Scanner(300, 300)
    found: list[Event] = []
    for byte in data:
        cut.feed(bytes((byte,)))
        if not (found and isinstance(found[-1], LiteralTooLarge) and found[-1].fatal):
            found += _events(cut)
    assert [event for event in found if isinstance(event, Command)] == [
        event for event in expected if isinstance(event, Command)
    ]
    assert len(found) == len(expected)


@given(st.binary(max_size=300))
def test_any_line_has_a_head(line: bytes) -> None:
    head = read_head(line)
    assert head.tag.isascii()
    assert not set(head.tag) & set(' ()+"{%*\\\r\n')


@pytest.mark.parametrize("seed", range(20))
def test_memory_stays_within_the_limit_whatever_comes(seed: int) -> None:
    chance = random.Random(seed)
    scanner = Scanner(1000, 2000)
    for _ in range(300):
        scanner.feed(b"".join(chance.choices([*FRAGMENTS, b"x" * 100, b"\r\n"], k=20)))
        for event in _events(scanner):
            if isinstance(event, LiteralTooLarge) and event.fatal:
                return
            assert isinstance(event, Command | LiteralTooLarge | TooLong)
        held = len(scanner._buffer) + len(scanner._text) + sum(len(literal.data) for literal in scanner._literals)
        assert held <= 6000
