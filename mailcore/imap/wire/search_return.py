"""What a SEARCH or SORT is to return (RFC 4731, RFC 5182 SAVE, RFC 9394 PARTIAL)."""

from __future__ import annotations

from dataclasses import dataclass

from mailcore.errors import SyntaxFault
from mailcore.imap.wire.cursor import Cursor
from mailcore.imap.wire.partial_range import PartialRange, read_partial_range


@dataclass(frozen=True, slots=True)
class ReturnOptions:
    """Rule `search-return-opts`.

    Attributes:
        names: of MIN, MAX, ALL, COUNT, SAVE.
        partial: which part of the result (RFC 9394 §3.1).
    """

    names: frozenset[str] = frozenset({"ALL"})
    partial: PartialRange | None = None

    @property
    def saves(self) -> bool:
        """Whether the result is what `$` stands for afterwards."""
        return "SAVE" in self.names

    @property
    def tells(self) -> bool:
        """Whether there is anything to answer."""
        return bool(self.names - {"SAVE"}) or self.partial is not None


def read_return_options(cursor: Cursor) -> ReturnOptions | None:
    """Read `["RETURN" SP "(" [search-return-opt *(SP search-return-opt)] ")" SP]`; None: the older answer."""
    if not cursor.accept_word(b"RETURN"):
        return None
    cursor.space()
    options = cursor.parenthesized(lambda: _option(cursor), may_be_empty=True)
    cursor.space()
    names = frozenset(name for name, _ in options if name != "PARTIAL")
    partials = [partial for _, partial in options if partial is not None]
    if len(partials) > 1 or (partials and "ALL" in names):
        raise SyntaxFault("PARTIAL goes with neither ALL nor another PARTIAL")  # RFC 9394 §3.1
    if not options:
        return ReturnOptions()
    return ReturnOptions(names, partials[0] if partials else None)


def _option(cursor: Cursor) -> tuple[str, PartialRange | None]:
    name = cursor.word()
    if name == "PARTIAL":
        cursor.space()
        return name, read_partial_range(cursor)
    if name not in {"MIN", "MAX", "ALL", "COUNT", "SAVE"}:
        raise SyntaxFault("unknown RETURN option")
    return name, None
