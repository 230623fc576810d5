"""Changes of domains by their organisations. Postgres first; a job makes the mail plane equal."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from mailcore import fault
from mailcore.model.actor import Actor
from mailcore.model.mta_sts import StsMode
from portal.accounts.models import Organisation
from portal.audit.services import record
from portal.billing.adjustments import most_domains
from portal.database import session, unit_of_work, utc_now
from portal.domains import queries
from portal.domains.errors import DomainNotClaimable, Refusal
from portal.domains.models import DkimWay, DomainClaim
from portal.domains.names import claimable, parents
from portal.domains.wanted import ServiceNames
from portal.jobs import enqueue_after_commit

MOST_DOMAINS = 1000


def add_domain(actor: Actor, organisation: Organisation, text: str, names: ServiceNames) -> DomainClaim:
    """Claim a domain: nothing goes to it or from it here before its DNS has proven the claim.

    Raises:
        DomainInvalid: not a domain name.
        DomainNotClaimable: not this one, for the reason given.
    """
    name = claimable(text, names.ours())
    with unit_of_work() as current:
        _take_turn(organisation)
        found = queries.find_claim(organisation, name)
        if found is not None and found.removed_at is None:
            raise DomainNotClaimable(name, Refusal.ALREADY_YOURS)
        if queries.count_claims(organisation) >= most_domains(organisation.id, MOST_DOMAINS, utc_now()):
            raise DomainNotClaimable(name, Refusal.TOO_MANY)
        taken = queries.proven_elsewhere(organisation.id, [name, *parents(name)])
        if taken:
            raise DomainNotClaimable(name, Refusal.TAKEN if name in taken else Refusal.PARENT_TAKEN)
        claim = found or DomainClaim(organisation_id=organisation.id, name=name)
        claim.removed_at = None
        claim.dkim_way = DkimWay.CNAME if names.dkim_zone else DkimWay.TEXT
        claim.next_check_at = utc_now()
        current.add(claim)
        try:
            current.flush()
        except IntegrityError as error:  # the same name, added in two windows at once
            raise DomainNotClaimable(name, Refusal.ALREADY_YOURS) from error
        record(actor, "domain.added", name, organisation_id=organisation.id)
        enqueue_after_commit("domains.check", claim_id=str(claim.id))
    fault.hit("domains.added")
    return claim


def check_now(organisation: Organisation, claim_id: UUID) -> DomainClaim:
    """Let a domain be looked at as soon as a worker can.

    Raises:
        ClaimNotFound: the organisation has none such.
    """
    with unit_of_work():
        claim = queries.get_claim(organisation, claim_id, for_change=True)
        claim.quiet_checks = 0
        claim.next_check_at = utc_now()
        enqueue_after_commit("domains.check", claim_id=str(claim.id))
    return claim


def remove_domain(actor: Actor, organisation: Organisation, claim_id: UUID) -> None:
    """Give a domain up; the mail plane lets go of it unless it has addresses, and then it stays.

    Raises:
        ClaimNotFound: the organisation has none such.
    """
    with unit_of_work():
        claim = queries.get_claim(organisation, claim_id, for_change=True)
        claim.removed_at = utc_now()
        record(actor, "domain.removed", claim.name, organisation_id=organisation.id)
        enqueue_after_commit("domains.apply", claim_id=str(claim.id))


def set_sts_mode(actor: Actor, organisation: Organisation, claim_id: UUID, mode: StsMode) -> DomainClaim:
    """Choose how strictly others have to use TLS to us; the id that `_mta-sts` publishes changes with it.

    Raises:
        ClaimNotFound: the organisation has none such.
    """
    with unit_of_work():
        claim = queries.get_claim(organisation, claim_id, for_change=True)
        if claim.sts_mode != mode:
            claim.sts_mode = mode
            claim.next_check_at = utc_now()
            record(actor, "domain.sts_mode", claim.name, {"mode": mode.value}, organisation_id=organisation.id)
            enqueue_after_commit("domains.apply", claim_id=str(claim.id))
            enqueue_after_commit("domains.check", claim_id=str(claim.id))
    return claim


def set_dkim_way(actor: Actor, organisation: Organisation, claim_id: UUID, way: DkimWay) -> DomainClaim:
    """Choose how DKIM keys are published; keys that sign go on until those of the other way are seen.

    Raises:
        ClaimNotFound: the organisation has none such.
    """
    with unit_of_work():
        claim = queries.get_claim(organisation, claim_id, for_change=True)
        if claim.dkim_way != way:
            claim.dkim_way = way
            claim.next_check_at = utc_now()
            record(actor, "domain.dkim_way", claim.name, {"way": way.value}, organisation_id=organisation.id)
            enqueue_after_commit("domains.apply", claim_id=str(claim.id))
            enqueue_after_commit("domains.check", claim_id=str(claim.id))
    return claim


def rotate_dkim(actor: Actor, organisation: Organisation, claim_id: UUID) -> DomainClaim:
    """Begin to replace a domain's keys, and look what is wanted in DNS then; old keys sign until new ones are seen.

    Raises:
        ClaimNotFound: the organisation has none such, or it is not proven.
    """
    with unit_of_work():
        claim = queries.get_claim(organisation, claim_id, for_change=True)
        claim.next_check_at = utc_now()
        record(actor, "domain.dkim_rotated", claim.name, organisation_id=organisation.id)
        enqueue_after_commit("domains.rotate", claim_id=str(claim.id))
        enqueue_after_commit("domains.check", claim_id=str(claim.id))
    return claim


def _take_turn(organisation: Organisation) -> None:
    """Let others who add a domain to this organisation wait for the commit: what is counted stays so."""
    session().execute(select(Organisation.id).where(Organisation.id == organisation.id).with_for_update(key_share=True))
