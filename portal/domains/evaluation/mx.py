"""MX: where the domain's mail goes (RFC 5321 §5.1)."""

from __future__ import annotations

from portal.domains.evaluation.mistakes import alias_in_the_way, is_doubled, nothing_there
from portal.domains.evaluation.picture import Picture
from portal.domains.evaluation.providers import ANOTHER_HOST, provider_of
from portal.domains.records import Advice, State, Verdict, Wanted


def judge_mx(wanted: Wanted, picture: Picture) -> Verdict:
    """All of our exchangers have to be named, and nobody beside them."""
    alias = alias_in_the_way(wanted, picture)
    if alias is not None:
        return alias
    published = dict(_exchanger(record) for record in picture.records(wanted.name, "MX"))
    ours = dict(_exchanger(value) for value in wanted.values)
    if not published:
        return nothing_there(wanted, picture)
    for host in published:
        wrong = [our for our in ours if is_doubled(host, our, picture.domain)]
        if wrong:
            return Verdict(State.CONFLICT, Advice.DOUBLED_TARGET, {"doubled": host, "target": wrong[0]})
    if "" in published:
        return Verdict(State.CONFLICT, Advice.NO_MAIL_WANTED, {"domain": picture.domain})
    return _beside_others(ours, published)


def _beside_others(ours: dict[str, int], published: dict[str, int]) -> Verdict:
    others = sorted(host for host in published if host not in ours)
    named = {"hosts": ", ".join(others), "provider": next(filter(None, map(provider_of, others)), "") or ANOTHER_HOST}
    here = [host for host in ours if host in published]
    if not here:
        return Verdict(State.CONFLICT, Advice.MX_ELSEWHERE, named)
    if others:
        best = min(published[host] for host in here)
        is_used = any(published[host] <= best for host in others)
        return Verdict(*((State.CONFLICT, Advice.MX_MIXED) if is_used else (State.STALE, Advice.MX_LEFTOVER)), named)
    absent = [host for host in ours if host not in published]
    if absent:
        return Verdict(State.MISSING, Advice.MX_INCOMPLETE, {"hosts": ", ".join(absent)})
    return Verdict(State.MATCH)


def _exchanger(record: str) -> tuple[str, int]:
    preference, _, host = record.partition(" ")
    return host.strip().rstrip(".").lower(), int(preference)
