"""What the jobs do with what DNS says: keep it, prove a domain, and take the proof back after days without it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy.exc import IntegrityError

from mailcore import fault
from mailcore.model.actor import SYSTEM
from mailcore.model.dns_answers import Observation
from mailcore.model.mta_sts import StsMode, policy_id
from portal.audit.services import record
from portal.database import session, unit_of_work, utc_now
from portal.domains import queries
from portal.domains.models import DkimWay, DomainClaim, RecordResult
from portal.domains.records import Finding, RecordKind, State, Wanted
from portal.domains.survey import look_at
from portal.domains.wanted import ServiceNames, wanted_records
from portal.jobs import enqueue_after_commit
from portal.mail_plane import Portal

LAPSES_AFTER: Final = timedelta(days=7)
"""So long the token has to be gone before a proven domain counts as proven no more,"""
LAPSES_AFTER_LOOKS: Final = 8
"""and so many looks in a row have to have said so; looks that nobody answered say nothing."""
FIRST_WAIT: Final = timedelta(seconds=30)
LONGEST_WAIT: Final = timedelta(hours=6)
LEASE: Final = timedelta(minutes=10)
"""A look that was begun and not ended, for its worker died, is begun anew after it."""
BATCH: Final = 200


def enqueue_due() -> int:
    """Put a look at every domain that is due on the queue, each once; return how many."""
    at = utc_now()
    with unit_of_work() as current:
        due = queries.list_due(at, BATCH)
        for claim_id in due:
            current.get_one(DomainClaim, claim_id).next_check_at = at + LEASE
            enqueue_after_commit("domains.check", claim_id=str(claim_id))
    return len(due)


def wanted_of(claim: DomainClaim, parts: Portal, names: ServiceNames) -> tuple[Wanted, ...]:
    """Return the records that a domain should have now; one round trip to the directory."""
    keys = parts.mail.dkim_keys.list_of(claim.organisation.tenant_id, claim.name)
    with_zone = names if claim.dkim_way == DkimWay.CNAME else names.without_dkim_zone()
    return wanted_records(claim.name, claim.token, keys, policy_id(StsMode(claim.sts_mode), names.mx_hosts), with_zone)


def check(parts: Portal, claim_id: UUID) -> None:
    """Look at a domain's records and keep what was seen; nothing is held in Postgres while DNS is asked."""
    claim = queries.load(claim_id)
    if claim is None or claim.removed_at is not None:
        return
    wanted = wanted_of(claim, parts, parts.settings.domains.names)
    findings = look_at(claim.name, wanted, parts.mail.authoritative_dns.survey())
    fault.hit("domains.looked")
    try:
        _keep(claim_id, findings, utc_now())
    except IntegrityError:  # another organisation proved it first
        session().rollback()
        with unit_of_work() as current:
            current.get_one(DomainClaim, claim_id, with_for_update=True).problem = "taken"
    fault.hit("domains.kept")


def _keep(claim_id: UUID, findings: Sequence[Finding], at: datetime) -> None:
    with unit_of_work() as current:
        claim = current.get(DomainClaim, claim_id, with_for_update=True, populate_existing=True)
        if claim is None or claim.removed_at is not None:
            return
        is_news = _keep_results(claim, findings, at)
        proof = next(finding.state for finding in findings if finding.wanted.kind is RecordKind.OWNERSHIP)
        was_proven = claim.verified_at is not None
        judge_proof(claim, proof, at)
        is_news = is_news or was_proven != (claim.verified_at is not None)
        claim.quiet_checks = 0 if is_news else claim.quiet_checks + 1
        claim.checked_at = at
        claim.next_check_at = at + wait_after(claim.quiet_checks)
        current.flush()
        if was_proven != (claim.verified_at is not None):
            what = "domain.lapsed" if was_proven else "domain.verified"
            record(SYSTEM, what, claim.name, organisation_id=claim.organisation_id)
        if claim.verified_at is not None or was_proven:
            enqueue_after_commit("domains.apply", claim_id=str(claim_id))


def judge_proof(claim: DomainClaim, proof: State, at: datetime) -> None:
    """Prove a claim, or count that its proof is gone; that nobody could say changes nothing (Attack W26)."""
    if proof is State.MATCH:
        claim.verified_at = claim.verified_at or at
        claim.proof_missed_since, claim.proof_missed, claim.problem = None, 0, None
        return
    if proof is State.UNKNOWN or claim.verified_at is None:
        return
    claim.proof_missed_since = claim.proof_missed_since or at
    claim.proof_missed += 1
    if claim.proof_missed >= LAPSES_AFTER_LOOKS and at - claim.proof_missed_since >= LAPSES_AFTER:
        claim.verified_at = None


def wait_after(quiet_checks: int) -> timedelta:
    """Return how long to wait after so many looks without news: twice as long each time, never quite the same."""
    wait = min(FIRST_WAIT * 2 ** min(quiet_checks, 20), LONGEST_WAIT)
    return wait * random.uniform(0.8, 1.2)  # noqa: S311  spreads load, keeps no secret


def _keep_results(claim: DomainClaim, findings: Sequence[Finding], at: datetime) -> bool:
    """Keep a result for each finding; return whether any state changed."""
    before = {result.key: result for result in claim.results}
    kept = [_result(before.get(finding.wanted.key), position, finding, at) for position, finding in enumerate(findings)]
    is_news = {key: result.state for key, result in before.items()} != {each.key: each.state for each in kept}
    claim.results = kept
    return is_news or any(each.since == at for each in kept)


def _result(found: RecordResult | None, position: int, finding: Finding, at: datetime) -> RecordResult:
    wanted = finding.wanted
    result = found or RecordResult(key=wanted.key, since=at)
    if found is not None and found.state != finding.state:
        result.since = at
    result.position, result.kind, result.name, result.type = position, wanted.kind, wanted.name, wanted.type
    result.ttl_s, result.is_required = wanted.ttl_s, wanted.is_required
    result.wanted, result.proposal = list(wanted.values), list(finding.proposal)
    result.state, result.advice = finding.state, finding.verdict.advice
    result.named = dict(finding.verdict.values)
    result.evidence = [evidence_of(observation) for observation in finding.evidence]
    result.checked_at = at
    return result


def evidence_of(observation: Observation) -> dict[str, Any]:
    """Return an observation as JSON."""
    return {
        "name": observation.question.name,
        "type": observation.question.kind,
        "zone": observation.zone,
        "answers": [
            {
                "server": answer.server,
                "address": answer.address,
                "asked_at": answer.asked_at.isoformat(timespec="milliseconds"),
                "outcome": answer.outcome.value,
                "records": list(answer.records),
                "ttl_s": answer.ttl_s,
                "alias": answer.alias,
            }
            for answer in observation.answers
        ],
    }
