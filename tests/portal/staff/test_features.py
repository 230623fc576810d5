"""Features that staff switch: each has its effect, for one organisation or a share of them, and two logs tell it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import pytest
from bson import ObjectId
from flask import Flask
from redis import Redis
from sqlalchemy import select

from mailcore.errors import NotPermitted
from mailcore.model.features import BY_DEFAULT, Feature, is_in_share
from mailcore.model.secret import Secret
from mailcore.model.tenant import Tenant
from mailcore.services import MailServices
from mailcore.services.trust.host_certificates import HostCertificates
from portal.accounts.models import Organisation
from portal.audit.models import PLATFORM, AuditEvent
from portal.database import session, unit_of_work
from portal.domains import services as domains
from portal.domains import writing
from portal.domains.errors import ProviderFailed, WritingOff
from portal.domains.wanted import ServiceNames
from portal.mail_plane import EXTENSION, Portal
from portal.permissions import Role
from portal.staff import features
from portal.staff.models import FeatureChoice, FeatureShare
from tests.builders import OPERATOR, MadeUser, make_user
from tests.portal.conftest import SOMEBODY, Browser, MadeOrganisation, browser_of, make_organisation
from tests.portal.staff.test_grants import make_staff
from tests.store.test_delivery import deliver, message
from workers.context import JobContext
from workers.jobs import features as jobs

_numbers = itertools.count(1)


@dataclass
class Scene:
    """An organisation with a proven domain and a user whose script throws all mail away, and a member of staff."""

    app: Flask
    mail: MailServices
    made: MadeOrganisation
    user: MadeUser
    staff: Browser

    @property
    def organisation(self) -> Organisation:
        return self.made.organisation

    @property
    def parts(self) -> Portal:
        found: Portal = self.app.extensions[EXTENSION]
        return found

    def switch(self, feature: Feature, choice: str) -> None:
        """As staff do it, and the job that follows."""
        path = f"/staff/organisations/{self.organisation.id}/features/{feature.value}"
        assert self.staff.post(path, {"choice": choice, "reason": "in trouble"}).status_code == 303
        features.apply(self.mail, self.organisation.id)

    def told(self, organisation_id: object, what: str) -> list[AuditEvent]:
        session().expire_all()
        wanted = select(AuditEvent).where(AuditEvent.organisation_id == organisation_id, AuditEvent.what == what)
        return list(session().scalars(wanted.order_by(AuditEvent.number)))


@pytest.fixture
def scene(portal_app: Flask, mail_services: MailServices) -> Iterator[Scene]:
    with portal_app.extensions[EXTENSION].database.scope():
        with unit_of_work() as current:
            current.query(FeatureShare).delete()
        made = make_organisation(mail_services)
        domain = f"f{made.organisation.tenant}.test"
        mail_services.domains.create(OPERATOR, made.organisation.tenant_id, domain)
        user = make_user(mail_services, tenant=(made.organisation.tenant_id, domain))
        mail_services.scripts.put(OPERATOR, user.user_id, "all", "discard;")
        mail_services.scripts.activate(OPERATOR, user.user_id, "all")
        yield Scene(portal_app, mail_services, made, user, browser_of(portal_app, make_staff(mail_services)))
        with unit_of_work() as current:
            current.query(FeatureShare).delete()


def writes_dns(scene: Scene) -> bool:
    """Whether the provider is asked at all: here nobody answers."""
    name = f"w{next(_numbers)}-{ObjectId()}.test"
    claim = domains.add_domain(SOMEBODY, scene.organisation, name, ServiceNames.from_environment({}))
    page = browser_of(scene.app, scene.made.members[Role.OWNER]).get(f"/domains/{claim.id}/provider")
    closed = replace(scene.parts.settings.domains, powerdns_url="http://127.0.0.1:9")
    parts = replace(scene.parts, settings=replace(scene.parts.settings, domains=closed))
    try:
        writing.preview(parts, claim, writing.Access(claim.id, "powerdns", claim.name, Secret("x"), ()))
    except WritingOff:
        assert page.status_code == 303
        return False
    except ProviderFailed:
        pass
    assert page.status_code == 200
    return True


def orders_certificates(scene: Scene) -> bool:
    directory = scene.mail.placement.directory
    hosts = HostCertificates(directory, scene.mail.tenants._audit, has_authority=True)
    domain = scene.user.address.partition("@")[2]
    hosts.want(OPERATOR, scene.user.tenant_id, domain, ["mta-sts"])
    is_ordered = any(one.next_at is not None for one in hosts.list_of(scene.user.tenant_id, domain))
    hosts.give_up(OPERATOR, scene.user.tenant_id, domain)
    return is_ordered


def makes_exports(scene: Scene) -> bool:
    try:
        scene.mail.mail_exports.ask(OPERATOR, scene.user.user_id)
    except NotPermitted:
        return False
    scene.mail.mail_exports.delete(OPERATOR, scene.user.user_id)
    return True


def runs_scripts(scene: Scene) -> bool:
    before = scene.mail.mailboxes.open(scene.user.user_id, "INBOX").exists
    scene.mail.placement.forget(scene.user.user_id)
    deliver(scene.mail, message(b"to be thrown away", str(ObjectId())), scene.user)
    return scene.mail.mailboxes.open(scene.user.user_id, "INBOX").exists == before


EFFECTS: Final[Mapping[Feature, Callable[[Scene], bool]]] = {
    Feature.DNS_WRITING: writes_dns,
    Feature.HOST_CERTIFICATES: orders_certificates,
    Feature.MAIL_EXPORTS: makes_exports,
    Feature.USER_SCRIPTS: runs_scripts,
}


def effects(scene: Scene, feature: Feature) -> list[bool]:
    """Whether it works as it is by default, switched the other way, and then as others have it again."""
    usual = BY_DEFAULT[feature]
    seen = [EFFECTS[feature](scene)]
    for choice in ("off" if usual else "on", "as-others"):
        scene.switch(feature, choice)
        seen.append(EFFECTS[feature](scene))
    return seen


@pytest.mark.parametrize("feature", list(Feature))
def test_each_feature_has_its_effect(scene: Scene, feature: Feature) -> None:
    usual = BY_DEFAULT[feature]
    assert effects(scene, feature) == [usual, not usual, usual]


@pytest.mark.parametrize("feature", list(Feature))
def test_control_a_feature_that_nobody_asks_for_would_be_seen(
    scene: Scene, feature: Feature, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Tenant, "has", lambda *_: True)
    monkeypatch.setattr(features, "is_on", lambda *_: True)
    assert effects(scene, feature) == [True, True, True]


def test_a_file_that_is_being_made_waits_while_it_is_off(scene: Scene) -> None:
    user_id = scene.user.user_id
    scene.mail.mail_exports.ask(OPERATOR, user_id)
    scene.switch(Feature.MAIL_EXPORTS, "off")
    scene.mail.mail_exports.make_due()
    assert scene.mail.mail_exports.get(user_id).state.value == "making"
    scene.switch(Feature.MAIL_EXPORTS, "as-others")
    exports = scene.mail.placement.directory.database["mail_exports"]
    assert exports.update_many({}, {"$unset": {"claim": ""}, "$set": {"next_at": ObjectId().generation_time}})
    scene.mail.mail_exports.make_due()
    assert scene.mail.mail_exports.get(user_id).state.value == "ready"


def test_both_logs_tell_who_switched_what_and_why(scene: Scene) -> None:
    scene.switch(Feature.MAIL_EXPORTS, "off")
    own = scene.told(scene.organisation.id, "feature.switched")
    assert [
        (one.actor_kind, one.details["feature"], one.details["switched"], one.details["reason"]) for one in own
    ] == [("staff", "mail_exports", "off", "in trouble")]
    platform = [one.details.get("organisation") for one in scene.told(PLATFORM, "feature.switched")]
    assert platform.count(str(scene.organisation.id)) == 1
    for sequencer in scene.mail.events.sequencers():
        sequencer.catch_up()
    heard = [event.details for event in scene.mail.events.read(scene.user.tenant_id, limit=1000).events
             if event.kind == "tenant.features"]  # fmt: skip
    assert any("mail_exports" in str(details) for details in heard), "the tenant's log hears of it"


def test_without_a_reason_or_a_known_name_nothing_is_switched(scene: Scene) -> None:
    path = f"/staff/organisations/{scene.organisation.id}/features/mail_exports"
    for fields in ({"choice": "off", "reason": "  "}, {"choice": "perhaps", "reason": "x"}, {}):
        scene.staff.post(path, fields)
    assert scene.staff.post(f"{path}x", {"choice": "off", "reason": "x"}).status_code == 404
    for percent in ("101", "-1", "", "ten"):
        scene.staff.post("/staff/features/mail_exports", {"percent": percent, "reason": "x"})
    session().expire_all()
    assert session().scalars(select(FeatureShare)).all() == []
    assert features.switches_of(scene.organisation)[Feature.MAIL_EXPORTS].choice is None


def test_a_share_holds_for_those_who_are_in_it_and_a_choice_goes_before_it(scene: Scene) -> None:
    scene.staff.post("/staff/features/mail_exports", {"percent": "0", "reason": "a disk is full"})
    assert not features.is_on(scene.organisation, Feature.MAIL_EXPORTS)
    features.apply(scene.mail, scene.organisation.id)
    assert not makes_exports(scene)
    assert features.is_on(scene.organisation, Feature.DNS_WRITING), "others are as they were"
    scene.switch(Feature.MAIL_EXPORTS, "on")
    assert makes_exports(scene)
    assert [one.details["percent"] for one in scene.told(PLATFORM, "feature.shared")][-1] == 0


def test_a_share_is_about_its_part_and_grows_by_adding() -> None:
    tenants = [str(ObjectId()) for _ in range(2000)]
    few = {one for one in tenants if is_in_share(Feature.MAIL_EXPORTS, one, 20)}
    more = {one for one in tenants if is_in_share(Feature.MAIL_EXPORTS, one, 60)}
    assert 280 <= len(few) <= 520
    assert few < more
    assert few != {one for one in tenants if is_in_share(Feature.USER_SCRIPTS, one, 20)}
    assert [sum(is_in_share(Feature.DNS_WRITING, one, percent) for one in tenants) for percent in (0, 100)] == [0, 2000]


def test_what_nobody_knows_is_ignored_in_both_databases(scene: Scene) -> None:
    with unit_of_work() as current:
        known = {"organisation_id": scene.organisation.id, "reason": "x", "chosen_by": "x"}
        current.add(FeatureChoice(feature="of_a_later_version", is_on=True, **known))
        current.add(FeatureShare(feature="of_a_later_version", percent=3, reason="x", chosen_by="x"))
    tenants = scene.mail.placement.directory.database["tenants"]
    stored = {"of_a_later_version": True, "mail_exports": "maybe", "user_scripts": False}
    tenants.update_one({"_id": scene.organisation.tenant_id}, {"$set": {"features": stored}})
    assert scene.mail.tenants.get(scene.organisation.tenant_id).features == {Feature.USER_SCRIPTS: False}
    assert features.apply(scene.mail, scene.organisation.id), "the comparison puts it right"
    assert not features.apply(scene.mail, scene.organisation.id)
    for path in ("/staff/features", f"/staff/organisations/{scene.organisation.id}/features"):
        page = scene.staff.get(path)
        assert page.status_code == 200
        assert "of_a_later_version" not in page.text


def test_the_job_tells_every_tenant_that_heard_otherwise(scene: Scene, redis_url: str) -> None:
    features.choose(SOMEBODY, scene.organisation, Feature.USER_SCRIPTS, is_on=False, reason="x")
    context = JobContext(scene.mail, Redis.from_url(redis_url), scene.parts)
    assert jobs.apply_all(context) >= 1
    assert scene.mail.tenants.get(scene.organisation.tenant_id).features == {Feature.USER_SCRIPTS: False}
    assert jobs.apply_all(context) == 0
