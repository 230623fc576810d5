"""SPF (RFC 7208): one record, ours merged into what the owner has, never in its place."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from portal.domains.evaluation.mistakes import alias_in_the_way, has_quotes, nothing_there, unquoted
from portal.domains.evaluation.picture import Picture
from portal.domains.evaluation.providers import provider_of
from portal.domains.records import Advice, State, Verdict, Wanted

MOST_LOOKUPS: Final = 10
"""RFC 7208 §4.6.4."""
DEEPEST: Final = 10
_TERM: Final = re.compile(
    r"[+?~-]?(?:all|include:[^\s]+|a(?:[:/][^\s]+)?|mx(?:[:/][^\s]+)?|ptr(?::[^\s]+)?|ip4:[^\s]+|ip6:[^\s]+|exists:[^\s]+)"
    r"|[a-z][a-z0-9._-]*=[^\s]*",
    re.IGNORECASE,
)
_ALL: Final = re.compile(r"[+?~-]?all", re.IGNORECASE)


def judge_spf(wanted: Wanted, picture: Picture) -> Verdict:
    """One record that names us before `all`, within ten look-ups, and does not let everybody send."""
    alias = alias_in_the_way(wanted, picture)
    if alias is not None:
        return alias
    ours = our_terms(wanted.values[0])
    texts = picture.records(wanted.name, "TXT")
    found = [text for text in texts if is_spf(text)]
    if not found:
        if any(has_quotes(text) and is_spf(unquoted(text)) for text in texts):
            return Verdict(State.CONFLICT, Advice.QUOTES_INSIDE, {"name": wanted.name})
        return nothing_there(wanted, picture)
    proposal = (merge(found, ours),)
    if len(found) > 1:
        return Verdict(State.CONFLICT, Advice.SECOND_SPF, {"count": str(len(found)), "merged": proposal[0]}, proposal)
    return _judge_one(found[0], ours, proposal, picture)


def _judge_one(text: str, ours: Sequence[str], proposal: tuple[str, ...], picture: Picture) -> Verdict:
    terms = text.split()[1:]
    lowered = [term.lower().lstrip("+") for term in terms]
    wrong = next((term for term in terms if _TERM.fullmatch(term) is None), None)
    if wrong is not None:
        return Verdict(State.CONFLICT, Advice.SPF_SYNTAX, {"term": wrong})
    if not all(our in lowered for our in ours):
        return Verdict(State.CONFLICT, Advice.SPF_WITHOUT_US, {"merged": proposal[0]}, proposal)
    end = next((at for at, term in enumerate(lowered) if _ALL.fullmatch(term)), len(lowered))
    if any(our not in lowered[:end] for our in ours):
        return Verdict(State.CONFLICT, Advice.SPF_AFTER_ALL, {"merged": proposal[0]}, proposal)
    if lowered[end : end + 1] == ["all"]:
        return Verdict(State.CONFLICT, Advice.SPF_EVERYBODY, {"domain": picture.domain})
    lookups = count_lookups(text, picture)
    if lookups > MOST_LOOKUPS:
        return Verdict(State.CONFLICT, Advice.SPF_LOOKUPS, {"count": str(lookups), "most": str(MOST_LOOKUPS)})
    for term in lowered:
        provider = provider_of(term.removeprefix("include:"))
        if provider is not None and term not in ours:
            return Verdict(State.MATCH, Advice.SPF_LEFTOVER, {"term": term, "provider": provider}, (text,))
    return Verdict(State.MATCH, proposal=(text,))


def is_spf(text: str) -> bool:
    """Whether a TXT record is meant for SPF (RFC 7208 §4.5)."""
    return text.split(" ", maxsplit=1)[0].lower() == "v=spf1"


def our_terms(text: str) -> tuple[str, ...]:
    """Return what names us in the record that is wanted where there is none: all but version and `all`."""
    return tuple(term.lower() for term in text.split()[1:] if not _ALL.fullmatch(term))


def merge(found: Sequence[str], ours: Sequence[str]) -> str:
    """Return one record with all that is there, ours before `all`; of several `all` the mildest counts."""
    terms: list[str] = []
    ends: list[str] = []
    modifiers: list[str] = []
    for text in sorted(found):  # whichever server or provider names them first
        for term in text.split()[1:]:
            if _ALL.fullmatch(term):
                ends.append(term.lower())
            elif "=" in term and not term.lower().startswith(("exists", "include")):
                modifiers.append(term)
            elif term.lower() not in (each.lower() for each in terms):
                terms.append(term)
    terms += [our for our in ours if our not in (term.lower().lstrip("+") for term in terms)]
    end = next((each for each in ("?all", "~all", "-all") if each in ends), "~all")
    is_redirected = any(modifier.lower().startswith("redirect=") for modifier in modifiers)
    return " ".join(["v=spf1", *terms, *([] if is_redirected and not ends else [end]), *dict.fromkeys(modifiers)])


def count_lookups(text: str, picture: Picture) -> int:
    """Return how many questions a receiver has to ask for a record; it stops counting where twice too many are seen.

    What is not known yet counts once, and so does an include that leads back to where it came from.
    """
    lookups = 0
    left: list[tuple[str, tuple[str, ...]]] = [(text, ())]
    while left and lookups <= 2 * MOST_LOOKUPS:
        record, path = left.pop()
        for term in record.split()[1:]:
            name, _, value = term.lower().lstrip("+-~?").replace("redirect=", "include:").partition(":")
            if name.partition("/")[0] not in {"include", "a", "mx", "ptr", "exists"}:
                continue
            lookups += 1
            if name == "include" and "%" not in value and value not in path and len(path) < DEEPEST:
                left += [(inner, (*path, value)) for inner in picture.texts(value) if is_spf(inner)][:1]
    return lookups
