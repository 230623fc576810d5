"""Flags as scripts write them: names in lists and apart by blanks within a string (RFC 5232 §2)."""

from __future__ import annotations

from collections.abc import Iterable

from mailcore.model.flags import SYSTEM_FLAGS, FlagSet
from mailcore.model.limits import DEFAULT_LIMITS

_SYSTEM = {name.lower(): name for name in SYSTEM_FLAGS}
_UNFIT = frozenset('(){ %*"\\]')


def split_flags(texts: Iterable[str], most: int) -> tuple[str, ...]:
    r"""The flags of a list, once each; what can be none, such as "\\Recent" or an unknown system flag, is left out.

    Args:
        texts: each may hold several.
        most: so many are kept.
    """
    found: dict[str, str] = {}
    for text in texts:
        for name in text.split():
            lowered = name.lower()
            if lowered in _SYSTEM:
                found.setdefault(lowered, _SYSTEM[lowered])
            elif _is_keyword(name):
                found.setdefault(lowered, name)
            if len(found) >= most:
                return tuple(found.values())
    return tuple(found.values())


def add_flags(present: tuple[str, ...], added: tuple[str, ...], most: int) -> tuple[str, ...]:
    """Those of both, once each."""
    return split_flags((*present, *added), most)


def remove_flags(present: tuple[str, ...], removed: tuple[str, ...]) -> tuple[str, ...]:
    """Those present that are not removed."""
    gone = {name.lower() for name in removed}
    return tuple(name for name in present if name.lower() not in gone)


def flag_set(names: Iterable[str]) -> FlagSet:
    """Names as made by `split_flags`, as a mailbox takes them."""
    system, keywords = 0, []
    for name in names:
        if name in SYSTEM_FLAGS:
            system |= SYSTEM_FLAGS[name]
        else:
            keywords.append(name)
    return FlagSet(system, tuple(keywords))


def _is_keyword(name: str) -> bool:
    """The grammar's atom (RFC 9051 §9)."""
    return (
        name.isascii() and name.isprintable() and len(name) <= DEFAULT_LIMITS.keyword_bytes and _UNFIT.isdisjoint(name)
    )
