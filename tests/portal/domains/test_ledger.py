"""Records being written at a provider: each told, whatever stops it in the middle, and gone on with, nothing twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import update

from mailcore import fault
from mailcore.model.secret import Secret
from portal import progress
from portal.audit.models import AuditEvent
from portal.database import session, unit_of_work, utc_now
from portal.domains import ledger, writing
from portal.domains.errors import PlanChanged, WritingUnderWay
from portal.domains.models import DomainClaim, RecordWriting, WritingState
from portal.domains.providers.writer import ZoneWriter
from portal.domains.records import State
from portal.domains.writing import Access
from portal.mail_plane import Portal
from portal.permissions import Role
from portal.progress import announce
from tests.portal.conftest import Browser, MadeOrganisation, SignIn, make_organisation
from tests.portal.domains.test_life import ADA, Killed, RunJobs, add, again, die, states
from tests.portal.test_progress import Stream
from tests.stubs.nameservers import Nameservers
from tests.stubs.powerdns import KEY, PowerDns

Begun = Callable[[], tuple[DomainClaim, int]]
MADE = "domains.record_made"


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PAUSE_S", 0.0)


@pytest.fixture
def provider(started_powerdns: PowerDns) -> Iterator[PowerDns]:
    """A provider that takes everything again afterwards."""
    yield started_powerdns
    started_powerdns.fails_after = None


@pytest.fixture
def begun(parts: Portal, world: Nameservers, run_jobs: RunJobs, organisation: MadeOrganisation) -> Begun:
    """Return `begun()`: a domain of which all records are to be written, and how many changes that is."""

    def begin() -> tuple[DomainClaim, int]:
        claim = add(organisation)
        world.zone(claim.name)
        run_jobs()
        access = access_to(claim)
        shown = writing.preview(parts, again(claim), access)
        made = ledger.begin(parts, ADA, organisation.organisation, access, shown.digest)
        assert set(made) == set(shown.changes)
        return again(claim), len(made)

    return begin


def access_to(claim: DomainClaim) -> Access:
    keys = tuple(result.key for result in again(claim).results)
    return Access(claim.id, "powerdns", claim.name, Secret(KEY), keys)


def stands(claim: DomainClaim) -> RecordWriting:
    session().rollback()
    found = ledger.find(claim.id)
    assert found is not None
    return found


def events(claim: DomainClaim, what: str) -> list[int]:
    """How many changes each such event of the audit log tells."""
    found = session().query(AuditEvent).filter_by(what=what, target=claim.name).order_by(AuditEvent.number)
    return [len(entry.details["changes"]) for entry in found]


def path(claim: DomainClaim, more: str = "") -> str:
    return f"/domains/{claim.id}/provider/writing{more}"


def test_each_change_is_told_as_it_is_made(
    parts: Portal, begun: Begun, run_jobs: RunJobs, sign_in: SignIn, provider: PowerDns
) -> None:
    claim, total = begun()
    browser = sign_in(Role.ADMIN)
    page = browser.get(path(claim)).text
    assert f"0 / {total}" in page
    assert f'data-progress="{path(claim, "/progress")}"' in page
    assert KEY not in page
    stream, told = Stream(browser, path(claim, "/progress")), []
    told.append(stream.next())

    def tell() -> None:
        announce(parts.redis, ledger.topic(claim.id))
        told.append(stream.next())

    ledger.carry_out(parts, claim.id, tell)
    assert [one["done"] for one in told] == [*range(total + 1), total]
    assert [one["ended"] for one in told] == [False] * (total + 1) + [True]
    assert stream.next() is None
    assert stands(claim).sealed_access is None, "the token is gone with the last change"
    answer = browser.get(path(claim))
    assert answer.headers["Location"] == f"/domains/{claim.id}"
    assert f"{total} changes were written" in browser.get(answer.headers["Location"]).text
    assert browser.get(path(claim), headers={"HX-Request": "true"}).headers["HX-Redirect"] == f"/domains/{claim.id}"
    run_jobs()
    assert states(claim) == {State.MATCH}


def test_where_the_provider_stops_is_told_and_the_rest_is_written_later(
    parts: Portal, begun: Begun, run_jobs: RunJobs, sign_in: SignIn, provider: PowerDns
) -> None:
    claim, total = begun()
    before = len(provider.patches)
    provider.fails_after = before + 3
    run_jobs()
    stopped = stands(claim)
    assert (stopped.state, stopped.written) == (WritingState.STOPPED, 3)
    browser = sign_in(Role.ADMIN)
    assert "3 of" in browser.get(f"/domains/{claim.id}").text
    page = browser.get(path(claim)).text
    assert "The provider stopped us: PowerDNS answered 500." in page
    assert "data-progress" not in page
    assert shown(page) == ["written"] * 3 + ["not written"] * (total - 3)
    assert events(claim, "domain.records_left") == [total - 3]
    provider.fails_after = None
    assert browser.post(path(claim, "/go-on")).headers["Location"] == path(claim)
    run_jobs()
    assert stands(claim).state == WritingState.DONE
    assert len(provider.patches) == before + total + 1, "each change was made once, and one was refused before"
    assert events(claim, "domain.records_written") == [total, total - 3]
    run_jobs()
    assert states(claim) == {State.MATCH}


def shown(page: str) -> list[str]:
    """The badge that each row shows."""
    found = []
    for row in page.split("<tr>")[2:]:
        words = [part for part in row.split("</span></span>") if "badge" in part]
        [visible] = [part for part in words if " hidden>" not in part]
        found.append(visible.rpartition(">")[2])
    return found


def test_a_worker_that_dies_is_followed_and_nothing_is_made_twice(
    parts: Portal, begun: Begun, provider: PowerDns
) -> None:
    """Killed after a change was made and before that was noted, again and again."""
    claim, total = begun()
    before = len(provider.patches)
    for made in range(1, 4):
        kill_after_one(parts, claim)
        ledger.carry_out(parts, claim.id)  # too early: somebody may still be at it
        assert (len(provider.patches), stands(claim).written) == (before + made, made - 1)
        lease_is_over(claim)
        assert ledger.enqueue_due() >= 1
    ledger.carry_out(parts, claim.id)
    assert stands(claim).state == WritingState.DONE
    assert len(provider.patches) == before + total


def kill_after_one(parts: Portal, claim: DomainClaim) -> None:
    """Let a worker die when it has made a change that was not made before."""
    known = stands(claim)
    skipped, made = known.written, len(known.changes)
    steps = iter(range(made))

    def die_at_new() -> None:
        if next(steps) + skipped >= already:
            die()

    already = skipped + (1 if known.lease else 0)
    fault.install({MADE: die_at_new})
    try:
        with pytest.raises(Killed):
            ledger.carry_out(parts, claim.id)
    finally:
        fault.install({})
    session().rollback()


def lease_is_over(claim: DomainClaim) -> None:
    with unit_of_work() as current:
        ended = utc_now() - timedelta(seconds=1)
        current.execute(update(RecordWriting).where(RecordWriting.claim_id == claim.id).values(leased_until=ended))


def made_twice(parts: Portal, claim: DomainClaim, provider: PowerDns) -> int:
    """How many changes more than there are were made, by two workers of whom one comes too late."""
    before, total = len(provider.patches), len(stands(claim).changes)
    state: dict[str, Any] = {"first": True}

    def other_takes_over() -> None:
        if state.pop("first", False):
            lease_is_over(claim)
            ledger.carry_out(parts, claim.id)

    fault.install({MADE: other_takes_over})
    try:
        ledger.carry_out(parts, claim.id)
    finally:
        fault.install({})
    return len(provider.patches) - before - total


def test_who_comes_too_late_stops(parts: Portal, begun: Begun, provider: PowerDns) -> None:
    claim, total = begun()
    assert made_twice(parts, claim, provider) == 0
    assert (stands(claim).state, stands(claim).written) == (WritingState.DONE, total)


def test_control_who_does_not_look_whether_it_is_too_late_makes_changes_twice(
    parts: Portal, begun: Begun, provider: PowerDns, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim, _ = begun()
    monkeypatch.setattr(ledger, "_note", lambda *_: True)
    assert made_twice(parts, claim, provider) > 0


def test_control_a_worker_that_does_not_look_what_stands_there_makes_it_twice(
    parts: Portal, begun: Begun, provider: PowerDns, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim, total = begun()
    before = len(provider.patches)
    fault.install({MADE: die})
    try:
        with pytest.raises(Killed):
            ledger.carry_out(parts, claim.id)
    finally:
        fault.install({})
    session().rollback()
    lease_is_over(claim)
    monkeypatch.setattr(ZoneWriter, "held", lambda _: [])
    ledger.carry_out(parts, claim.id)
    assert len(provider.patches) > before + total


def test_only_one_writing_at_a_time_and_only_what_was_shown(
    parts: Portal, begun: Begun, organisation: MadeOrganisation
) -> None:
    claim, _ = begun()
    access = access_to(claim)
    digest = writing.preview(parts, again(claim), access).digest
    with pytest.raises(WritingUnderWay):
        ledger.begin(parts, ADA, organisation.organisation, access, digest)
    with pytest.raises(PlanChanged):
        ledger.begin(parts, ADA, organisation.organisation, access, "another plan")


def test_it_may_be_left_at_that(begun: Begun, run_jobs: RunJobs, sign_in: SignIn, provider: PowerDns) -> None:
    claim, _ = begun()
    provider.fails_after = len(provider.patches) + 1
    run_jobs()
    browser = sign_in(Role.ADMIN)
    assert browser.post(path(claim, "/leave")).headers["Location"] == f"/domains/{claim.id}"
    session().rollback()
    assert ledger.find(claim.id) is None
    assert "changes are written" not in browser.get(f"/domains/{claim.id}").text


def test_what_stopped_is_forgotten_after_a_day_with_its_token(
    begun: Begun, run_jobs: RunJobs, provider: PowerDns
) -> None:
    claim, _ = begun()
    provider.fails_after = len(provider.patches)
    run_jobs()
    ledger.enqueue_due()
    assert stands(claim).sealed_access is not None
    assert KEY.encode() not in (stands(claim).sealed_access or b"")
    with unit_of_work() as current:
        begun_at = utc_now() - ledger.FORGOTTEN_AFTER - timedelta(minutes=1)
        wanted = update(RecordWriting).where(RecordWriting.claim_id == claim.id)
        current.execute(wanted.values(begun_at=begun_at))
    ledger.enqueue_due()
    session().rollback()
    assert ledger.find(claim.id) is None


def test_anothers_writing_is_not_there(portal_app: Flask, parts: Portal, begun: Begun, sign_in: SignIn) -> None:
    claim, _ = begun()
    stranger: Browser = sign_in(Role.OWNER, make_organisation(parts.mail))
    assert stranger.get(path(claim)).status_code == 404
    assert stranger.get(path(claim, "/progress")).status_code == 404
    for more in ("/go-on", "/leave"):
        assert stranger.post(path(claim, more)).status_code == 404
    assert stands(claim).state == WritingState.RUNNING
