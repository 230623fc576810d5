"""ID: who is talking (RFC 2971)."""

from __future__ import annotations

from mailcore.errors import SyntaxFault
from mailcore.imap.session import Replies, Session
from mailcore.imap.wire.cursor import Cursor
from mailcore.imap.wire.responses import Done, Line

MAX_FIELDS = 30
MAX_FIELD_BYTES = 30
MAX_VALUE_BYTES = 1024


def parse_id(cursor: Cursor) -> dict[str, str]:
    """Read `SP id-params-list`; values that are NIL are left out."""
    cursor.space()
    if cursor.accept_word(b"NIL"):
        cursor.end()
        return {}
    pairs = cursor.parenthesized(lambda: _pair(cursor), may_be_empty=True)
    cursor.end()
    if len(pairs) > MAX_FIELDS:
        raise SyntaxFault("too many ID fields")
    return {name: value for name, value in pairs if value is not None}


def _pair(cursor: Cursor) -> tuple[str, str | None]:
    name = cursor.string()
    cursor.space()
    value = cursor.nstring()
    if len(name) > MAX_FIELD_BYTES or (value is not None and len(value) > MAX_VALUE_BYTES):
        raise SyntaxFault("ID field is too long")
    return name.decode("ascii", "replace"), None if value is None else value.decode("utf-8", "replace")


def handle_id(session: Session, args: dict[str, str]) -> Replies:
    """Note what the client says of itself; tell our name and no version."""
    session.client_id = args
    yield Line(b'ID ("name" "Eider")')
    return Done("ID completed")
