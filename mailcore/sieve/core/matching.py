"""Match types and address parts that need no `require` (RFC 5228 §2.7)."""

from __future__ import annotations

from collections.abc import Sequence

from mailcore.sieve.call import Call, prepared
from mailcore.sieve.comparators import Comparator
from mailcore.sieve.forms import AddressPart, Kind, Match, MatchType, TagForm
from mailcore.sieve.glob import Glob
from mailcore.sieve.run import Run, Text

_VARIABLES_KEPT = 99
_GLOB_STEPS = 100
"""What it costs to compile a pattern."""
_AREA = 12
"""A step is 2 to the power of this many pairs of characters compared."""
_LINEAR_FROM, _LINEAR_AS = 30_000, 8
"""Texts of this length are searched in linear time, as if for keys of 8; shorter ones at worst in the product."""
_SHORT = 512


def folded(run: Run, comparator: Comparator, value: str) -> str:
    """A value as the comparator sees it; counted. A long one is folded once for a message and counted once in a run."""
    if len(value) > _SHORT:
        return run.fold(comparator, value)
    run.spend(comparator.steps(value))
    return comparator.fold(value)


def _is(call: Call, comparator: Comparator, keys: tuple[Text, ...]) -> Match:
    """`:is`: the same, all of it."""
    wanted = prepared(call, keys, comparator.fold)
    if all(isinstance(key, str) for key in keys):
        known = frozenset(map(comparator.fold, map(str, keys)))
        return lambda run, values: any(folded(run, comparator, value) in known for value in values)

    def match(run: Run, values: Sequence[str]) -> bool:
        now = wanted(run)
        return any(folded(run, comparator, value) in now for value in values)

    return match


def _contains(call: Call, comparator: Comparator, keys: tuple[Text, ...]) -> Match:
    """`:contains`: somewhere within."""
    _check_substrings(call, comparator)
    wanted = prepared(call, keys, comparator.fold)

    def match(run: Run, values: Sequence[str]) -> bool:
        now = wanted(run)
        size = sum(map(len, now))
        for value in values:
            text = folded(run, comparator, value)
            if len(text) < _LINEAR_FROM:
                run.spend(len(now) + (len(text) * size >> _AREA))
            else:
                run.spend(len(now) + (len(text) * min(size, _LINEAR_AS * len(now)) >> _AREA))
            for key in now:
                if key in text:
                    return True
        return False

    return match


def _matches(call: Call, comparator: Comparator, keys: tuple[Text, ...]) -> Match:
    """`:matches`: a pattern with wildcards fits all of it."""
    _check_substrings(call, comparator)
    wanted = prepared(call, keys, lambda key: Glob(key, comparator.fold), _GLOB_STEPS)
    keeps = call.compiler.has("variables")

    def match(run: Run, values: Sequence[str]) -> bool:
        globs = wanted(run)
        for value in values:
            text = folded(run, comparator, value)
            for glob in globs:
                run.spend(glob.pieces + (len(text) * glob.size >> _AREA))
                spans = glob.match(text)
                if spans is None:
                    continue
                if keeps:
                    source = value if len(value) == len(text) else text
                    run.matched = (value, *(source[start:end] for start, end in spans[:_VARIABLES_KEPT]))
                return True
        return False

    return match


def _check_substrings(call: Call, comparator: Comparator) -> None:
    if not comparator.has_substrings:
        raise call.flaw(f'"{comparator.name}" compares whole numbers: use it with ":is", ":value" or ":count".')


def _local_part(address: str) -> str:
    return address.rpartition("@")[0] if "@" in address else address


def _domain(address: str) -> str | None:
    return address.rpartition("@")[2] if "@" in address else None


TAGS: dict[str, tuple[TagForm, ...]] = {
    "match-type": (
        MatchType("is", group="match-type", compile=_is),
        MatchType("contains", group="match-type", compile=_contains),
        MatchType("matches", group="match-type", compile=_matches),
    ),
    "comparator": (TagForm("comparator", Kind.STRING),),
    "address-part": (
        AddressPart("all", group="address-part", take=lambda address: address),
        AddressPart("localpart", group="address-part", take=_local_part),
        AddressPart("domain", group="address-part", take=_domain),
    ),
}
