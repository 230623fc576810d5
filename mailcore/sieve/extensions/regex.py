"""`:regex` (draft-ietf-sieve-regex): POSIX extended regular expressions, leftmost and longest.

RE2 does the work, in time that is linear in the text and in bounded memory (decision 10).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import re2

from mailcore.sieve.call import Call, prepared
from mailcore.sieve.comparators import Comparator
from mailcore.sieve.forms import Extension, Match, MatchType, TagForm
from mailcore.sieve.run import Run, Text

_MEMORY_BYTES = 128 * 1024
"""Of what one expression learns while it matches; beyond that it goes on slowly, and still in linear time."""
_AREA = 9
"""A step is 2 to the power of this many pairs of an octet and an instruction."""
_COMPILE_STEPS = 1000
_GROUPS_KEPT = 99
_COLLATION = re.compile(r"\[[.=]")


def _options(*, folds_case: bool) -> re2.Options:
    options = re2.Options()
    options.posix_syntax = True
    options.longest_match = True
    options.perl_classes = True
    options.word_boundary = True
    options.log_errors = False
    options.max_mem = _MEMORY_BYTES
    options.case_sensitive = not folds_case
    return options


_EXACT, _ANY_CASE = _options(folds_case=False), _options(folds_case=True)


def _compile(pattern: str, most: int, *, folds_case: bool) -> Any:
    """A compiled expression.

    Raises:
        ValueError: malformed, or larger than `most` instructions.
    """
    if _COLLATION.search(pattern) and ("[[." in pattern or "[[=" in pattern):
        raise ValueError("Collating elements such as [[.x.]] and [[=x=]] are not supported in regular expressions.")
    try:
        compiled = re2.compile(pattern.replace("\r\n", "\n"), _ANY_CASE if folds_case else _EXACT)
    except (re2.error, UnicodeEncodeError) as error:
        reason = error.args[0] if error.args else b""
        told = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise ValueError(f"This regular expression is malformed or too large: {told[:200]}.") from error
    if compiled.programsize > most:
        raise ValueError("This regular expression is too large: shorten its repetitions.")
    return compiled


def _regex(call: Call, comparator: Comparator, keys: tuple[Text, ...]) -> Match:
    """One of the expressions is found in a value."""
    if not comparator.has_substrings:
        raise call.flaw(f'":regex" does not go with "{comparator.name}".')
    most = call.limits.regex_size
    call.compiler.regexes += len(keys)
    if call.compiler.regexes > call.limits.regexes:
        raise call.flaw(f"A script may have {call.limits.regexes} regular expressions at most.")
    wanted = prepared(
        call, keys, lambda key: _compile(key, most, folds_case=comparator.folds_case), steps=_COMPILE_STEPS
    )
    keeps = call.compiler.has("variables")

    def match(run: Run, values: Sequence[str]) -> bool:
        expressions = wanted(run)
        for value in values:
            octets = (value.replace("\r\n", "\n") if "\n" in value else value).encode("utf-8", "replace")
            for expression in expressions:
                run.spend(2 + (len(octets) * expression.programsize >> _AREA))
                found = expression.search(octets)
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
