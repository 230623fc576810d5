"""The life of a domain: claimed, proven, served, lapsed, given up; whatever dies in between (Attack W26)."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import datetime

import pytest
from bson import ObjectId

from mailcore import fault
from mailcore.errors import DomainInvalid, DomainNotFound
from mailcore.model.actor import Actor, ActorKind, Door
from mailcore.model.dkim import DkimKeyState
from portal.database import session, utc_now
from portal.domains import applying, checking, queries, services
from portal.domains.errors import DomainNotClaimable, Refusal
from portal.domains.models import DkimWay, DomainClaim
from portal.domains.records import State, Wanted
from portal.mail_plane import Portal
from tests.portal.conftest import MadeOrganisation, make_organisation
from tests.portal.domains.conftest import publish
from tests.portal.domains.example import NAMES_WITH_ZONE
from tests.stubs.nameservers import Nameservers, Trouble, Zone

ADA = Actor(ActorKind.MEMBER, Door.PORTAL, "ada@example.org")
RunJobs = Callable[[], None]
_numbers = itertools.count(1)


def add(organisation: MadeOrganisation, name: str | None = None) -> DomainClaim:
    """Claim a domain of its own name."""
    name = name or f"life{next(_numbers)}-{ObjectId()}.test"
    return services.add_domain(ADA, organisation.organisation, name, NAMES_WITH_ZONE)


def wanted_of(parts: Portal, claim: DomainClaim) -> tuple[Wanted, ...]:
    return checking.wanted_of(claim, parts, NAMES_WITH_ZONE)


def again(claim: DomainClaim) -> DomainClaim:
    """The claim as it stands now."""
    session().rollback()
    session().expire_all()
    return session().get_one(DomainClaim, claim.id)


def states(claim: DomainClaim) -> set[State]:
    return {State(result.state) for result in again(claim).results}


def proven(
    parts: Portal, world: Nameservers, run_jobs: RunJobs, organisation: MadeOrganisation
) -> tuple[DomainClaim, Zone]:
    """A domain with everything as it should be."""
    claim = add(organisation)
    zone = world.zone(claim.name)
    publish(zone, wanted_of(parts, claim))
    run_jobs()
    return again(claim), zone


def test_domain_becomes_green(
    parts: Portal, world: Nameservers, run_jobs: RunJobs, organisation: MadeOrganisation
) -> None:
    claim = add(organisation)
    zone = world.zone(claim.name)
    run_jobs()
    assert states(claim) == {State.MISSING}
    with pytest.raises(DomainNotFound):
        parts.mail.domains.get(organisation.organisation.tenant_id, claim.name)
    publish(zone, wanted_of(parts, claim))
    services.check_now(organisation.organisation, claim.id)
    run_jobs()
    assert states(claim) == {State.MATCH}
    assert again(claim).verified_at is not None
    domain = parts.mail.domains.get(organisation.organisation.tenant_id, claim.name)
    assert (domain.verified_at is not None, domain.mx_points_here) == (True, True)
    [key] = parts.mail.dkim_keys.list_of(organisation.organisation.tenant_id, claim.name)
    assert (key.selector, key.state) == ("eider1", DkimKeyState.ACTIVE), "published in our zone, seen, and in use"


def test_keys_are_rotated_by_workers_without_a_gap(
    parts: Portal, world: Nameservers, run_jobs: RunJobs, organisation: MadeOrganisation
) -> None:
    claim, _ = proven(parts, world, run_jobs, organisation)
    tenant_id = organisation.organisation.tenant_id

    def by_state() -> dict[str, str]:
        return {key.state.value: key.selector for key in parts.mail.dkim_keys.list_of(tenant_id, claim.name)}

    assert by_state() == {"active": "eider1"}
    world.resolver.trouble["dkim.eider.test"] = Trouble.SERVFAIL
    for slot in ("eider1", "eider2"):
        world.resolver.trouble[f"{slot}.{claim.name}.dkim.eider.test"] = Trouble.SERVFAIL
    services.rotate_dkim(ADA, organisation.organisation, claim.id)
    run_jobs()
    assert by_state() == {"active": "eider1", "pending": "eider2"}, "not seen yet, so the old one signs"
    world.resolver.trouble.clear()
    applying.reconcile(parts)
    assert by_state() == {"retiring": "eider1", "active": "eider2"}
    zone = world.zones["dkim.eider.test"]
    assert all(zone.get(f"{slot}.{claim.name}.dkim.eider.test", "TXT") for slot in ("eider1", "eider2")), "both stay"


def test_keys_as_texts_are_made_and_found(
    parts: Portal, world: Nameservers, run_jobs: RunJobs, organisation: MadeOrganisation
) -> None:
    claim, zone = proven(parts, world, run_jobs, organisation)
    services.set_dkim_way(ADA, organisation.organisation, claim.id, DkimWay.TEXT)
    run_jobs()
    tenant_id = organisation.organisation.tenant_id
    waiting = [key for key in parts.mail.dkim_keys.list_of(tenant_id, claim.name) if key.state is DkimKeyState.PENDING]
    assert waiting
    assert State.MISSING in states(claim)
    for each in wanted_of(parts, again(claim)):
        if each.kind == "dkim":
            zone.remove(each.name, "CNAME")
            publish(zone, (each,))
    applying.reconcile(parts)
    services.check_now(organisation.organisation, claim.id)
    run_jobs()
    assert states(claim) == {State.MATCH}
    active = {
        key.algorithm.key_type
        for key in parts.mail.dkim_keys.list_of(tenant_id, claim.name)
        if key.state is DkimKeyState.ACTIVE
    }
    assert active == {"rsa", "ed25519"}


# -- whatever dies in between --------------------------------------------------------------------

STEPS = (
    "domains.added",
    "domains.looked",
    "domains.kept",
    "domains.in_mail_plane",
    "domains.dkim_way_set",
    "domains.keys_made",
    "domains.keys_published",
    "domains.mx_looked_at",
)


class Killed(BaseException):
    """The process is gone."""


def die() -> None:
    raise Killed


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_reconciliation_heals(
    parts: Portal, world: Nameservers, organisation: MadeOrganisation, step: str
) -> None:
    """Nothing half-made stays: what is not done is done by the next run of the periodic jobs, which know no more."""
    name = f"killed{next(_numbers)}-{ObjectId()}.test"
    zone = world.zone(name)
    died = set_up_until(parts, zone, organisation, name, step)
    assert died, "the step is passed"
    session().rollback()
    claim = queries.find_claim(organisation.organisation, name)
    if claim is None:  # killed before anything was committed: as if it had never been asked for
        claim = add(organisation, name)
    heal(parts, zone, claim)
    domain = parts.mail.domains.get(organisation.organisation.tenant_id, name)
    assert (domain.verified_at is not None, domain.mx_points_here) == (True, True)
    keys = parts.mail.dkim_keys.list_of(organisation.organisation.tenant_id, name)
    assert [(key.selector, key.state) for key in keys] == [("eider1", DkimKeyState.ACTIVE)]
    assert states(claim) == {State.MATCH}
    assert again(claim).applied_at is not None


def set_up_until(parts: Portal, zone: Zone, organisation: MadeOrganisation, name: str, step: str) -> bool:
    """Set a domain up, in one process, up to a step at which it dies; return whether it did."""
    fault.install({step: die})
    try:
        claim = add(organisation, name)
        publish(zone, wanted_of(parts, claim))
        checking.check(parts, claim.id)
        applying.apply(parts, claim.id)
    except Killed:
        return True
    finally:
        fault.install({})
    return False


def heal(parts: Portal, zone: Zone, claim: DomainClaim) -> None:
    """What the periodic jobs do, without knowing what happened."""
    session().rollback()
    claim_id = claim.id
    publish_missing(zone, wanted_of(parts, again(claim)))
    again(claim).next_check_at = utc_now()
    session().commit()
    assert checking.enqueue_due() >= 1
    checking.check(parts, claim_id)
    assert applying.reconcile(parts) == 0


def publish_missing(zone: Zone, wanted: tuple[Wanted, ...]) -> None:
    """The owner goes on where he stopped."""
    for each in wanted:
        if not zone.get(each.name, each.type):
            publish(zone, (each,))


def test_control_without_reconciliation_half_of_it_is_missing(
    parts: Portal, world: Nameservers, organisation: MadeOrganisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"control{next(_numbers)}-{ObjectId()}.test"
    zone = world.zone(name)
    assert set_up_until(parts, zone, organisation, name, "domains.kept")
    monkeypatch.setattr(applying, "apply", lambda *_: None)
    claim = queries.find_claim(organisation.organisation, name)
    assert claim is not None
    heal(parts, zone, claim)
    with pytest.raises(DomainNotFound):
        parts.mail.domains.get(organisation.organisation.tenant_id, name)


# -- whose it is ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        pytest.param("co.uk", Refusal.PUBLIC_SUFFIX, id="public suffix"),
        pytest.param("github.io", Refusal.PUBLIC_SUFFIX, id="suffix of a host of others"),
        pytest.param("com", Refusal.PUBLIC_SUFFIX, id="top level"),
        pytest.param("eider.test", Refusal.OURS, id="above ours"),
        pytest.param("mx1.eider.test", Refusal.OURS, id="ours"),
        pytest.param("x.web.eider.test", Refusal.OURS, id="below ours"),
    ],
)
def test_names_that_nobody_may_claim(organisation: MadeOrganisation, name: str, reason: Refusal) -> None:
    with pytest.raises(DomainNotClaimable) as refused:
        add(organisation, name)
    assert refused.value.reason is reason


@pytest.mark.parametrize("name", ["", "no dots", "-a.test", "a..test", "1.2.3.4", "x@example.test"])
def test_what_is_no_domain_is_refused(organisation: MadeOrganisation, name: str) -> None:
    with pytest.raises((DomainInvalid, DomainNotClaimable)):
        add(organisation, name or " ")


def test_names_are_taken_as_people_write_them(organisation: MadeOrganisation) -> None:
    unique = ObjectId()
    assert add(organisation, f" HTTPS://Bücher-{unique}.Example/ ").name == f"xn--bcher-{unique}-hlb.example".replace(
        f"xn--bcher-{unique}-hlb", f"bücher-{unique}".encode("idna").decode()
    )


def test_domain_of_another_and_what_is_below_it_cannot_be_claimed(
    parts: Portal, world: Nameservers, run_jobs: RunJobs, organisation: MadeOrganisation
) -> None:
    claim, _ = proven(parts, world, run_jobs, organisation)
    eve = make_organisation(parts.mail)
    for name, reason in ((claim.name, Refusal.TAKEN), (f"mail.{claim.name}", Refusal.PARENT_TAKEN)):
        with pytest.raises(DomainNotClaimable) as refused:
            add(eve, name)
        assert refused.value.reason is reason
    assert add(organisation, f"mail.{claim.name}").name == f"mail.{claim.name}", "its owner may"
    with pytest.raises(DomainNotClaimable):
        add(organisation, claim.name)


def test_of_two_who_claim_the_one_who_proves_gets_it(
    parts: Portal, world: Nameservers, run_jobs: RunJobs, organisation: MadeOrganisation
) -> None:
    eve = make_organisation(parts.mail)
    squat = add(eve)
    claim = add(organisation, squat.name)
    zone = world.zone(claim.name)
    publish(zone, wanted_of(parts, claim))
    run_jobs()
    assert (again(claim).verified_at is not None, again(squat).verified_at) == (True, None)
    assert parts.mail.domains.owner_of(claim.name) == organisation.organisation.tenant_id
    token = wanted_of(parts, squat)[0]
    zone.add(token.name, "TXT", *zone.get(token.name, "TXT"), f'"{token.values[0]}"')
    services.check_now(eve.organisation, squat.id)
    run_jobs()
    assert (again(squat).verified_at, again(squat).problem) == (None, "taken"), "even with a token: one owner at a time"


def test_tokens_of_two_organisations_differ(organisation: MadeOrganisation, parts: Portal) -> None:
    eve = make_organisation(parts.mail)
    squat = add(eve)
    assert add(organisation, squat.name).token != squat.token


def test_claim_without_proof_has_no_mail(
    parts: Portal, world: Nameservers, run_jobs: RunJobs, organisation: MadeOrganisation
) -> None:
    """Everything but the token is there: nothing of it counts."""
    assert squatted(parts, world, run_jobs, organisation) is False


def test_control_a_claim_that_counts_as_proof_would_be_seen(
    parts: Portal,
    world: Nameservers,
    run_jobs: RunJobs,
    organisation: MadeOrganisation,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def trusting(claim: DomainClaim, _proof: State, at: datetime) -> None:
        claim.verified_at = at

    monkeypatch.setattr(checking, "judge_proof", trusting)
    assert squatted(parts, world, run_jobs, organisation) is True


def squatted(parts: Portal, world: Nameservers, run_jobs: RunJobs, organisation: MadeOrganisation) -> bool:
    """Whether a domain without the token receives mail here."""
    claim = add(organisation)
    publish(world.zone(claim.name), wanted_of(parts, claim)[1:])
    run_jobs()
    return parts.mail.domains.is_hosted(claim.name)
