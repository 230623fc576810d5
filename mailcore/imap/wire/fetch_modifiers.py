"""What narrows a FETCH down (RFC 4466 §2.4 `fetch-modifiers`)."""

from __future__ import annotations

from dataclasses import dataclass

from mailcore.errors import SyntaxFault
from mailcore.imap.wire.cursor import Cursor
from mailcore.imap.wire.modseq import read_modseq
from mailcore.model.ids import ModSeq


@dataclass(frozen=True, slots=True)
class FetchModifiers:
    """Of the messages named only some.

    Attributes:
        changed_since: those that changed later (RFC 7162 §3.1.4.1).
        vanished: and first which are gone (RFC 7162 §3.2.6).
    """

    changed_since: ModSeq | None = None
    vanished: bool = False


def read_fetch_modifiers(cursor: Cursor, *, by_uid: bool) -> FetchModifiers:
    """Read `[SP "(" fetch-modifier *(SP fetch-modifier) ")"]`."""
    if not cursor.accept(b" "):
        return FetchModifiers()
    found: dict[str, ModSeq] = {}
    for name, modseq in cursor.parenthesized(lambda: _modifier(cursor)):
        if name in found:
            raise SyntaxFault("the same modifier twice")
        found[name] = modseq
    if "VANISHED" in found and not (by_uid and "CHANGEDSINCE" in found):
        raise SyntaxFault("VANISHED is for UID FETCH with CHANGEDSINCE")
    return FetchModifiers(found.get("CHANGEDSINCE"), "VANISHED" in found)


def _modifier(cursor: Cursor) -> tuple[str, ModSeq]:
    name = cursor.word()
    if name == "CHANGEDSINCE":
        cursor.space()
        return name, read_modseq(cursor)
    if name == "VANISHED":
        return name, ModSeq(0)
    raise SyntaxFault("unknown FETCH modifier")
