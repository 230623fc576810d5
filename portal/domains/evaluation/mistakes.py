"""Mistakes that people make whatever the record: the domain written twice, quotes copied along, a name in the way."""

from __future__ import annotations

from portal.domains.evaluation.picture import Picture
from portal.domains.records import Advice, State, Verdict, Wanted


def nothing_there(wanted: Wanted, picture: Picture) -> Verdict:
    """Nothing stands where it should: perhaps it stands where a DNS host put the domain behind it once more."""
    doubled = f"{wanted.name}.{picture.domain}"
    if _answers(wanted, picture, doubled):
        relative = wanted.name.removesuffix(picture.domain).rstrip(".") or "@"
        return Verdict(State.MISSING, Advice.DOUBLED_NAME, {"doubled": doubled, "relative": relative})
    return Verdict(State.MISSING, Advice.NOT_FOUND, {"name": wanted.name, "type": wanted.type})


def _answers(wanted: Wanted, picture: Picture, name: str) -> bool:
    """Whether something of ours stands at a name; a wildcard of others answers everywhere and counts for nothing."""
    answer = picture.get(name, wanted.type)
    if answer is None or (wanted.type != "CNAME" and answer.alias is not None):
        return False
    words = {value.split(" ")[0 if wanted.type == "TXT" else -1].rstrip(";.") for value in wanted.values}
    return any(word in record for word in words for record in answer.records)


def alias_in_the_way(wanted: Wanted, picture: Picture) -> Verdict | None:
    """A CNAME, beside which nothing else may stand (RFC 1034 §3.6.2)."""
    alias = picture.alias(wanted.name, wanted.type)
    if alias is None:
        return None
    if wanted.name == picture.domain:
        return Verdict(State.CONFLICT, Advice.APEX_ALIAS, {"domain": picture.domain, "target": alias})
    return Verdict(State.CONFLICT, Advice.ALIAS_IN_THE_WAY, {"name": wanted.name, "target": alias, "type": wanted.type})


def unquoted(text: str) -> str:
    """Return a text without the quotes and backslashes that belong to a zone file only."""
    return text.replace('\\"', '"').replace('" "', "").strip().strip('"').replace("\\;", ";")


def has_quotes(text: str) -> bool:
    """Whether what belongs to a zone file only was copied into a text."""
    return unquoted(text) != text.strip()


def is_doubled(host: str, wanted_host: str, domain: str) -> bool:
    """Whether a DNS host put the domain behind a target that was complete already."""
    return host == f"{wanted_host}.{domain}"
