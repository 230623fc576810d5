"""Lines, commands and multi-line responses, fed whole, byte by byte, and by hypothesis."""

from __future__ import annotations

import itertools
import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailcore.errors import SyntaxFault
from mailcore.pop3 import wire
from mailcore.pop3.commands import COMMANDS, parse_auth, parse_lang
from mailcore.pop3.wire import TOO_LONG, LineReader, Reply, first_lines, parse_command, stuffed

PARSERS = [
    wire.no_argument, wire.text, wire.secret, wire.message_number, wire.optional_message_number,
    wire.message_number_and_lines, parse_auth, parse_lang,
]  # fmt: skip
TEXTS = st.lists(
    st.sampled_from([b".", b"..", b"\r\n", b"\n", b"\r", b"x", b"\0", b" ", b"\r\n.\r\n", b"\n.\n", b"\xff"])
).map(b"".join)


def read_all(reader: LineReader, pieces: list[bytes]) -> list[object]:
    found: list[object] = []
    for piece in pieces:
        reader.feed(piece)
        while (line := reader.read()) is not None:
            found.append(line)
    return found


@given(st.binary(max_size=300), st.integers(1, 40), st.randoms(use_true_random=False))
def test_lines_do_not_depend_on_how_the_input_is_cut(data: bytes, limit: int, chance: object) -> None:
    whole = read_all(LineReader(limit), [data])
    assert whole == read_all(LineReader(limit), [data[at : at + 1] for at in range(len(data))])
    lines = [line.removesuffix(b"\r") for line in data.split(b"\n")[:-1]]
    assert whole == [line if len(line) <= limit else TOO_LONG for line in lines]


def test_reader_holds_no_more_than_its_limit() -> None:
    reader = LineReader(100)
    for _ in range(1000):
        reader.feed(b"x" * 100)
        assert reader.read() is None
        assert len(reader._buffer) <= 200
    reader.feed(b"\nNOOP\r\n")
    assert (reader.read(), reader.read(), reader.read()) == (TOO_LONG, b"NOOP", None)


@given(st.binary(max_size=60))
def test_no_line_raises_anything_but_a_syntax_fault(line: bytes) -> None:
    try:
        command = parse_command(line)
    except SyntaxFault:
        return
    assert re.fullmatch("[A-Z0-9]{1,16}", command.name)
    for parse in PARSERS:
        with suppress(SyntaxFault):
            parse(command.argument)


@given(st.integers(0, 10**18 - 1), st.integers(0, 10**18 - 1))
def test_numbers_are_read_back(number: int, lines: int) -> None:
    assert wire.message_number(b"%d" % number) == number
    assert wire.message_number_and_lines(b"%d %d" % (number, lines)) == (number, lines)


@given(st.sampled_from(sorted(COMMANDS)), st.binary(max_size=20).filter(lambda data: not re.search(b"[\0\r\n]", data)))
def test_commands_are_read_back(name: str, argument: bytes) -> None:
    command = parse_command(name.lower().encode() + b" " + argument)
    assert (command.name, command.argument) == (name, argument)


def test_password_is_not_shown() -> None:
    assert "sesame" not in repr(parse_command(b"PASS sesame"))
    assert "sesame" not in repr(wire.secret(b"sesame"))


def by_lines(data: bytes, end: bytes) -> bytes:
    """What a client makes of it that cuts lines at `end`."""
    body = b""
    position = 0
    while True:
        at = data.index(end, position) + len(end)
        line, position = data[position:at], at
        if line.rstrip(b"\r\n") == b".":
            assert position == len(data), "the end came early"
            return body
        body += line[1:] if line.startswith(b".") else line


@given(st.lists(TEXTS, max_size=6))
def test_stuffed_message_is_read_back_by_any_client(pieces: list[bytes]) -> None:
    """By those that cut at LF and by those that cut at CRLF, however it was cut into pieces."""
    message = b"".join(pieces)
    sent = b"".join(stuffed(iter(pieces))) + wire.END
    assert sent == b"".join(stuffed([message])) + wire.END
    added = b"" if not message or message.endswith(b"\r\n") else b"\r\n"
    assert by_lines(sent, b"\n") == message + added
    if not re.search(rb"(?<!\r)\n\.", message):
        assert by_lines(sent, b"\r\n") == message + added


@given(st.lists(TEXTS, max_size=6), st.integers(0, 12))
def test_first_lines(pieces: list[bytes], count: int) -> None:
    lines = re.findall(rb"[^\n]*\n|[^\n]+", b"".join(pieces))
    assert b"".join(first_lines(iter(pieces), count)) == b"".join(lines[:count])


def test_no_more_pieces_are_asked_for_than_the_lines_need() -> None:
    pieces = itertools.chain([b"1\r\n2\r\n", b"3\r\n4\r\n"], iter(lambda: pytest.fail("asked for more"), None))
    assert b"".join(first_lines(pieces, 3)) == b"1\r\n2\r\n3\r\n"
    assert list(first_lines(pieces, 0)) == []


def test_reply_is_one_line() -> None:
    assert Reply(False, "Try again", "SYS/TEMP").encode() == b"-ERR [SYS/TEMP] Try again\r\n"
    assert wire.ok("Fine").encode() == b"+OK Fine\r\n"
