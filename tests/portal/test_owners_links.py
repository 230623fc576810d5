"""Attack W33: an admin who comes to an owner's mail becomes no owner by a mailed link."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from bson import ObjectId
from flask import Flask
from sqlalchemy import select

from mailcore.services import MailServices
from portal.accounts import links, owners_links, services
from portal.accounts.models import LinkPurpose, MailedLink, Member, Membership
from portal.audit.models import AuditEvent
from portal.database import session, unit_of_work
from portal.permissions import Role
from portal.settings import PortalSettings
from tests.builders import OPERATOR, make_user
from tests.portal.conftest import Browser, MadeOrganisation, browser_of, token_of

NEW = {"password": "a quite different password"}


@pytest.fixture
def written_by(mail_services: MailServices, portal_settings: PortalSettings) -> PortalSettings:
    """Settings with somebody in whose name the portal writes."""
    return replace(portal_settings, sender=make_user(mail_services).address)


def at_home(mail: MailServices, made: MadeOrganisation, role: Role) -> Member:
    """A member whose address is one of the organisation's own."""
    domain = f"{ObjectId()}.test"
    mail.domains.create(OPERATOR, made.organisation.tenant_id, domain)
    member = made.members[role]
    with unit_of_work():
        member.email = member.canonical_email = member.lookalike_email = f"{role}@{domain}"
    return member


def mailed(mail: MailServices, settings: PortalSettings, member: Member) -> tuple[str, MailedLink]:
    """The token that is in the mail, as whoever reads it there has it, and its link."""
    services.ask_for_password(mail, member.email, "en")
    token = token_of(mail, LinkPurpose.RESET, member.email)
    link = links.find(LinkPurpose.RESET, token)
    assert link is not None
    assert links.deliver(mail, settings, link.id)
    return token, link


def days_later(link: MailedLink, days: float = 3.1) -> None:
    """Let a link have been asked for some days before."""
    by = timedelta(days=days)
    with unit_of_work():
        link.created_at, link.expires_at = link.created_at - by, link.expires_at - by
        at = owners_links.not_before(link)
        if at is not None:
            link.content = {**link.content, owners_links.NOT_BEFORE: (at - by).isoformat()}


def check_an_admin_takes_no_owner_over(
    made: MadeOrganisation, mail: MailServices, settings: PortalSettings, client: Browser
) -> None:
    owner = at_home(mail, made, Role.OWNER)
    token, _ = mailed(mail, settings, owner)
    before = owner.password_hash
    assert client.get(f"/new-password/{token}").status_code == 403
    assert client.post(f"/new-password/{token}", NEW).status_code == 403
    session().rollback()
    session().refresh(owner)
    assert owner.password_hash == before
    wanted = select(AuditEvent.what).where(AuditEvent.organisation_id == made.organisation.id)
    assert "password.reset_waits" in session().scalars(wanted).all()


def test_an_admin_who_reads_the_link_takes_no_owner_over(
    organisation: MadeOrganisation, mail_services: MailServices, written_by: PortalSettings, client: Browser
) -> None:
    check_an_admin_takes_no_owner_over(organisation, mail_services, written_by, client)


def test_control_links_that_do_not_wait_are_seen(
    organisation: MadeOrganisation,
    mail_services: MailServices,
    written_by: PortalSettings,
    client: Browser,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(owners_links, "hold_back", lambda *_: None)
    with pytest.raises(AssertionError):
        check_an_admin_takes_no_owner_over(organisation, mail_services, written_by, client)


def test_an_owner_who_waited_chooses_a_new_password(
    organisation: MadeOrganisation, mail_services: MailServices, written_by: PortalSettings, client: Browser
) -> None:
    token, link = mailed(mail_services, written_by, at_home(mail_services, organisation, Role.OWNER))
    days_later(link)
    assert client.post(f"/new-password/{token}", NEW).status_code == 303
    assert client.post(f"/new-password/{token}", NEW).status_code == 410


def test_an_owner_who_is_signed_in_meanwhile_ends_the_link(
    portal_app: Flask,
    organisation: MadeOrganisation,
    mail_services: MailServices,
    written_by: PortalSettings,
    client: Browser,
) -> None:
    """By a browser that was signed in before, and by signing in."""
    owner = at_home(mail_services, organisation, Role.OWNER)
    browser = browser_of(portal_app, owner)
    token, link = mailed(mail_services, written_by, owner)
    days_later(link)
    assert browser.get("/members").status_code == 200
    assert client.post(f"/new-password/{token}", NEW).status_code == 403
    browser_of(portal_app, owner)
    assert client.post(f"/new-password/{token}", NEW).status_code == 410


def test_the_other_owners_are_written_to_once(
    organisation: MadeOrganisation, mail_services: MailServices, written_by: PortalSettings
) -> None:
    other = organisation.members[Role.ADMIN]
    with unit_of_work():
        membership = session().get_one(Membership, (organisation.organisation.id, other.id))
        membership.role = Role.OWNER
    _, link = mailed(mail_services, written_by, at_home(mail_services, organisation, Role.OWNER))
    assert [one.id for one in owners_links.other_owners(organisation.members[Role.OWNER])] == [other.id]
    sender = mail_services.addresses.get(written_by.sender)
    queued = mail_services.outbound.list_of_user(sender.user_id, 10)
    assert sorted(each.address for entry in queued for each in entry.recipients) == sorted([link.email, other.email])


@pytest.mark.parametrize("who", ["outside", "no owner", "second factor"])
def test_others_do_not_wait(
    organisation: MadeOrganisation, mail_services: MailServices, written_by: PortalSettings, client: Browser, who: str
) -> None:
    """Mail that the organisation has no hand in; who is no owner; and who does not sign in by a password alone."""
    role = Role.AUDITOR if who == "no owner" else Role.OWNER
    member = organisation.members[role] if who == "outside" else at_home(mail_services, organisation, role)
    if who == "second factor":
        with unit_of_work():
            member.sealed_totp_seed = b"a seed"
    token, _ = mailed(mail_services, written_by, member)
    assert client.post(f"/new-password/{token}", NEW).status_code == 303
