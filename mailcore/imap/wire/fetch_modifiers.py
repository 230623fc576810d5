"""What narrows a FETCH down (RFC 4466 §2.4 `fetch-modifiers`)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mailcore.errors import SyntaxFault
from mailcore.imap.wire.cursor import Cursor
from mailcore.imap.wire.modseq import read_modseq
from mailcore.imap.wire.partial_range import PartialRange, read_partial_range
from mailcore.model.ids import ModSeq


@dataclass(frozen=True, slots=True)
class FetchModifiers:
    """Of the messages named only some.

    Attributes:
        changed_since: those that changed later (RFC 7162 §3.1.4.1).
        vanished: and first which are gone (RFC 7162 §3.2.6).
        partial: of those the ones at the places in this range (RFC 9394 §3.3).
    """

    changed_since: ModSeq | None = None
    vanished: bool = False
    partial: PartialRange | None = None


def read_fetch_modifiers(cursor: Cursor, *, by_uid: bool) -> FetchModifiers:
    """Read `[SP "(" fetch-modifier *(SP fetch-modifier) ")"]`."""
    if not cursor.accept(b" "):
        return FetchModifiers()
    modifiers = FetchModifiers()
    seen: set[str] = set()

    def read_one() -> None:
        nonlocal modifiers
        name = cursor.word()
        if name in seen:
            raise SyntaxFault("the same modifier twice")
        seen.add(name)
        modifiers = _with(modifiers, name, cursor)

    cursor.parenthesized(read_one)
    if modifiers.vanished and not (by_uid and modifiers.changed_since is not None):
        raise SyntaxFault("VANISHED is for UID FETCH with CHANGEDSINCE")
    if modifiers.partial is not None and not by_uid:
        raise SyntaxFault("PARTIAL is for UID FETCH")
    return modifiers


def _with(modifiers: FetchModifiers, name: str, cursor: Cursor) -> FetchModifiers:
    """Read what stands behind a modifier's name."""
    if name == "VANISHED":
        return replace(modifiers, vanished=True)
    if name == "CHANGEDSINCE":
        cursor.space()
        return replace(modifiers, changed_since=read_modseq(cursor))
    if name == "PARTIAL":
        cursor.space()
        return replace(modifiers, partial=read_partial_range(cursor))
    raise SyntaxFault("unknown FETCH modifier")
