"""`:value` and `:count` (RFC 5231)."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence

from mailcore.sieve.call import Call, prepared
from mailcore.sieve.comparators import Comparator
from mailcore.sieve.core.matching import folded
from mailcore.sieve.forms import Extension, Kind, Match, MatchType
from mailcore.sieve.run import Run, Text

_RELATIONS: dict[str, Callable[[str, str], bool]] = {
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
    "eq": operator.eq,
    "ne": operator.ne,
}


def _relation(call: Call) -> Callable[[str, str], bool]:
    name = call.constant(call.tag_text("match-type"), "The relation").lower()
    if name not in _RELATIONS:
        raise call.flaw(f'"{name[:100]}" is no relation: {", ".join(_RELATIONS)} are.')
    return _RELATIONS[name]


def _value(call: Call, comparator: Comparator, keys: tuple[Text, ...]) -> Match:
    """A value stands in this relation to a key, in the comparator's order."""
    holds = _relation(call)
    wanted = prepared(call, keys, comparator.fold)

    def match(run: Run, values: Sequence[str]) -> bool:
        now = wanted(run)
        for value in values:
            text = folded(run, comparator, value)
            run.spend(len(now))
            if any(holds(text, key) for key in now):
                return True
        return False

    return match


def _count(call: Call, comparator: Comparator, keys: tuple[Text, ...]) -> Match:
    """The number of values stands in this relation to a key."""
    holds = _relation(call)
    wanted = prepared(call, keys, comparator.fold)

    def match(run: Run, values: Sequence[str]) -> bool:
        count = comparator.fold(str(len(values)))
        return any(holds(count, key) for key in wanted(run))

    return match


EXTENSION = Extension(
    "relational",
    tags={
        "match-type": (
            MatchType("value", Kind.STRING, group="match-type", compile=_value),
            MatchType("count", Kind.STRING, group="match-type", compile=_count),
        )
    },
)
