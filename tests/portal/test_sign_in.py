"""Signing in by every way there is: what opens the portal, what does not, and what a role must have."""

from __future__ import annotations

import re

import pyotp
import pytest
from bson import ObjectId
from flask import Flask
from redis import Redis
from sqlalchemy import select, update

from mailcore.model.secret import Secret
from mailcore.services import MailServices
from portal.accounts import factors, sessions
from portal.accounts.models import LinkPurpose, MailedLink, Member, Organisation
from portal.audit.models import AuditEvent
from portal.database import session, unit_of_work
from portal.mail_plane import EXTENSION, Portal
from portal.members import services as members
from portal.permissions import Role
from tests.builders import OPERATOR, PASSWORD, make_user
from tests.portal.conftest import SOMEBODY, Browser, MadeOrganisation, SignIn, browser_of, token_of
from workers.context import JobContext
from workers.jobs.portal import mail_link

pytestmark = pytest.mark.usefixtures("database")


def with_totp(mail: MailServices, member: Member) -> str:
    seed = factors.new_seed()
    with unit_of_work():
        member.sealed_totp_seed = factors.seal_seed(mail, member.id, seed)
    return seed


def sign_in_by_form(browser: Browser, email: str, password: str = PASSWORD) -> str:
    response = browser.post("/sign-in", {"email": email, "password": password})
    return response.headers.get("Location", "") if response.status_code == 303 else str(response.status_code)


def is_signed_in(browser: Browser) -> bool:
    return browser.get("/overview").status_code == 200


def test_a_password_signs_in_and_leads_where_one_wanted_to_go(client: Browser, organisation: MadeOrganisation) -> None:
    wanted = client.get("/members?x=1").headers["Location"]
    assert wanted == "/sign-in?next=/members?x%3D1"
    email = organisation.members[Role.OWNER].email
    response = client.post(wanted, {"email": email.upper(), "password": PASSWORD})
    assert response.headers["Location"] == "/members?x=1"
    assert is_signed_in(client)


@pytest.mark.parametrize("wrong", ["password", "member", "no address"])
def test_whatever_is_wrong_is_told_in_the_same_words(
    client: Browser, organisation: MadeOrganisation, wrong: str
) -> None:
    email = {"password": organisation.members[Role.OWNER].email, "member": "x@x.test", "no address": "@@"}[wrong]
    response = client.post("/sign-in", {"email": email, "password": "something wrong"})
    assert response.status_code == 400
    assert "Address or password is wrong." in response.text
    assert not is_signed_in(client)


def test_with_an_app_the_password_alone_opens_nothing(
    client: Browser, organisation: MadeOrganisation, mail_services: MailServices
) -> None:
    member = organisation.members[Role.OWNER]
    seed = with_totp(mail_services, member)
    assert sign_in_by_form(client, member.email) == "/sign-in/second-step"
    assert not is_signed_in(client)
    assert client.post("/sign-in/second-step", {"code": "000000"}).status_code == 400
    code = pyotp.TOTP(seed).now()
    assert client.post("/sign-in/second-step", {"code": code}).status_code == 303
    assert is_signed_in(client)


def test_a_code_is_good_once(portal_app: Flask, organisation: MadeOrganisation, mail_services: MailServices) -> None:
    member = organisation.members[Role.OWNER]
    code = pyotp.TOTP(with_totp(mail_services, member)).now()
    answers = []
    for _ in range(2):
        browser = Browser(portal_app.test_client())
        sign_in_by_form(browser, member.email)
        answers.append(browser.post("/sign-in/second-step", {"code": code}).status_code)
    assert answers == [303, 400]


def test_control_without_the_compare_and_set_a_code_is_good_again(
    portal_app: Flask, organisation: MadeOrganisation, mail_services: MailServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = organisation.members[Role.OWNER]
    code = pyotp.TOTP(with_totp(mail_services, member)).now()

    def forgetful(mail: MailServices, found: Member, given: str) -> None:
        assert factors.step_of(factors.open_seed(mail, found.id, found.sealed_totp_seed or b""), given)

    monkeypatch.setattr(factors, "use_code", forgetful)
    for _ in range(2):
        browser = Browser(portal_app.test_client())
        sign_in_by_form(browser, member.email)
        assert browser.post("/sign-in/second-step", {"code": code}).status_code == 303


def test_a_recovery_code_signs_in_once(
    portal_app: Flask, organisation: MadeOrganisation, mail_services: MailServices
) -> None:
    member = organisation.members[Role.OWNER]
    with_totp(mail_services, member)
    code = factors.new_recovery_codes(member)[0]
    answers = []
    for given in (code.upper().replace("-", " "), code):
        browser = Browser(portal_app.test_client())
        sign_in_by_form(browser, member.email)
        answers.append(browser.post("/sign-in/second-step", {"code": given}).status_code)
    assert answers == [303, 400]
    assert factors.recovery_codes_left(member) == factors.CODES - 1


def test_an_app_is_set_up_by_its_first_code_and_gives_recovery_codes(
    organisation: MadeOrganisation, sign_in: SignIn
) -> None:
    browser = sign_in(Role.ADMIN)
    browser.post("/profile/totp/begin")
    page = browser.get("/profile/totp").text
    seed = re.search(r'data-copy="([A-Z2-7]{32})"', page)
    assert seed is not None
    assert 'src="data:image/svg+xml' in page
    assert browser.post("/profile/totp", {"code": "123"}).status_code == 400
    shown = browser.post("/profile/totp", {"code": pyotp.TOTP(seed[1]).now()}).text
    assert len(re.findall(r"<li>[a-z2-9]{4}-[a-z2-9]{4}-[a-z2-9]{4}</li>", shown)) == factors.CODES
    session().expire_all()
    told = (
        session()
        .scalars(select(AuditEvent.what).where(AuditEvent.organisation_id == organisation.organisation.id))
        .all()
    )
    assert "second_factor.on" in told


def test_security_is_changed_only_by_who_proved_it_lately(organisation: MadeOrganisation, sign_in: SignIn) -> None:
    browser = sign_in(Role.OWNER)
    with unit_of_work() as current:
        current.execute(
            update(sessions.PortalSession)
            .where(sessions.PortalSession.member_id == organisation.members[Role.OWNER].id)
            .values(confirmed_at=sessions.utc_now() - sessions.CONFIRMED_FOR * 2)
        )
    for path in ("/profile/totp/begin", "/profile/password", "/profile/passkeys/options", "/profile/codes"):
        response = browser.post(path, {"password": "a stranger's choice"})
        assert response.headers["Location"] == "/profile/confirm?next=/profile/security", path
    assert browser.post("/profile/confirm", {"password": "wrong"}).status_code == 400
    assert browser.post("/profile/confirm", {"password": PASSWORD}).status_code == 303
    assert browser.post("/profile/totp/begin").headers["Location"] == "/profile/totp"


def test_a_role_that_needs_a_second_factor_sees_nothing_else_until_it_has_one(
    organisation: MadeOrganisation, sign_in: SignIn, mail_services: MailServices
) -> None:
    made = organisation.organisation
    members.set_second_factor_roles(SOMEBODY, made, frozenset({Role.HELPDESK}))
    helpdesk, auditor = sign_in(Role.HELPDESK), sign_in(Role.AUDITOR)
    assert helpdesk.get("/members").headers["Location"] == "/profile/security"
    assert "Your role needs a second factor" in helpdesk.get("/profile/security").text
    assert auditor.get("/members").status_code == 200
    with_totp(mail_services, organisation.members[Role.HELPDESK])
    assert helpdesk.get("/members").status_code == 200


def test_somebody_with_a_mailbox_signs_in_with_its_password_and_sees_nothing_of_the_organisation(
    client: Browser, mail_services: MailServices
) -> None:
    user = make_user(mail_services)
    assert sign_in_by_form(client, user.address) == "/account/"
    assert client.get("/overview").status_code == 403
    assert client.get("/members").status_code == 403


def test_a_changed_password_ends_the_sessions_of_a_mailbox_here_too(
    client: Browser, mail_services: MailServices
) -> None:
    user = make_user(mail_services)
    sign_in_by_form(client, user.address)
    assert client.get("/overview").status_code == 403
    mail_services.users.set_password(OPERATOR, user.user_id, Secret("a quite different one"))
    assert client.get("/overview").headers["Location"].startswith("/sign-in")


def test_an_invitation_leads_to_a_member_of_that_role(
    client: Browser, organisation: MadeOrganisation, sign_in: SignIn, mail_services: MailServices
) -> None:
    email = f"new-{ObjectId()}@outside.test"
    assert sign_in(Role.ADMIN).post("/members/invite", {"email": email, "role": "billing"}).status_code == 303
    token = token_of(mail_services, LinkPurpose.INVITATION, email)
    assert "Join" in client.get(f"/invitation/{token}").text
    fields = {"name": "Bea Lind", "password": "a good password"}
    assert client.post(f"/invitation/{token}", {"password": "short", "name": "Bea"}).status_code == 400
    german = {"Accept-Language": "de"}
    page = client.get(f"/invitation/{token}", headers=german).text
    assert "beitreten" in page
    assert "optional" not in page, "name and password are needed, though the other way needs none"
    assert client.post(f"/invitation/{token}", fields, headers=german).status_code == 303
    assert is_signed_in(client)
    assert client.get("/members").status_code == 403, "the role is billing"
    assert "Meine Anmeldung" in client.get("/profile/security").text, "the language goes with the member"
    assert client.post(f"/invitation/{token}", fields).status_code == 410


def test_an_invitation_is_sent_again(sign_in: SignIn, mail_services: MailServices) -> None:
    email, browser, owner = f"new-{ObjectId()}@outside.test", sign_in(Role.ADMIN), sign_in(Role.OWNER)
    browser.post("/members/invite", {"email": email, "role": "billing"})
    assert "Send the link again" in browser.get("/members").text
    first = token_of(mail_services, LinkPurpose.INVITATION, email)
    browser.post("/members/invite", {"email": email, "role": "billing"})
    assert token_of(mail_services, LinkPurpose.INVITATION, email) != first
    assert browser.get("/members").text.count(f">{email}</td>") == 1
    owner.post("/members/invite", {"email": email, "role": "owner"})
    assert "Send the link again" in owner.get("/members").text
    assert "Send the link again" not in browser.get("/members").text, "an admin makes no owners"


def test_an_invitation_that_is_taken_back_opens_nothing(
    client: Browser, organisation: MadeOrganisation, mail_services: MailServices
) -> None:
    email = f"new-{ObjectId()}@outside.test"
    made = organisation.organisation
    members.invite(mail_services, SOMEBODY, made, Role.OWNER, email, Role.ADMIN, "en")
    token = token_of(mail_services, LinkPurpose.INVITATION, email)
    link = session().scalars(select(MailedLink).where(MailedLink.email == email)).one()
    invitation = members.find_invitation(link)
    assert invitation is not None
    assert members.withdraw(SOMEBODY, made, Role.OWNER, invitation.id)
    assert client.post(f"/invitation/{token}", {"name": "Eve", "password": "a good password"}).status_code == 410


def test_signing_up_by_pages_sends_a_mail_through_our_queue(
    portal_app: Flask, client: Browser, mail_services: MailServices, redis_url: str
) -> None:
    sender = make_user(mail_services)
    email, name = f"ada-{ObjectId()}@outside.test", f"Harbour {ObjectId()}"
    fields = {"organisation": name, "name": "Ada Lund", "email": email, "region": "eu"}
    assert f"We sent a link to {email}" in client.post("/sign-up", fields).text
    parts: Portal = portal_app.extensions[EXTENSION]
    settings = type(parts.settings)(
        parts.settings.database_url, parts.settings.mail, "https://portal.eider.test", sender.address
    )
    token = token_of(mail_services, LinkPurpose.SIGN_UP, email)
    link = session().scalars(select(MailedLink).where(MailedLink.email == email)).one()
    with Redis.from_url(redis_url) as redis:
        context = JobContext(mail_services, redis, Portal(settings, parts.database, mail_services, redis))
        for _ in range(2):
            mail_link(context, str(link.id))
    [entry] = mail_services.outbound.list_of_user(sender.user_id)
    raw = b"".join(mail_services.outbound.content(sender.user_id, entry.id).read()).decode()
    text = raw.replace("=\r\n", "").replace("=3D", "=")
    assert [one.address for one in entry.recipients] == [email]
    assert f"https://portal.eider.test/sign-up/confirm/{token}" in text
    assert "Subject: Confirm your address for Eider" in raw
    assert client.post(f"/sign-up/confirm/{token}", {"password": "a good password"}).headers["Location"] == "/"
    assert is_signed_in(client)
    assert session().scalars(select(Organisation).where(Organisation.name == name)).one().provisioned_at is None


def test_the_sessions_page_ends_the_others(portal_app: Flask, organisation: MadeOrganisation) -> None:
    member = organisation.members[Role.OWNER]
    here, there = browser_of(portal_app, member), browser_of(portal_app, member)
    assert here.get("/profile/security").text.count("Sign out") >= 2
    here.post("/profile/sessions/end-others")
    assert (is_signed_in(here), is_signed_in(there)) == (True, False)


def test_an_organisation_whose_name_is_an_advertisement_is_refused(client: Browser) -> None:
    fields = {"organisation": "Win at www.evil.test", "name": "Eve", "email": "victim@x.test", "region": "eu"}
    assert client.post("/sign-up", fields).status_code == 400
    assert session().scalars(select(MailedLink).where(MailedLink.email == "victim@x.test")).all() == []


def test_who_asks_too_often_is_told_to_wait(client: Browser) -> None:
    fields = {"organisation": "Often", "name": "Ada", "email": "often@x.test", "region": "eu"}
    from_one = {"REMOTE_ADDR": "198.51.100.77"}
    answers = [client.post("/sign-up", fields, environ_overrides=from_one).status_code for _ in range(22)]
    assert answers == [200] * 20 + [429] * 2
