"""Making the mail plane equal to what the portal says of a domain: twice is once, and a crash between is healed."""

from __future__ import annotations

import logging
from typing import Final
from uuid import UUID

from mailcore import fault
from mailcore.errors import DomainNotFound, DomainTaken, NotPermitted, TenantNotFound, TooManyDkimKeys
from mailcore.model.actor import SYSTEM
from mailcore.model.mta_sts import StsMode
from portal.database import session, unit_of_work, utc_now
from portal.domains import own_zone, queries
from portal.domains.models import DkimWay, DomainClaim, RecordResult
from portal.domains.records import RecordKind, State
from portal.domains.wanted import DKIM_SLOTS
from portal.mail_plane import Portal

log = logging.getLogger(__name__)

PAGE: Final = 200


def apply(parts: Portal, claim_id: UUID) -> None:
    """Let the mail plane have a domain as the portal says; what fails now is tried again by `reconcile`."""
    claim = queries.load(claim_id)
    if claim is None:
        return
    try:
        if claim.removed_at is not None:
            _let_go(parts, claim)
            return
        if claim.verified_at is None:
            _take_back(parts, claim)
        else:
            _hand_over(parts, claim)
        problem = None
    except TenantNotFound:
        log.info("domain.tenant_not_yet", extra={"domain": claim.name})
        return
    except DomainTaken:
        problem = "taken"
    with unit_of_work() as current:
        kept = current.get(DomainClaim, claim_id, with_for_update=True, populate_existing=True)
        if kept is not None:
            kept.problem = problem
            kept.applied_at = utc_now() if problem is None else kept.applied_at


def _hand_over(parts: Portal, claim: DomainClaim) -> None:
    """Verify, keys, our zone, a first look at where mail goes, and certificates of hosts."""
    mail, tenant_id = parts.mail, claim.organisation.tenant_id
    domain = mail.domains.verify(SYSTEM, tenant_id, claim.name)
    fault.hit("domains.in_mail_plane")
    mail.domains.set_sts_mode(SYSTEM, tenant_id, claim.name, StsMode(claim.sts_mode))
    turns = DKIM_SLOTS if claim.dkim_way == DkimWay.CNAME else ()
    if domain.dkim_selectors != turns:
        mail.dkim_keys.use_selectors(SYSTEM, tenant_id, claim.name, turns)
    fault.hit("domains.dkim_way_set")
    drive_keys(parts, claim)
    mail.domains.check_mx(mail.domains.get(tenant_id, claim.name))
    fault.hit("domains.mx_looked_at")
    _want_certificates(parts, claim)
    fault.hit("domains.certificates_wanted")


def _want_certificates(parts: Portal, claim: DomainClaim) -> None:
    """Want certificates for the hosts that were seen to lead to us; where nobody could say it stays as it is."""
    labels = {
        state: {result.name.partition(".")[0] for result in claim.results if _is_host(result) and result.state == state}
        for state in (State.MATCH, State.UNKNOWN)
    }
    parts.mail.host_certificates.want(
        SYSTEM, claim.organisation.tenant_id, claim.name, labels[State.MATCH], keep=labels[State.UNKNOWN]
    )


def _is_host(result: RecordResult) -> bool:
    return result.kind in {RecordKind.MTA_STS_HOST, RecordKind.AUTOCONFIG, RecordKind.AUTODISCOVER}


def drive_keys(parts: Portal, claim: DomainClaim) -> None:
    """Make keys that are due, publish them in our zone, and let those take over that are seen."""
    mail, tenant_id = parts.mail, claim.organisation.tenant_id
    mail.dkim_keys.rotate_one(SYSTEM, tenant_id, claim.name)
    fault.hit("domains.keys_made")
    if claim.dkim_way == DkimWay.CNAME:
        own_zone.publish(parts, claim.name, mail.dkim_keys.list_of(tenant_id, claim.name))
    fault.hit("domains.keys_published")
    mail.dkim_keys.check(SYSTEM, tenant_id, mail.authoritative_dns.texts, claim.name)
    mail.dkim_keys.rotate_one(SYSTEM, tenant_id, claim.name)


def rotate(parts: Portal, claim_id: UUID) -> None:
    """Begin to replace a domain's keys."""
    claim = queries.load(claim_id)
    if claim is None or claim.verified_at is None or claim.removed_at is not None:
        return
    try:
        parts.mail.dkim_keys.succeed(SYSTEM, claim.organisation.tenant_id, claim.name)
    except (DomainNotFound, NotPermitted, TooManyDkimKeys) as error:
        log.warning("domain.not_rotated", extra={"domain": claim.name, "reason": type(error).__name__})
        return
    drive_keys(parts, claim)


def _take_back(parts: Portal, claim: DomainClaim) -> None:
    """Let a domain whose proof lapsed receive and send nothing; one that was never proven is unknown there."""
    if claim.proof_missed:
        try:
            parts.mail.domains.unverify(SYSTEM, claim.organisation.tenant_id, claim.name)
            parts.mail.host_certificates.give_up(SYSTEM, claim.organisation.tenant_id, claim.name)
        except DomainNotFound:
            log.info("domain.gone", extra={"domain": claim.name})


def _let_go(parts: Portal, claim: DomainClaim) -> None:
    """Remove a domain there, then here; with addresses it stays, and the page says why."""
    refused = False
    try:
        if claim.verified_at is not None or claim.applied_at is not None:
            parts.mail.domains.delete(SYSTEM, claim.organisation.tenant_id, claim.name)
    except DomainNotFound:
        log.info("domain.gone", extra={"domain": claim.name})
    except NotPermitted:
        refused = True
    if not refused:
        parts.mail.host_certificates.give_up(SYSTEM, claim.organisation.tenant_id, claim.name)
    fault.hit("domains.let_go")
    with unit_of_work() as current:
        kept = current.get(DomainClaim, claim.id, with_for_update=True, populate_existing=True)
        if kept is None or kept.removed_at is None:
            return
        if refused:
            kept.removed_at, kept.problem = None, "in-use"
        else:
            current.delete(kept)


def reconcile(parts: Portal) -> int:
    """Make the mail plane equal for every domain that concerns it; return how many could not be."""
    failed = 0
    after: UUID | None = None
    while claim_ids := queries.list_to_apply(after, PAGE):
        for claim_id in claim_ids:
            try:
                apply(parts, claim_id)
            except Exception:  # one that fails must not keep the others from being healed
                session().rollback()
                log.exception("domain.not_applied", extra={"claim": str(claim_id)})
                failed += 1
        after = claim_ids[-1]
    return failed
