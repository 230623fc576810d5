"""How domains and their records are shown."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from flask_babel import gettext as _
from flask_babel import ngettext

from mailcore.model.address import display_domain
from mailcore.model.dkim import DkimKey, DkimKeyState
from portal.domains.errors import NO_ANSWER, OFF, TOKEN_GONE, DomainNotClaimable, Refusal
from portal.domains.evaluation.providers import ANOTHER_HOST
from portal.domains.models import DomainClaim, RecordResult
from portal.domains.records import Advice, RecordKind, State
from portal.domains.sentences import SENTENCES
from portal.domains.under_way import is_looking, is_under_way, version
from portal.domains.zone_file import lines

BADGES: Final = {
    State.MATCH: "good",
    State.MISSING: "waiting",
    State.CONFLICT: "bad",
    State.STALE: "waiting",
    State.UNKNOWN: "off",
}


@dataclass(frozen=True, slots=True)
class Row:
    """A domain in the list."""

    claim: DomainClaim
    name: str
    text: str
    badge: str


@dataclass(frozen=True, slots=True)
class ShownRecord:
    """A record on the page of its domain."""

    result: RecordResult
    label: str
    purpose: str
    relative_name: str
    state: str
    badge: str
    sentence: str
    zone_lines: str


@dataclass(frozen=True, slots=True)
class Summary:
    """What the top of the page says."""

    title: str
    text: str
    badge: str
    badge_text: str
    right: int
    total: int
    is_looking: bool
    is_under_way: bool
    """Something follows by itself: the page waits for it."""
    version: str
    """What the page shows, as `under_way.progress_of` says it."""


def row_of(claim: DomainClaim, still_open: int) -> Row:
    """Return how a domain stands in the list."""
    text, badge = _standing(claim, still_open)
    return Row(claim, display_domain(claim.name), text, badge)


def _standing(claim: DomainClaim, still_open: int) -> tuple[str, str]:
    if claim.problem == "taken":
        return _("in use elsewhere"), "bad"
    if claim.checked_at is None:
        return _("first look under way"), "off"
    if claim.verified_at is None:
        return _("waits for proof"), "waiting"
    if claim.proof_missed:
        return _("proof is gone"), "bad"
    if still_open:
        return ngettext("%(num)s record open", "%(num)s records open", still_open), "waiting"
    return _("all set"), "good"


def summary(claim: DomainClaim) -> Summary:
    """Return what the top of a domain's page says."""
    right = sum(result.state == State.MATCH for result in claim.results)
    total = len(claim.results)
    badge_text, badge = _standing(claim, total - right)
    title, text = _words(claim, total - right)
    return Summary(title, text, badge, badge_text, right, total, is_looking(claim), is_under_way(claim), version(claim))


def _words(claim: DomainClaim, still_open: int) -> tuple[str, str]:
    if claim.problem == "taken":
        return _("Another organisation here has proven this domain"), _(
            "If it is yours, write to us: while its proof stands, nobody else can have it."
        )
    if claim.problem == "in-use":
        return _("The domain could not be removed"), _(
            "It still has addresses or aliases. Delete them, or move them to another domain, then remove it again."
        )
    if claim.checked_at is None:
        return _("We are looking at your DNS"), _("This takes some seconds. The page shows the result by itself.")
    if claim.verified_at is None:
        return _("Put these records into your DNS"), _(
            "The first one proves that the domain is yours. Enter all of them now: we look again by ourselves, "
            "and mail can flow as soon as they are there."
        )
    if claim.proof_missed and claim.proof_missed_since is not None:
        return _("The record that proves the domain is gone"), _(
            "Mail goes on for now. Put the record back within a week, or the domain stops receiving."
        )
    if still_open:
        return _("The domain is yours; some records are open"), _(
            "Mail works as far as the records below are right. Each one that is not says what to change."
        )
    return _("Everything is as it should be"), _("We go on looking, and show here when something changes.")


def record_of(claim: DomainClaim, result: RecordResult) -> ShownRecord:
    """Return how a record is shown."""
    label, purpose = _labels(result)
    relative = result.name.removesuffix(claim.name).rstrip(".") or "@"
    rows = [(result.name, result.type, result.ttl_s, value) for value in result.proposal]
    sentence = _(SENTENCES[Advice(result.advice)]) % _named(result)
    state = State(result.state)
    return ShownRecord(result, label, purpose, relative, _states()[state], BADGES[state], sentence, lines(rows).strip())


def _named(result: RecordResult) -> dict[str, Any]:
    """Return what its sentence names; a host of a provider that nobody knows is called so in the page's language."""
    named: dict[str, Any] = dict(result.named)
    return named | {"provider": _("another host")} if named.get("provider") == ANOTHER_HOST else named


def _states() -> dict[State, str]:
    return {
        State.MATCH: _("right"),
        State.MISSING: _("missing"),
        State.CONFLICT: _("conflict"),
        State.STALE: _("outdated"),
        State.UNKNOWN: _("unknown"),
    }


def _labels(result: RecordResult) -> tuple[str, str]:
    found: dict[str, tuple[str, str]] = {
        RecordKind.OWNERSHIP: (_("Proof"), _("shows that the domain is yours")),
        RecordKind.MX: ("MX", _("where mail for the domain goes")),
        RecordKind.SPF: ("SPF", _("who may send in its name")),
        RecordKind.DKIM: ("DKIM", _("lets others verify our signatures")),
        RecordKind.DMARC: ("DMARC", _("what others do with forged mail")),
        RecordKind.MTA_STS: ("MTA-STS", _("asks senders for verified TLS")),
        RecordKind.MTA_STS_HOST: (_("MTA-STS policy"), _("where senders read that policy")),
        RecordKind.TLS_RPT: ("TLS-RPT", _("where problems with TLS are reported")),
        RecordKind.AUTOCONFIG: ("Autoconfig", _("sets up Thunderbird and others")),
        RecordKind.AUTODISCOVER: ("Autodiscover", _("sets up Outlook")),
        RecordKind.SRV: ("SRV", _("helps mail programs find our servers")),
    }
    return found[result.kind]


def refusal(refused: DomainNotClaimable) -> str:
    """Return why a name cannot be added, and what to do."""
    name = display_domain(refused.name)
    return {
        Refusal.PUBLIC_SUFFIX: _(
            "%(name)s is an ending under which others register names. Enter your own domain.", name=name
        ),
        Refusal.OURS: _("%(name)s belongs to this service.", name=name),
        Refusal.ALREADY_YOURS: _("%(name)s is in your list already.", name=name),
        Refusal.TAKEN: _("%(name)s is in use by another organisation here. If it is yours, write to us.", name=name),
        Refusal.PARENT_TAKEN: _(
            "%(name)s lies below a domain of another organisation here. Only its owner can add it.", name=name
        ),
        Refusal.TOO_MANY: _("You have as many domains as are possible."),
    }[refused.reason]


def provider_trouble(said: str) -> str:
    """Return what went wrong with a DNS provider; the words of its programs are not shown."""
    known = {
        NO_ANSWER: _("no answer in time"),
        OFF: _("support has switched writing off"),
        TOKEN_GONE: _("the token cannot be read any more"),
    }
    provider, answered, status = said.partition(" answered ")
    if answered:
        return _("%(provider)s answered %(status)s", provider=provider, status=status)
    return known.get(said) or _("%(provider)s did not answer as it should", provider=said.partition(":")[0])


def outcome_name(outcome: str) -> str:
    """Return what became of a question, where no records came back."""
    return {
        "nothing": _("no such record"),
        "no name": _("no such name"),
        "refused": _("refused to answer"),
        "silent": _("no answer"),
        "forbidden": _("not asked: not a public address"),
    }.get(outcome, outcome)


def key_state(key: DkimKey) -> str:
    """Return how far a DKIM key is."""
    if key.state is DkimKeyState.PENDING:
        return _("seen, takes over soon") if key.published_at else _("waits to be seen in DNS")
    return _("signs") if key.state is DkimKeyState.ACTIVE else _("retired, stays published")


def key_badge(key: DkimKey) -> str:
    """Return the colour of that."""
    return {DkimKeyState.PENDING: "waiting", DkimKeyState.ACTIVE: "good", DkimKeyState.RETIRING: "off"}[key.state]


def asked_at(answer: dict[str, Any]) -> datetime:
    """Return when an answer came."""
    return datetime.fromisoformat(answer["asked_at"])
