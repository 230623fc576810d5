"""Records of version and tags: ownership, DMARC (RFC 7489 §6.3), MTA-STS (RFC 8461 §3.1), TLS-RPT (RFC 8460 §3)."""

from __future__ import annotations

from portal.domains.evaluation.mistakes import alias_in_the_way, has_quotes, nothing_there, unquoted
from portal.domains.evaluation.picture import Picture
from portal.domains.records import Advice, RecordKind, State, Verdict, Wanted

_VERSION = {RecordKind.DMARC: "v=dmarc1", RecordKind.MTA_STS: "v=stsv1", RecordKind.TLS_RPT: "v=tlsrptv1"}


def judge_ownership(wanted: Wanted, picture: Picture) -> Verdict:
    """The token has to stand at the name itself: a CNAME, of a wildcard say, would let its target prove the domain."""
    alias = alias_in_the_way(wanted, picture)
    if alias is not None:
        return alias
    records = [record.strip() for record in picture.records(wanted.name, "TXT")]
    [token] = wanted.values
    if token in records:
        return Verdict(State.MATCH)
    if any(unquoted(record) == token for record in records):
        return Verdict(State.CONFLICT, Advice.QUOTES_INSIDE, {"name": wanted.name})
    if any(record.startswith(token.partition("=")[0]) for record in records):
        return Verdict(State.STALE, Advice.OTHER_TOKEN, {"name": wanted.name})
    return nothing_there(wanted, picture)


def judge_policy(wanted: Wanted, picture: Picture) -> Verdict:
    """One record of the version, valid; who wants a stricter policy than ours, or reports elsewhere, is free to."""
    version = _VERSION[wanted.kind]
    texts = picture.texts(wanted.name)
    valid = [text for text in texts if _has_version(text, version)]
    if len(valid) > 1:
        return Verdict(State.CONFLICT, Advice.SECOND_POLICY, {"name": wanted.name, "count": str(len(valid))})
    if not valid:
        if any(has_quotes(text) and _has_version(unquoted(text), version) for text in texts):
            return Verdict(State.CONFLICT, Advice.QUOTES_INSIDE, {"name": wanted.name})
        return nothing_there(wanted, picture)
    return _judge_tags(wanted, tags(valid[0]))


def _judge_tags(wanted: Wanted, published: dict[str, str]) -> Verdict:
    invalid = Verdict(State.CONFLICT, Advice.POLICY_INVALID, {"name": wanted.name, "value": wanted.values[0]})
    if wanted.kind is RecordKind.DMARC:
        is_valid = published.get("p", "").lower() in {"none", "quarantine", "reject"}
        return Verdict(State.MATCH) if is_valid else invalid
    if wanted.kind is RecordKind.TLS_RPT:
        return Verdict(State.MATCH) if published.get("rua", "").startswith(("mailto:", "https:")) else invalid
    is_current = published.get("id") == tags(wanted.values[0])["id"]
    return Verdict(State.MATCH) if is_current else Verdict(State.STALE, Advice.OLD_POLICY_ID, {"name": wanted.name})


def tags(text: str) -> dict[str, str]:
    """Return the tags of a record such as `v=DMARC1; p=none`, names in lower case."""
    pairs = (part.partition("=") for part in text.split(";") if "=" in part)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _has_version(text: str, version: str) -> bool:
    return "".join(text.partition(";")[0].split()).lower() == version
