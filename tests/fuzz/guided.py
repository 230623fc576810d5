"""Coverage-guided fuzz of everything that reads bytes of strangers.

    python -m tests.fuzz.guided TARGET [libFuzzer options] [corpus]

Each target may raise nothing but SyntaxFault and say nothing beyond its bounds. What it raises otherwise ends
the process with the input in a file, from which the same command repeats it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import atheris

with atheris.instrument_imports(include=["mailcore.imap", "mailcore.message", "mailcore.sieve", "mailcore.smtp"]):
    from mailcore.errors import SyntaxFault
    from mailcore.imap.commands import COMMANDS
    from mailcore.imap.wire.cursor import Cursor
    from mailcore.imap.wire.scanner import Command, Event, LiteralOffered, LiteralTooLarge, Scanner, TooLong
    from mailcore.message.addresses import list_addresses, parse_addresses
    from mailcore.message.dates import parse_date
    from mailcore.message.encoded_words import decode_header, decode_loose_base64
    from mailcore.message.parameters import parse_parameterized
    from mailcore.sieve import MessageView
    from mailcore.smtp.wire.command_line import parse_command_line
    from mailcore.smtp.wire.data_reader import DataReader
    from mailcore.smtp.wire.parameters import decode_xtext, parse_parameters, parse_size
    from mailcore.smtp.wire.path import parse_forward_path, parse_reverse_path

from tests.unit.message.checks import check_message
from tests.unit.sieve.checks import check_run, check_script

NAMES = sorted(COMMANDS)
COMMAND_BYTES, LITERAL_BYTES = 500, 300
DATA_BYTES = 200
GROWTH = 8
"""A decoded header is at most so many times as long as what it was made of, in characters."""


def scanner(data: bytes) -> None:
    """Commands are the same in any pieces, and never larger than the limits."""
    cut = data[0] + 1 if data else 1
    whole, pieces = _events([data]), _events([data[at : at + cut] for at in range(0, len(data), cut)])
    commands = [event for event in whole if isinstance(event, Command)]
    assert commands == [event for event in pieces if isinstance(event, Command)]
    assert _told(whole) == _told(pieces)


def _told(events: list[Event]) -> int:
    """How much was told: that a line too long ends in a literal is one event, or two where it came in pieces."""
    *before, last = events or [None]
    is_twice = isinstance(last, LiteralTooLarge) and not last.head.tag and before and isinstance(before[-1], TooLong)
    return len(events) - bool(is_twice)


def _events(pieces: list[bytes]) -> list[Event]:
    reader = Scanner(COMMAND_BYTES, LITERAL_BYTES)
    found: list[Event] = []
    for piece in pieces:
        reader.feed(piece)
        while (event := reader.read_command()) is not None:
            if isinstance(event, LiteralOffered):
                reader.accept()
                continue
            found.append(event)
            if isinstance(event, LiteralTooLarge) and event.fatal:
                return found
        held = len(reader._buffer) + len(reader._text) + sum(len(one.data) for one in reader._literals)
        assert held <= 4 * (COMMAND_BYTES + LITERAL_BYTES) + len(piece), held
    return found


def arguments(data: bytes) -> None:
    """Every command's grammar takes its arguments or refuses them."""
    if len(data) < 2:
        return
    reader = Scanner(1 << 20, 1 << 20)
    reader.feed(b"t " + NAMES[data[0] % len(NAMES)].encode() + b" " + data[2:] + b"\r\n")
    while (event := reader.read_command()) is not None:
        if isinstance(event, LiteralOffered):
            reader.accept()
        elif isinstance(event, LiteralTooLarge) and event.fatal:
            return
        elif isinstance(event, Command) and event.head.name in COMMANDS:
            _refusable(lambda: COMMANDS[event.head.name].prepare(Cursor(event, utf8=bool(data[1] & 1))))


def mime(data: bytes) -> None:
    """Any bytes are a message whose structure, envelope and texts hold what they must."""
    check_message(data)


def header(data: bytes) -> None:
    """Any bytes are a header value; decoding does not let it grow."""
    assert len(decode_header(data)) <= GROWTH * len(data) + GROWTH
    decode_loose_base64(data)
    parse_addresses(data)
    parse_date(data)
    parse_parameterized(data)
    for address in list_addresses(data):
        assert address.domain is not None or address.name is None


def smtp_line(data: bytes) -> None:
    """Command lines, paths and parameters are read or refused."""
    _refusable(lambda: parse_command_line(data))
    text = data.decode("utf-8", "surrogateescape")
    for parse in (parse_reverse_path, parse_forward_path, parse_parameters, parse_size, decode_xtext):
        _refusable(lambda: parse(text))  # type: ignore[operator]  # noqa: B023


def smtp_data(data: bytes) -> None:
    """The end of DATA is where it is, however the input is cut; no message is over the limit."""
    cut = data[0] + 1 if data else 1
    ends = []
    for pieces in ([data], [data[at : at + cut] for at in range(0, len(data), cut)]):
        reader = DataReader(DATA_BYTES)
        end = None
        taken = 0
        for piece in pieces:
            taken += len(piece)
            rest = reader.feed(piece)
            if rest is not None:
                message = reader.message()
                assert message is None or len(message) <= DATA_BYTES
                assert message is None or message == b"" or message.endswith(b"\r\n")
                end = (taken - len(rest), message, reader.is_too_large)
                break
        ends.append(end)
    assert ends[0] == ends[1], ends


def sieve(data: bytes) -> None:
    """Any bytes are a script or are refused; what runs makes an outcome of any message, behind a NUL."""
    source, _, raw = data.partition(b"\0")
    script = check_script(source)
    if script is not None:
        check_run(script, MessageView(raw))


def _refusable(parse: Callable[[], object]) -> None:
    try:
        parse()
    except SyntaxFault:
        pass


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target for target in (scanner, arguments, mime, header, smtp_line, smtp_data, sieve)
}

if __name__ == "__main__":
    atheris.Setup([sys.argv[0], *sys.argv[2:]], TARGETS[sys.argv[1]])
    atheris.Fuzz()
