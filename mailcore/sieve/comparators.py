"""Comparators (RFC 4790, RFC 5051; RFC 5228 §2.7.3): in which eyes two texts are the same, and which comes first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mailcore.message.text import normalize

_ASCII_UPPER = {ord(letter): ord(letter.upper()) for letter in "abcdefghijklmnopqrstuvwxyz"}
_ASCII_LOWER = {upper: lower for lower, upper in _ASCII_UPPER.items()}


@dataclass(frozen=True, slots=True)
class Comparator:
    """One of them."""

    name: str
    fold: Callable[[str], str]
    """Texts whose folds are the same are the same, and the order of folds is theirs."""
    has_substrings: bool = True
    """It can look for one text within another."""
    folds_case: bool = False
    cost: int = 10
    """Folding 2 to the power of this many characters is a step."""


def ascii_upper(text: str) -> str:
    """With the letters a to z as capitals, all else as it is (RFC 4790 §9.2)."""
    return text.upper() if text.isascii() else text.translate(_ASCII_UPPER)


def ascii_lower(text: str) -> str:
    """With the letters A to Z as small ones, all else as it is."""
    return text.lower() if text.isascii() else text.translate(_ASCII_LOWER)


def number_key(text: str) -> str:
    """A key whose order is that of the numbers that texts begin with; without one it is infinite (RFC 4790 §9.1)."""
    end = 0
    while end < len(text) and "0" <= text[end] <= "9":
        end += 1
    if end == 0:
        return "~"
    digits = text[:end].lstrip("0")
    return f"{len(digits):08}{digits}"


OCTET = Comparator("i;octet", lambda text: text)
ASCII_CASEMAP = Comparator("i;ascii-casemap", ascii_upper, folds_case=True)
ASCII_NUMERIC = Comparator("i;ascii-numeric", number_key, has_substrings=False)
UNICODE_CASEMAP = Comparator("i;unicode-casemap", normalize, folds_case=True, cost=4)

COMPARATORS = {each.name: each for each in (OCTET, ASCII_CASEMAP, ASCII_NUMERIC, UNICODE_CASEMAP)}
BUILT_IN = frozenset({"i;octet", "i;ascii-casemap"})
"""What needs no `require` (RFC 5228 §2.7.3)."""
