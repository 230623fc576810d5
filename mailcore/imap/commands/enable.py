"""ENABLE: switch on extensions that change what the server sends (RFC 5161)."""

from __future__ import annotations

from collections.abc import Callable

from mailcore.imap.session import Replies, Session
from mailcore.imap.wire.cursor import Cursor
from mailcore.imap.wire.responses import Done, Line


def _enable_utf8(session: Session) -> None:
    session.utf8 = True


ENABLEABLE: dict[str, Callable[[Session], None]] = {
    "UTF8=ACCEPT": _enable_utf8,  # RFC 6855 §3
}
"""What can be enabled; an extension adds its row here."""


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
    for name in enabled:
        ENABLEABLE[name](session)
        session.enabled.add(name)
    yield Line(" ".join(["ENABLED", *enabled]).encode("ascii"))
    return Done("ENABLE completed")
