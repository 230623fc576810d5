"""Limits that staff set: entitlements follow from the plan and from them, whatever runs, until they are over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

import pytest
from bson import ObjectId
from flask import Flask
from sqlalchemy import select

from mailcore.errors import TooManyUsers
from mailcore.model.secret import Secret
from mailcore.services import MailServices
from portal.accounts.models import Organisation
from portal.audit.models import AuditEvent
from portal.billing import enforcement, entitlements
from portal.billing.adjustments import MOST, Limit
from portal.billing.entitlements import Facts, affordable_bytes, derive
from portal.billing.models import Adjustment, Subscription
from portal.billing.plans import GIB, PLANS, TRIAL_SEATS
from portal.database import session, utc_now
from portal.domains import services as domains
from portal.domains.errors import DomainNotClaimable, Refusal
from portal.domains.wanted import ServiceNames
from portal.mail_plane import EXTENSION
from portal.permissions import Role
from portal.staff import limits
from portal.staff.models import Approval
from tests.builders import OPERATOR, PASSWORD
from tests.portal.conftest import SOMEBODY, Browser, MadeOrganisation, browser_of, make_organisation
from tests.portal.staff.test_grants import make_staff

SOON: Final = timedelta(days=3)


@dataclass
class Scene:
    """An organisation in its trial with two users, and two members of staff."""

    app: Flask
    mail: MailServices
    made: MadeOrganisation
    domain: str
    staff: Browser
    other_staff: Browser

    @property
    def organisation(self) -> Organisation:
        return self.made.organisation

    def set(self, limit: Limit, value: object, **more: str) -> str:
        """As staff do it; return what the page says then."""
        path = f"/staff/organisations/{self.organisation.id}/limits"
        answer = self.staff.post(f"{path}/{limit.value}", {"value": str(value), "reason": "a school term", **more})
        assert answer.status_code == 303
        return self.staff.get(path).text

    def enforce(self, later: timedelta = timedelta(0), *, pays: bool = True) -> bool:
        return enforcement.enforce(self.mail, self.organisation.id, utc_now() + later, pays=pays)

    def users(self) -> int | None:
        return self.mail.tenants.get(self.organisation.tenant_id).limits.users

    def add_users(self, count: int) -> None:
        for _ in range(count):
            address = f"u{ObjectId()}@{self.domain}"
            self.mail.users.create(OPERATOR, address, Secret(PASSWORD), "", self.organisation.tenant_id)


@pytest.fixture
def scene(portal_app: Flask, mail_services: MailServices) -> Iterator[Scene]:
    with portal_app.extensions[EXTENSION].database.scope():
        made = make_organisation(mail_services)
        domain = f"l{made.organisation.tenant}.test"
        mail_services.domains.create(OPERATOR, made.organisation.tenant_id, domain)
        browsers = [browser_of(portal_app, make_staff(mail_services)) for _ in range(2)]
        found = Scene(portal_app, mail_services, made, domain, *browsers)
        found.add_users(2)
        yield found


def day(later: timedelta) -> str:
    return (utc_now() + later).date().isoformat()


def holds_until_it_is_over(scene: Scene) -> None:
    scene.enforce()
    assert scene.users() == TRIAL_SEATS
    scene.set(Limit.USERS, 25, until=day(SOON))
    assert scene.enforce()
    assert scene.users() == 25
    assert not scene.enforce(), "nothing sets it back"
    assert scene.enforce(SOON + timedelta(days=1))
    assert scene.users() == TRIAL_SEATS


def test_a_raised_limit_holds_against_enforcement_until_it_is_over(scene: Scene) -> None:
    holds_until_it_is_over(scene)


def test_control_entitlements_that_know_of_no_adjustment_are_seen(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entitlements, "adjustments_of", lambda _: {})
    with pytest.raises(AssertionError):
        holds_until_it_is_over(scene)


def test_each_limit_is_kept_where_it_counts(scene: Scene) -> None:
    scene.set(Limit.USERS, 3)
    scene.set(Limit.STORAGE, 7)
    scene.set(Limit.DOMAINS, 1)
    scene.set(Limit.RECIPIENTS, 77)
    scene.enforce()
    tenant = scene.mail.tenants.get(scene.organisation.tenant_id)
    assert (tenant.limits.users, tenant.limits.quota_bytes) == (3, 7 * GIB)
    assert scene.mail.usage.sending_limits(tenant.id).tenant_recipients_per_day == 77
    scene.add_users(1)
    with pytest.raises(TooManyUsers):
        scene.add_users(1)
    names = ServiceNames.from_environment({})
    domains.add_domain(SOMEBODY, scene.organisation, f"a{ObjectId()}.test", names)
    with pytest.raises(DomainNotClaimable) as refused:
        domains.add_domain(SOMEBODY, scene.organisation, f"b{ObjectId()}.test", names)
    assert refused.value.reason is Refusal.TOO_MANY


def test_where_nobody_pays_only_what_staff_set_is_set_and_what_operators_set_stays(scene: Scene) -> None:
    tenant_id = scene.organisation.tenant_id
    scene.mail.pools.set_max_users(OPERATOR, tenant_id, 40)
    assert not scene.enforce(pays=False)
    scene.set(Limit.USERS, 50, until=day(SOON))
    assert scene.enforce(pays=False)
    assert scene.users() == 50
    assert scene.enforce(SOON + timedelta(days=1), pays=False)
    assert scene.users() is None
    scene.mail.pools.set_max_users(OPERATOR, tenant_id, 41)
    assert not scene.enforce(SOON + timedelta(days=1), pays=False)
    assert scene.users() == 41


@pytest.mark.parametrize(
    "fields",
    [
        {"value": str(MOST[Limit.USERS] + 1)},
        {"value": "0"},
        {"value": "many"},
        {"reason": " "},
        {"until": "2020-01-01"},
        {"until": "9999-99-99"},
    ],
)
def test_what_nobody_may_set_is_not_set(scene: Scene, fields: dict[str, str]) -> None:
    scene.set(Limit.USERS, fields.pop("value", "20"), **fields)
    session().expire_all()
    assert session().get(Adjustment, (scene.organisation.id, "users")) is None
    assert session().scalars(select(Approval).where(Approval.organisation_id == scene.organisation.id)).all() == []


def lowers_alone(scene: Scene) -> bool:
    """Whether one member of staff alone sets fewer users than there are."""
    scene.set(Limit.USERS, 1)
    session().expire_all()
    asked = session().scalars(select(Approval).where(Approval.organisation_id == scene.organisation.id)).all()
    if not asked:
        return True
    assert scene.staff.post(f"/staff/approvals/{asked[0].id}", {"decision": "approve"}).status_code == 403
    assert session().get(Adjustment, (scene.organisation.id, "users")) is None
    assert "Limit of Users: 1" in scene.other_staff.get("/staff").text
    assert scene.other_staff.post(f"/staff/approvals/{asked[0].id}", {"decision": "approve"}).status_code == 303
    session().expire_all()
    scene.enforce()
    assert scene.users() == 1
    return False


def test_less_than_is_in_use_takes_two(scene: Scene) -> None:
    assert not lowers_alone(scene)


def test_control_one_alone_that_lowers_would_be_seen(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "in_use", lambda *_: {})
    assert lowers_alone(scene)


def test_the_organisation_reads_what_was_set_by_whom_and_why(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.set(Limit.USERS, 25, until=day(SOON))
    unbilled = browser_of(scene.app, scene.made.members[Role.OWNER]).get("/billing").text
    assert "set by support until" in unbilled
    assert "<dd>25" in unbilled
    parts = scene.app.extensions[EXTENSION]
    monkeypatch.setitem(scene.app.extensions, EXTENSION, replace(parts, payments=object()))
    page = browser_of(scene.app, scene.made.members[Role.OWNER]).get("/billing").text
    assert "2 / 25" in page
    assert "set by support until" in page
    assert "a school term" in page
    wanted = select(AuditEvent).where(AuditEvent.organisation_id == scene.organisation.id)
    told = [(one.what, one.actor_kind, one.details["value"], one.details["reason"])
            for one in session().scalars(wanted) if one.what.startswith("limit.")]  # fmt: skip
    assert told == [("limit.set", "staff", 25, "a school term")]
    scene.staff.post(f"/staff/organisations/{scene.organisation.id}/limits/users", {"end": "1", "reason": "over"})
    assert "set by support" not in browser_of(scene.app, scene.made.members[Role.OWNER]).get("/billing").text


def test_what_staff_raise_costs_no_more_than_the_spend_cap() -> None:
    now = utc_now()
    raised = Adjustment(name="storage_bytes", value=5000 * GIB, reason="x", set_by="x", expires_at=None, ended_at=None)
    plan = PLANS["pool"]
    subscription = Subscription(price_key=plan.key, quantity=50, status="active", period_end=now)
    facts = Facts(now, subscription, [], None, {Limit.STORAGE: raised})
    assert derive(facts, now).storage_bytes == 5000 * GIB
    capped = derive(replace(facts, spend_cap=2000), now).storage_bytes
    assert capped == affordable_bytes(plan, 50, 2000) < 5000 * GIB
