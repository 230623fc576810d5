"""`:regex` (draft-ietf-sieve-regex): POSIX extended regular expressions, leftmost and longest.

RE2 does the work, in time that is linear in the text and in bounded memory (decision 10).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from mailcore.sieve.call import Call, prepared
from mailcore.sieve.comparators import Comparator
from mailcore.sieve.forms import Extension, Match, MatchType, TagForm
from mailcore.sieve.run import Run, Text

if TYPE_CHECKING:
    import re2  # imported where it is used: most processes never do, and it takes 2.5 MB

_MEMORY_BYTES = 128 * 1024
"""Of what one expression learns while it matches; beyond that it goes on slowly, and still in linear time."""
_AREA = 9
"""A step is 2 to the power of this many pairs of an octet and an instruction."""
_COMPILE_STEPS = 1000
_GROUPS_KEPT = 99
_COMPILED = 256
"""So many are ready to match in a process, whosoever they are; others are compiled again."""
_AGAIN_STEPS = 30
"""What that costs at most, besides a step for each instruction; counted once in a run whether it was needed or not."""


class Expression(NamedTuple):
    """What a script keeps of an expression; not what matches, for that grows with what it has seen."""

    pattern: str
    folds_case: bool
    size: int
    """Instructions of its program."""


@cache
def _options(*, folds_case: bool) -> re2.Options:
    import re2

    options = re2.Options()
    options.posix_syntax = True
    options.longest_match = True
    options.perl_classes = True
    options.word_boundary = True
    options.log_errors = False
    options.max_mem = _MEMORY_BYTES
    options.case_sensitive = not folds_case
    return options


@lru_cache(maxsize=_COMPILED)
def _compiled(pattern: str, *, folds_case: bool) -> Any:
    """The expression, ready to match; of all scripts of a process those used last are kept."""
    import re2

    return re2.compile(pattern, _options(folds_case=folds_case))


def _check(pattern: str, most: int, *, folds_case: bool) -> Expression:
    """An expression that can be compiled.

    Raises:
        ValueError: malformed, or larger than `most` instructions.
    """
    import re2

    if "[[." in pattern or "[[=" in pattern:
        raise ValueError("Collating elements such as [[.x.]] and [[=x=]] are not supported in regular expressions.")
    pattern = pattern.replace("\r\n", "\n")
    try:
        size = _compiled(pattern, folds_case=folds_case).programsize
    except (re2.error, UnicodeEncodeError) as error:
        reason = error.args[0] if error.args else b""
        told = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise ValueError(f"This regular expression is malformed or too large: {told[:200]}.") from error
    if size > most:
        raise ValueError("This regular expression is too large: shorten its repetitions.")
    return Expression(pattern, folds_case, size)


def _regex(call: Call, comparator: Comparator, keys: tuple[Text, ...]) -> Match:
    """One of the expressions is found in a value."""
    if not comparator.has_substrings:
        raise call.flaw(f'":regex" does not go with "{comparator.name}".')
    most = call.limits.regex_size
    call.compiler.regexes += len(keys)
    if call.compiler.regexes > call.limits.regexes:
        raise call.flaw(f"A script may have {call.limits.regexes} regular expressions at most.")
    wanted = prepared(call, keys, lambda key: _check(key, most, folds_case=comparator.folds_case), steps=_COMPILE_STEPS)
    keeps = call.compiler.has("variables")

    def match(run: Run, values: Sequence[str]) -> bool:
        expressions = wanted(run)
        for value in values:
            octets = (value.replace("\r\n", "\n") if "\n" in value else value).encode("utf-8", "replace")
            for expression in expressions:
                run.meter.pay_once(expression, _AGAIN_STEPS + expression.size)
                run.spend(2 + (len(octets) * expression.size >> _AREA))
                found = _compiled(expression.pattern, folds_case=expression.folds_case).search(octets)
                if found is None:
                    continue
                if keeps:
                    groups = (found.group(0), *found.groups(default=b"")[:_GROUPS_KEPT])
                    run.matched = tuple(group.decode("utf-8", "replace") for group in groups)
                return True
        return False

    return match


EXTENSION = Extension(
    "regex",
    tags={
        "match-type": (MatchType("regex", group="match-type", compile=_regex),),
        "set": (TagForm("quoteregex", group="quote"),),
    },
)
