"""Commands from bytes, as the scanner makes them."""

from __future__ import annotations

from mailcore.imap.wire.cursor import Cursor
from mailcore.imap.wire.scanner import Command, Event, LiteralOffered, Scanner


def scan_all(scanner: Scanner) -> list[Event]:
    """Every event there is now; offered literals are taken."""
    events: list[Event] = []
    while (event := scanner.read_command()) is not None:
        if isinstance(event, LiteralOffered):
            scanner.accept()
        else:
            events.append(event)
    return events


def command_of(data: bytes) -> Command:
    """The one command in `data`."""
    scanner = Scanner(1 << 20, 1 << 20)
    scanner.feed(data)
    (event,) = scan_all(scanner)
    assert isinstance(event, Command)
    return event


def cursor_of(arguments: bytes, *, utf8: bool = False) -> Cursor:
    """A cursor at the beginning of `arguments`, which may have literals."""
    cursor = Cursor(command_of(b"a X " + arguments + b"\r\n"), utf8=utf8)
    cursor.space()
    return cursor
