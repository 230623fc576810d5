"""Signing up: nothing is half-made, whoever dies where; links are good once; names that look alike are refused."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID

import pytest
from bson import ObjectId
from flask import Flask
from redis import Redis
from sqlalchemy import func, select, update

from mailcore import fault
from mailcore.errors import AddressInvalid, AddressTaken, NonceInvalid, TenantExists
from mailcore.model.secret import Secret
from mailcore.model.tenant import ManagedBy, State
from mailcore.services import MailServices
from portal.accounts import links, provisioning, services, sign_up
from portal.accounts.models import (
    LinkPurpose,
    MailedLink,
    Member,
    Membership,
    Organisation,
    OrganisationState,
)
from portal.audit.models import AuditEvent
from portal.database import session, unit_of_work, utc_now
from portal.mail_plane import EXTENSION
from tests.builders import OPERATOR, PASSWORD
from tests.portal.conftest import SOMEBODY, token_of
from workers.context import JobContext
from workers.main import make_worker

pytestmark = pytest.mark.usefixtures("database")


class Killed(BaseException):
    """The process ended here: nothing after it runs, and the connection to Postgres is gone."""


def die() -> None:
    raise Killed


@pytest.fixture
def disarmed() -> Iterator[None]:
    yield
    fault.install({})


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url) as client:
        client.flushdb()
        yield client


def asked(mail: MailServices, name: str = "Harbour", email: str | None = None) -> tuple[str, str]:
    """Somebody asked to sign up: the address, and the token that is in the mail."""
    address = email or f"ada-{ObjectId()}@outside.test"
    sign_up.ask(mail, name, "Ada Lund", address, "eu", "en")
    return address, token_of(mail, LinkPurpose.SIGN_UP, address)


def made_of(email: str) -> tuple[int, int, int]:
    """How many members, organisations and memberships there are of an address."""
    session().rollback()
    members = session().scalars(select(Member.id).where(Member.email == email)).all()
    memberships = session().scalars(select(Membership.organisation_id).where(Membership.member_id.in_(members))).all()
    organisations = session().scalar(
        select(func.count()).select_from(Organisation).where(Organisation.id.in_(memberships))
    )
    return len(members), organisations or 0, len(memberships)


def test_everything_is_made_at_once_and_told(mail_services: MailServices) -> None:
    email, token = asked(mail_services)
    member, organisation, is_new = sign_up.finish(mail_services, SOMEBODY, token, password=Secret(PASSWORD))
    assert (is_new, member.email, made_of(email)) == (True, email, (1, 1, 1))
    told = session().scalars(select(AuditEvent).where(AuditEvent.organisation_id == organisation.id)).all()
    assert [event.what for event in told] == ["organisation.created"]


def test_nothing_is_made_before_the_address_is_confirmed(mail_services: MailServices) -> None:
    email, _ = asked(mail_services)
    assert made_of(email) == (0, 0, 0)


POINTS = ("sign_up.link_used", "sign_up.member_added", "sign_up.organisation_added")


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.usefixtures("disarmed")
def test_death_before_the_commit_leaves_nothing_and_the_link_good(mail_services: MailServices, point: str) -> None:
    email, token = asked(mail_services)
    fault.install({point: die})
    with pytest.raises(Killed):
        sign_up.finish(mail_services, SOMEBODY, token, password=Secret(PASSWORD))
    assert made_of(email) == (0, 0, 0)
    fault.install({})
    sign_up.finish(mail_services, SOMEBODY, token, password=Secret(PASSWORD))
    assert made_of(email) == (1, 1, 1)


def test_control_a_commit_in_the_middle_leaves_something_half_made(
    mail_services: MailServices, monkeypatch: pytest.MonkeyPatch, disarmed: None
) -> None:
    email, token = asked(mail_services)
    real = sign_up.services.store_member

    def commits(member: Member) -> None:
        real(member)
        session().commit()

    monkeypatch.setattr(sign_up.services, "store_member", commits)
    fault.install({"sign_up.organisation_added": die})
    with pytest.raises(Killed):
        sign_up.finish(mail_services, SOMEBODY, token, password=Secret(PASSWORD))
    assert made_of(email) != (0, 0, 0)


@pytest.mark.parametrize(
    "point", ["sign_up.committed", "provision.tenant_made", "provision.state_set", "audit.changed"]
)
@pytest.mark.usefixtures("disarmed")
def test_death_after_the_commit_is_healed_by_the_next_run(
    portal_app: Flask, mail_services: MailServices, redis: Redis, point: str
) -> None:
    email, token = asked(mail_services, name=f"Healed {ObjectId()}")
    fault.install({point: die})
    try:
        _, organisation, _ = sign_up.finish(mail_services, SOMEBODY, token, password=Secret(PASSWORD))
        with pytest.raises(Killed):
            provisioning.provision(mail_services, organisation.id)
    except Killed:
        pass
    fault.install({})
    redis.flushdb()
    session().rollback()
    [organisation] = session().scalars(select(Organisation).join(Membership).join(Member).where(Member.email == email))
    context = JobContext(mail_services, redis, portal_app.extensions[EXTENSION])
    context.enqueue("portal.reconcile")
    worker = make_worker(mail_services, redis, context.portal)
    worker.work(burst=True, logging_level="ERROR")
    session().refresh(organisation)
    tenant = mail_services.tenants.get(organisation.tenant_id)
    assert organisation.provisioned_at is not None
    assert (tenant.name, tenant.managed_by, tenant.state) == (organisation.name, ManagedBy.PORTAL, State.ACTIVE)


def test_making_a_tenant_twice_makes_one(mail_services: MailServices) -> None:
    _, token = asked(mail_services, name=f"Once {ObjectId()}")
    _, organisation, _ = sign_up.finish(mail_services, SOMEBODY, token, password=Secret(PASSWORD))
    for _ in range(2):
        provisioning.provision(mail_services, organisation.id)
    assert mail_services.tenants.get_by_name(organisation.name).id == organisation.tenant_id


def test_a_tenant_name_that_is_taken_gets_the_slug_behind_it(mail_services: MailServices) -> None:
    name = f"Taken {ObjectId()}"
    mail_services.tenants.create(OPERATOR, name, "eu")
    with pytest.raises(TenantExists):
        mail_services.tenants.create(OPERATOR, name, "eu")
    _, token = asked(mail_services, name=name)
    _, organisation, _ = sign_up.finish(mail_services, SOMEBODY, token, password=Secret(PASSWORD))
    provisioning.provision(mail_services, organisation.id)
    assert mail_services.tenants.get(organisation.tenant_id).name == f"{name} ({organisation.slug})"


def test_the_state_of_an_organisation_becomes_that_of_its_tenant(mail_services: MailServices) -> None:
    _, token = asked(mail_services, name=f"State {ObjectId()}")
    _, organisation, _ = sign_up.finish(mail_services, SOMEBODY, token, password=Secret(PASSWORD))
    provisioning.provision(mail_services, organisation.id)
    with unit_of_work() as current:
        current.execute(
            update(Organisation).where(Organisation.id == organisation.id).values(state=OrganisationState.SUSPENDED)
        )
    wrong: list[UUID] = []
    after = None
    while True:
        found, after = provisioning.astray(mail_services, after)
        wrong += found
        if after is None:
            break
    assert organisation.id in wrong
    provisioning.provision(mail_services, organisation.id)
    assert mail_services.tenants.get(organisation.tenant_id).state is State.SUSPENDED


def test_a_link_is_good_once(mail_services: MailServices) -> None:
    _, token = asked(mail_services)
    sign_up.finish(mail_services, SOMEBODY, token, password=Secret(PASSWORD))
    with pytest.raises(NonceInvalid):
        sign_up.finish(mail_services, SOMEBODY, token, password=Secret(PASSWORD))


def test_a_link_is_good_for_an_hour_at_most(mail_services: MailServices) -> None:
    email, token = asked(mail_services)
    link = links.find(LinkPurpose.SIGN_UP, token)
    assert link is not None
    assert link.expires_at - link.created_at <= timedelta(hours=1, seconds=1)
    with unit_of_work():
        link.expires_at = utc_now()
    with pytest.raises(NonceInvalid):
        sign_up.finish(mail_services, SOMEBODY, token, password=Secret(PASSWORD))
    assert made_of(email) == (0, 0, 0)


def test_a_member_gets_one_organisation_more_and_keeps_the_password(mail_services: MailServices) -> None:
    email, token = asked(mail_services)
    member, first, _ = sign_up.finish(mail_services, SOMEBODY, token, password=Secret(PASSWORD))
    before = member.password_hash
    _, token = asked(mail_services, name="Second", email=email)
    again, second, is_new = sign_up.finish(mail_services, SOMEBODY, token, password=Secret("an attacker's choice"))
    assert (again.id, is_new, again.password_hash) == (member.id, False, before)
    assert first.id != second.id
    assert made_of(email) == (1, 2, 2)


LOOKALIKES = [
    pytest.param("admin", "аdmin", id="cyrillic a"),
    pytest.param("admin", "admın", id="dotless i"),
    pytest.param("paypal", "рaypal", id="cyrillic r"),
]


@pytest.mark.parametrize(("known", "new"), LOOKALIKES)
def test_an_address_that_looks_like_anothers_is_refused(mail_services: MailServices, known: str, new: str) -> None:
    """Attack W19: UTS 39 at sign-up."""
    domain = f"d{ObjectId()}.test"
    _, token = asked(mail_services, email=f"{known}@{domain}")
    sign_up.finish(mail_services, SOMEBODY, token, password=Secret(PASSWORD))
    with pytest.raises((AddressInvalid, AddressTaken)):
        _, token = asked(mail_services, email=f"{new}@{domain}")
        sign_up.finish(mail_services, SOMEBODY, token, password=Secret(PASSWORD))
    session().rollback()


def test_control_without_the_look_at_letters_the_double_gets_in(
    mail_services: MailServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "lookalike_of", lambda canonical: canonical)
    monkeypatch.setattr("portal.accounts.emails.lookalike", lambda canonical: None)
    domain = f"d{ObjectId()}.test"
    for local in ("admin", "admın"):
        _, token = asked(mail_services, email=f"{local}@{domain}")
        sign_up.finish(mail_services, SOMEBODY, token, password=Secret(PASSWORD))
    assert session().scalar(select(func.count()).select_from(Member).where(Member.email.like(f"%@{domain}"))) == 2


@pytest.mark.parametrize(
    "pair", [("Ada@x.test", "ada@x.test"), ("ａda@x.test", "ada@x.test"), ("é@x.test", "é@x.test")]
)
def test_one_person_is_one_member_however_the_address_is_typed(
    mail_services: MailServices, pair: tuple[str, str]
) -> None:
    one, other = (sign_up.read_email(text)[1] for text in pair)
    assert one == other


def test_an_address_gets_five_mails_an_hour_at_most(mail_services: MailServices) -> None:
    email = f"ada-{ObjectId()}@outside.test"
    for _ in range(links.MOST_AT_ONCE + 2):
        sign_up.ask(mail_services, "Harbour", "Ada", email, "eu", "en")
    count = session().scalar(select(func.count()).select_from(MailedLink).where(MailedLink.email == email))
    assert count == links.MOST_AT_ONCE
