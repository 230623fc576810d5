"""Names that lead to our servers: CNAMEs, and SRV records (RFC 2782, RFC 6186, RFC 8314)."""

from __future__ import annotations

from portal.domains.evaluation.mistakes import alias_in_the_way, is_doubled, nothing_there
from portal.domains.evaluation.picture import Picture
from portal.domains.evaluation.providers import provider_of, proxy_of
from portal.domains.records import Advice, State, Verdict, Wanted


def judge_host(wanted: Wanted, picture: Picture) -> Verdict:
    """A CNAME to our host, or the very addresses of that host: some DNS hosts put them in a CNAME's place."""
    target = wanted.values[0].rstrip(".")
    alias = picture.alias(wanted.name, "CNAME")
    if alias is not None:
        return judge_alias(wanted, alias, target, picture)
    addresses = picture.addresses(wanted.name)
    if not addresses:
        return nothing_there(wanted, picture)
    if addresses <= picture.addresses(target):
        return Verdict(State.MATCH)
    named = {"name": wanted.name, "target": target, "addresses": ", ".join(sorted(addresses))}
    proxy = next(filter(None, map(proxy_of, sorted(addresses))), None)
    if proxy is not None:
        return Verdict(State.CONFLICT, Advice.PROXIED, named | {"proxy": proxy})
    return Verdict(State.CONFLICT, Advice.ADDRESS_INSTEAD, named)


def judge_alias(wanted: Wanted, alias: str, target: str, picture: Picture) -> Verdict:
    """Compare where a CNAME leads with where it should."""
    if alias == target:
        return Verdict(State.MATCH)
    if is_doubled(alias, target, picture.domain):
        return Verdict(State.CONFLICT, Advice.DOUBLED_TARGET, {"doubled": alias, "target": target})
    provider = provider_of(alias)
    named = {"name": wanted.name, "target": target, "published": alias, "provider": provider or ""}
    if provider is not None:
        return Verdict(State.STALE, Advice.LEFTOVER_TARGET, named)
    return Verdict(State.CONFLICT, Advice.OTHER_TARGET, named)


def judge_srv(wanted: Wanted, picture: Picture) -> Verdict:
    """The target and port count; priority and weight are the owner's."""
    alias = alias_in_the_way(wanted, picture)
    if alias is not None:
        return alias
    published = {_service(record) for record in picture.records(wanted.name, "SRV")}
    if not published:
        return nothing_there(wanted, picture)
    ours = {_service(value) for value in wanted.values}
    if published == ours:
        return Verdict(State.MATCH)
    for host, _ in published - ours:
        [(target, _), *_] = ours
        if is_doubled(host, target, picture.domain):
            return Verdict(State.CONFLICT, Advice.DOUBLED_TARGET, {"doubled": host, "target": target})
    others = ", ".join(sorted(f"{host or '.'}:{port}" for host, port in published - ours))
    provider = next(filter(None, (provider_of(host) for host, _ in sorted(published - ours))), None)
    named = {"name": wanted.name, "target": ", ".join(wanted.values), "published": others, "provider": provider or ""}
    if provider is not None:
        return Verdict(State.STALE, Advice.LEFTOVER_TARGET, named)
    return Verdict(State.CONFLICT, Advice.OTHER_TARGET, named)


def _service(record: str) -> tuple[str, int]:
    _, _, port, host = record.split()
    return host.rstrip(".").lower(), int(port)
