"""DKIM keys, published as text or by a CNAME into our zone (RFC 6376 §3.6)."""

from __future__ import annotations

from itertools import permutations

from portal.domains.evaluation.hosts import judge_alias
from portal.domains.evaluation.mistakes import has_quotes, nothing_there, unquoted
from portal.domains.evaluation.picture import Picture
from portal.domains.evaluation.texts import tags
from portal.domains.records import Advice, State, Verdict, Wanted

MOST_PIECES = 4


def judge_dkim(wanted: Wanted, picture: Picture) -> Verdict:
    """By a CNAME it is enough that it leads to us; a text has to hold the very key, however spaced and cut."""
    if wanted.type == "CNAME":
        target = wanted.values[0].rstrip(".")
        alias = picture.alias(wanted.name, "CNAME")
        if alias is not None:
            return judge_alias(wanted, alias, target, picture)
        if picture.records(wanted.name, "TXT"):
            return Verdict(State.CONFLICT, Advice.DKIM_OTHER_KEY, {"name": wanted.name})
        return nothing_there(wanted, picture)
    texts = picture.texts(wanted.name)
    if not texts:
        return nothing_there(wanted, picture)
    return _judge_texts(wanted, texts)


def _judge_texts(wanted: Wanted, texts: tuple[str, ...]) -> Verdict:
    named = {"name": wanted.name}
    keys = [_key(text) for text in texts]
    key = _key(wanted.values[0])
    if keys == [key]:
        return Verdict(State.MATCH)
    if key in keys:
        return Verdict(State.CONFLICT, Advice.DKIM_SECOND_KEY, named)
    if any(has_quotes(text) and _key(unquoted(text)) == key for text in texts):
        return Verdict(State.CONFLICT, Advice.QUOTES_INSIDE, named)
    if _is_in_pieces(wanted, texts):
        return Verdict(State.CONFLICT, Advice.SPLIT_TEXT, named)
    published = [each[1] for each in keys]
    if "" in published and any("p" in tags(text) for text in texts):
        return Verdict(State.CONFLICT, Advice.DKIM_REVOKED, named)
    if any(each and each != key[1] and key[1].startswith(each) for each in published):
        return Verdict(State.CONFLICT, Advice.CUT_OFF, named)
    return Verdict(State.STALE, Advice.DKIM_OTHER_KEY, named)


def _is_in_pieces(wanted: Wanted, texts: tuple[str, ...]) -> bool:
    """Whether several records together are the one that is wanted."""
    if not 1 < len(texts) <= MOST_PIECES:
        return False
    return any(_key("".join(order)) == _key(wanted.values[0]) for order in permutations(map(unquoted, texts)))


def _key(text: str) -> tuple[str, str]:
    found = tags(text)
    return found.get("k", "rsa").lower(), "".join(found.get("p", "").split())
