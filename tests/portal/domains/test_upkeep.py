"""Looking after domains: proof that goes away and comes back, looks that wait, domains given up (Attack W26)."""

from __future__ import annotations

from datetime import timedelta

from bson import ObjectId
from rq import Queue
from rq.serializers import JSONSerializer

from portal.database import session, utc_now
from portal.domains import checking, queries, services
from portal.domains.records import State
from portal.mail_plane import Portal
from tests.builders import OPERATOR, make_user
from tests.portal.conftest import MadeOrganisation
from tests.portal.domains.conftest import publish
from tests.portal.domains.test_life import ADA, RunJobs, add, again, proven, states, wanted_of
from tests.stubs.nameservers import Nameservers, Trouble
from workers.registry import PORTAL

# -- proof that goes away ------------------------------------------------------------------------


def test_one_failure_never_unverifies_and_days_without_the_token_do(
    parts: Portal, world: Nameservers, run_jobs: RunJobs, organisation: MadeOrganisation
) -> None:
    claim, zone = proven(parts, world, run_jobs, organisation)
    zone.remove(f"_eider.{claim.name}", "TXT")

    def look() -> bool:
        services.check_now(organisation.organisation, claim.id)
        run_jobs()
        return parts.mail.domains.is_hosted(claim.name)

    assert all(look() for _ in range(3))
    stored = again(claim)
    assert (stored.proof_missed, stored.proof_missed_since is not None) == (3, True)
    stored.proof_missed_since = utc_now() - checking.LAPSES_AFTER - timedelta(minutes=1)
    session().commit()
    assert look(), "days have passed, but few looks said so"
    stored = again(claim)
    stored.proof_missed = checking.LAPSES_AFTER_LOOKS - 1
    session().commit()
    assert not look()
    assert again(claim).verified_at is None
    zone.add(f"_eider.{claim.name}", "TXT", f'"eider-domain-verification={claim.token}"')
    assert look(), "and it comes back with the token"


def test_servers_that_are_away_say_nothing(
    parts: Portal, world: Nameservers, run_jobs: RunJobs, organisation: MadeOrganisation
) -> None:
    claim, _ = proven(parts, world, run_jobs, organisation)
    stored = again(claim)
    stored.proof_missed, stored.proof_missed_since = 100, utc_now() - timedelta(days=30)
    session().commit()
    world.resolver.trouble |= {name: Trouble.SERVFAIL for name, _ in list(world.zones[claim.name].servers[0].records)}
    services.check_now(organisation.organisation, claim.id)
    run_jobs()
    assert states(claim) == {State.UNKNOWN}
    assert parts.mail.domains.is_hosted(claim.name)


def test_proof_found_again_forgets_what_was_missed(
    parts: Portal, world: Nameservers, run_jobs: RunJobs, organisation: MadeOrganisation
) -> None:
    claim, zone = proven(parts, world, run_jobs, organisation)
    held = zone.get(f"_eider.{claim.name}", "TXT")
    for texts in ([], held):
        zone.add(f"_eider.{claim.name}", "TXT", *texts)
        services.check_now(organisation.organisation, claim.id)
        run_jobs()
    assert (again(claim).proof_missed, again(claim).proof_missed_since) == (0, None)


# -- again and again -----------------------------------------------------------------------------


def test_looks_wait_longer_while_nothing_is_new(
    parts: Portal, world: Nameservers, run_jobs: RunJobs, organisation: MadeOrganisation
) -> None:
    claim = add(organisation)
    world.zone(claim.name)
    quiet = []
    for _ in range(3):
        checking.check(parts, claim.id)
        stored = again(claim)
        assert stored.checked_at is not None
        quiet.append(stored.quiet_checks)
        wait = stored.next_check_at - stored.checked_at
        assert 0.8 * checking.FIRST_WAIT <= wait / 2**stored.quiet_checks <= 1.2 * checking.FIRST_WAIT
    assert quiet == [0, 1, 2]
    services.check_now(organisation.organisation, claim.id)
    assert again(claim).quiet_checks == 0
    assert checking.wait_after(10_000) <= 1.2 * checking.LONGEST_WAIT


def test_each_due_domain_is_enqueued_once(parts: Portal, organisation: MadeOrganisation) -> None:
    claim = add(organisation)
    assert parts.redis is not None
    parts.redis.flushdb()
    for _ in range(3):
        checking.enqueue_due()
    waiting = Queue(PORTAL, connection=parts.redis, serializer=JSONSerializer).jobs
    assert [job.kwargs for job in waiting].count({"claim_id": str(claim.id)}) == 1
    assert again(claim).next_check_at > utc_now()


# -- given up ------------------------------------------------------------------------------------


def test_domain_is_given_up_everywhere(
    parts: Portal, world: Nameservers, run_jobs: RunJobs, organisation: MadeOrganisation
) -> None:
    claim, _ = proven(parts, world, run_jobs, organisation)
    services.remove_domain(ADA, organisation.organisation, claim.id)
    run_jobs()
    assert queries.find_claim(organisation.organisation, claim.name) is None
    assert parts.mail.domains.owner_of(claim.name) is None


def test_domain_with_addresses_stays_and_says_why(
    parts: Portal, world: Nameservers, run_jobs: RunJobs, organisation: MadeOrganisation
) -> None:
    claim, _ = proven(parts, world, run_jobs, organisation)
    make_user(parts.mail, tenant=(organisation.organisation.tenant_id, claim.name))
    services.remove_domain(ADA, organisation.organisation, claim.id)
    run_jobs()
    assert (again(claim).removed_at, again(claim).problem) == (None, "in-use")
    assert parts.mail.domains.is_hosted(claim.name)


def test_domain_of_an_operators_tenant_is_not_taken(
    parts: Portal, world: Nameservers, run_jobs: RunJobs, organisation: MadeOrganisation
) -> None:
    claim = add(organisation)
    other = parts.mail.tenants.create(OPERATOR, f"Operator's {ObjectId()}", "eu")
    parts.mail.domains.create(OPERATOR, other, claim.name)
    publish(world.zone(claim.name), wanted_of(parts, claim))
    run_jobs()
    assert again(claim).problem == "taken"
    assert parts.mail.domains.owner_of(claim.name) == other
