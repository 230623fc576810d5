"""ENABLE: switch on extensions that change what the server sends (RFC 5161)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from mailcore.imap.session import Replies, Session
from mailcore.imap.wire.cursor import Cursor
from mailcore.imap.wire.responses import Done, Line, Response


def _enable_utf8(session: Session) -> list[Response]:
    session.utf8 = True
    return []


def _enable_qresync(session: Session) -> list[Response]:
    told = session.use_condstore()  # RFC 7162 §3.2.3
    session.dialect = replace(session.dialect, qresync=True)
    return told


def _enable_rev2(session: Session) -> list[Response]:
    session.utf8 = True  # names and quoted strings, RFC 9051 §5.1 and §4.3
    session.dialect = replace(session.dialect, rev2=True)
    return []


ENABLEABLE: dict[str, Callable[[Session], list[Response]]] = {
    "CONDSTORE": Session.use_condstore,  # RFC 7162 §3.1
    "QRESYNC": _enable_qresync,  # RFC 7162 §3.2
    "IMAP4REV2": _enable_rev2,  # RFC 9051 §6.3.1
    "UTF8=ACCEPT": _enable_utf8,  # RFC 6855 §3
}
"""What can be enabled; an extension adds its row here."""

SPELLINGS = {"IMAP4REV2": "IMAP4rev2"}
"""Names that are not written in capitals."""


def parse_enable(cursor: Cursor) -> tuple[str, ...]:
    """Read `1*(SP capability)`."""
    names: list[str] = []
    while not names or not cursor.at_end():
        cursor.space()
        names.append(cursor.word())
    cursor.end()
    return tuple(dict.fromkeys(names))


def handle_enable(session: Session, args: tuple[str, ...]) -> Replies:
    """Enable what is known of the names; the answer lists what is newly enabled."""
    enabled = [name for name in args if name in ENABLEABLE and name not in session.enabled]
    told = [SPELLINGS.get(name, name) for name in enabled]
    yield Line(" ".join(["ENABLED", *told]).encode("ascii"))
    for name in enabled:
        session.enabled.add(name)
        yield from ENABLEABLE[name](session)
    return Done("ENABLE completed")
