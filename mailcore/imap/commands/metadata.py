"""GETMETADATA and SETMETADATA: annotations of a mailbox, or with an empty name of the server (RFC 5464)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from mailcore.errors import LimitExceeded, SyntaxFault
from mailcore.imap.commands.create import SPECIAL_USES
from mailcore.imap.name_changes import SPECIAL_USE_ENTRY
from mailcore.imap.session import Replies, Session
from mailcore.imap.wire.cursor import Cursor
from mailcore.imap.wire.mailbox_name import decode_name
from mailcore.imap.wire.responses import Completion, Done, MailboxResponse, No, astring, metadata_value
from mailcore.model.ids import MailboxName
from mailcore.model.limits import DEFAULT_LIMITS
from mailcore.services.mailboxes.access import Place
from mailcore.services.mailboxes.metadata import PRIVATE, SHARED

_NAME = re.compile(rb"(?:/[^\x00-\x1f\x7f-\xff*%/]+)+\Z")
_ROOTS = frozenset({PRIVATE.rstrip("/"), SHARED.rstrip("/")})
MAX_ENTRY_BYTES = 255
MAX_ENTRIES = 100


@dataclass(frozen=True, slots=True)
class GetMetadataArgs:
    """Which entries; `depth`: how many levels below them too, None for all; `max_bytes` of a value."""

    name: MailboxName | None
    entries: tuple[str, ...]
    depth: int | None = 0
    max_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class SetMetadataArgs:
    """Values by entry; None removes."""

    name: MailboxName | None
    values: dict[str, bytes | None]


def parse_getmetadata(cursor: Cursor) -> GetMetadataArgs:
    """Read `[SP options] SP mailbox [SP options] SP entries`.

    The grammar has the options first, the RFC's examples have them second; clients do either.
    """
    cursor.space()
    options: dict[str, int | None] = {}
    if cursor.peek() == b"(":
        options = dict(cursor.parenthesized(lambda: _option(cursor)))
        cursor.space()
    name = _mailbox(cursor)
    cursor.space()
    if cursor.peek() != b"(":
        entries = [_asked(cursor)]
    else:
        first = cursor.parenthesized(lambda: _option_or_entry(cursor))
        entries = [word for word in first if isinstance(word, str)]
        if len(entries) < len(first):
            if entries or options:
                raise SyntaxFault("options and entries are mixed")
            options = dict(word for word in first if isinstance(word, tuple))
            cursor.space()
            one = cursor.peek() != b"("
            entries = [_asked(cursor)] if one else cursor.parenthesized(lambda: _asked(cursor))
    cursor.end()
    if len(entries) > MAX_ENTRIES:
        raise SyntaxFault("too many entries")
    return GetMetadataArgs(name, tuple(dict.fromkeys(entries)), options.get("DEPTH", 0), options.get("MAXSIZE"))


def parse_setmetadata(cursor: Cursor) -> SetMetadataArgs:
    """Read `SP mailbox SP "(" entry SP value *(SP entry SP value) ")"`."""
    cursor.space()
    name = _mailbox(cursor)
    cursor.space()
    values = dict(cursor.parenthesized(lambda: _entry_value(cursor)))
    cursor.end()
    if len(values) > MAX_ENTRIES:
        raise SyntaxFault("too many entries")
    return SetMetadataArgs(name, values)


def _mailbox(cursor: Cursor) -> MailboxName | None:
    text = cursor.astring()
    return decode_name(text, utf8=cursor.utf8) if text else None


def _option_or_entry(cursor: Cursor) -> str | tuple[str, int | None]:
    return _asked(cursor) if cursor.peek() in {b"/", b'"', b"{"} else _option(cursor)


def _option(cursor: Cursor) -> tuple[str, int | None]:
    if cursor.accept_word(b"MAXSIZE"):
        cursor.space()
        return "MAXSIZE", cursor.number()
    if not cursor.accept_word(b"DEPTH"):
        raise SyntaxFault("unknown GETMETADATA option")
    cursor.space()
    if cursor.accept_word(b"INFINITY"):
        return "DEPTH", None
    depth = cursor.number()
    if depth > 1:
        raise SyntaxFault("depth is 0, 1 or infinity")
    return "DEPTH", depth


def _asked(cursor: Cursor) -> str:
    """Read `entry` (§3.1), in lower case: below /private or /shared, or one of these, which has values below alone."""
    text = cursor.astring()
    name = text.decode("latin-1").lower()
    if (
        len(text) > MAX_ENTRY_BYTES
        or not _NAME.match(text)
        or not (name in _ROOTS or name.startswith((PRIVATE, SHARED)))
    ):
        raise SyntaxFault("entry name expected")
    return name


def _entry(cursor: Cursor) -> str:
    """Read the name of an entry that may have a value."""
    name = _asked(cursor)
    if name in _ROOTS:
        raise SyntaxFault("entry name expected")
    return name


def _entry_value(cursor: Cursor) -> tuple[str, bytes | None]:
    name = _entry(cursor)
    cursor.space()
    if cursor.accept_word(b"NIL"):
        return name, None
    return name, cursor.string() if cursor.peek() == b'"' else cursor.literal().data


def handle_getmetadata(session: Session, args: GetMetadataArgs) -> Replies:
    """Tell the values there are; those over MAXSIZE are left out, and the largest of them is told."""
    place, matches = _place(session, args.name), _matcher(args)
    found = session.services.metadata.get(session.user_id, session.actor, place, matches)
    if place is not None and matches(SPECIAL_USE_ENTRY):
        entry = session.services.mailboxes.find(place.owner_id, place.name, session.actor)
        if entry.special_use is not None and place.owner_id == session.user_id:
            found[SPECIAL_USE_ENTRY] = entry.special_use.encode()
    longest = 0
    words: list[bytes] = []
    for name, value in found.items():
        if args.max_bytes is not None and len(value) > args.max_bytes:
            longest = max(longest, len(value))
        else:
            words += [astring(name.encode("ascii")), metadata_value(value)]
    if words:
        yield MailboxResponse(b"METADATA", args.name or "", b"(" + b" ".join(words) + b")")
    return Done("GETMETADATA completed", b"METADATA LONGENTRIES %d" % longest if longest else b"")


def handle_setmetadata(session: Session, args: SetMetadataArgs) -> Completion:
    """Change the values, all or none."""
    most = DEFAULT_LIMITS.annotation_bytes
    if any(value is not None and len(value) > most for value in args.values.values()):
        return No("A value is too large", b"METADATA MAXSIZE %d" % most)
    place = _place(session, args.name)
    values = dict(args.values)
    use = values.pop(SPECIAL_USE_ENTRY, b"")
    if use != b"":
        text = (use or b"").decode("ascii", "replace").strip().lower()
        if place is None or values or (text and text not in SPECIAL_USES):
            return No("This use cannot be set so", b"CANNOT")
        session.services.mailboxes.set_special_use(
            place.owner_id, session.actor, place.name, SPECIAL_USES[text] if text else None
        )
        return Done("SETMETADATA completed")
    try:
        session.services.metadata.set(session.user_id, session.actor, place, values)
    except LimitExceeded:
        return No("There are as many annotations as may be", b"METADATA TOOMANY")
    return Done("SETMETADATA completed")


def _place(session: Session, name: MailboxName | None) -> Place | None:
    return session.place(name) if name is not None else None


def _matcher(args: GetMetadataArgs) -> Callable[[str], bool]:
    wanted = frozenset(args.entries)

    def matches(name: str) -> bool:
        if name in wanted:
            return True
        above = name.rpartition("/")[0]
        if args.depth == 1:
            return above in wanted
        while args.depth is None and above:
            if above in wanted:
                return True
            above = above.rpartition("/")[0]
        return False

    return matches
