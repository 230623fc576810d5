"""Comparators (RFC 4790, RFC 5051; RFC 5228 §2.7.3): in which eyes two texts are the same, and which comes first."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from mailcore.message.text import normalize

_NUMBER = re.compile(r"[0-9]+")


@dataclass(frozen=True, slots=True)
class Comparator:
    """One of them."""

    name: str
    fold: Callable[[str], str]
    """Texts whose folds are the same are the same, and the order of folds is theirs."""
    has_substrings: bool = True
    """It can look for one text within another."""
    folds_case: bool = False
    cost: int = 8
    """Folding 2 to the power of this many characters is a step, if they are not all ASCII."""

    def steps(self, text: str) -> int:
        """What folding a text costs."""
        return 1 + (len(text) >> (10 if text.isascii() else self.cost))


def ascii_upper(text: str) -> str:
    """With the letters a to z as capitals, all else as it is (RFC 4790 §9.2)."""
    if text.isascii():
        return text.upper()
    return text.encode("utf-8", "surrogatepass").upper().decode("utf-8", "surrogatepass")


def ascii_lower(text: str) -> str:
    """With the letters A to Z as small ones, all else as it is."""
    if text.isascii():
        return text.lower()
    return text.encode("utf-8", "surrogatepass").lower().decode("utf-8", "surrogatepass")


def number_key(text: str) -> str:
    """A key whose order is that of the numbers that texts begin with; without one it is infinite (RFC 4790 §9.1)."""
    match = _NUMBER.match(text)
    if match is None:
        return "~"
    digits = match[0].lstrip("0")
    return f"{len(digits):08}{digits}"


OCTET = Comparator("i;octet", lambda text: text)
ASCII_CASEMAP = Comparator("i;ascii-casemap", ascii_upper, folds_case=True)
ASCII_NUMERIC = Comparator("i;ascii-numeric", number_key, has_substrings=False)
UNICODE_CASEMAP = Comparator("i;unicode-casemap", normalize, folds_case=True, cost=3)

COMPARATORS = {each.name: each for each in (OCTET, ASCII_CASEMAP, ASCII_NUMERIC, UNICODE_CASEMAP)}
BUILT_IN = frozenset({"i;octet", "i;ascii-casemap"})
"""What needs no `require` (RFC 5228 §2.7.3)."""
