"""Patterns of `:matches`: "*" any number of characters, "?" one, a backslash takes their meaning (RFC 5228 §2.7.1).

A wildcard takes as few characters as it can (RFC 5229 §3.2), so the first place where the piece between two "*" fits
is the right one: nothing is tried twice, and a match costs at most the text's length times the pattern's.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

_ITEM = re.compile(r"\\(.)|(\*)|(\?)|([^\\*?]++|\\\Z)", re.DOTALL)

_LONGEST = 1000

Span: TypeAlias = tuple[int, int]


class Glob:
    """One compiled pattern."""

    def __init__(self, pattern: str, fold: Callable[[str], str]) -> None:
        """Compile; `fold` is applied to what is literal, as the caller does to what is matched.

        Raises:
            ValueError: too long, with a sentence about it.
        """
        if "?" in pattern and len(pattern) > _LONGEST:
            raise ValueError(f'A pattern with "?" may have {_LONGEST:,} characters at most.')
        pieces: list[list[str | None]] = [[]]
        for escaped, star, single, literal in _ITEM.findall(pattern):
            if star:
                pieces.append([])
            else:
                pieces[-1].append(None if single else fold(escaped or literal))
        self.size = len(pattern)
        self.pieces = len(pieces)
        self._first, *self._others = map(_Piece, pieces)

    def match(self, text: str) -> list[Span] | None:
        """What each wildcard stands for in a folded text; None if it does not match."""
        first = self._first
        if not first.fits(text, 0) or (not self._others and len(text) != first.length):
            return None
        spans = first.singles(0)
        if not self._others:
            return spans
        at = first.length
        *middle, last = self._others
        end = len(text) - last.length
        for piece in middle:
            found = piece.find(text, at, end)
            if found < 0:
                return None
            spans.append((at, found))
            spans += piece.singles(found)
            at = found + piece.length
        if end < at or not last.fits(text, end):
            return None
        return [*spans, (at, end), *last.singles(end)]


class _Piece:
    """What stands between two "*": literal text and single characters, so of one length."""

    def __init__(self, items: list[str | None]) -> None:
        self._offsets: list[int] = []
        self.length = 0
        for item in items:
            if item is None:
                self._offsets.append(self.length)
            self.length += 1 if item is None else len(item)
        self._literal = "".join(item or "" for item in items)
        pattern = "".join("." if item is None else re.escape(item) for item in items)
        self._pattern = re.compile(pattern, re.DOTALL) if self._offsets else None

    def fits(self, text: str, at: int) -> bool:
        """Whether it is there."""
        if self._pattern is None:
            return text.startswith(self._literal, at)
        return self._pattern.match(text, at) is not None

    def find(self, text: str, at: int, end: int) -> int:
        """Where it is first, all of it before `end`; -1 if nowhere."""
        if end < at:
            return -1
        if self._pattern is None:
            return text.find(self._literal, at, end)
        match = self._pattern.search(text, at, end)
        return match.start() if match else -1

    def singles(self, at: int) -> list[Span]:
        """Where its single characters are, if it is at an offset."""
        return [(at + offset, at + offset + 1) for offset in self._offsets]
