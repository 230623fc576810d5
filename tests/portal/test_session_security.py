"""Attacks on sessions, forms and links of the portal: W3, W10, W11, W15, W17, each with its control."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pyotp
import pytest
from bson import ObjectId
from flask import Flask
from sqlalchemy import select, text, update
from webauthn.helpers import bytes_to_base64url
from werkzeug.test import TestResponse

from mailcore.model.secret import Secret
from mailcore.services import MailServices
from portal import destinations, security
from portal.access import Open, need_of
from portal.accounts import cookies, enrolment, factors, links, services, sessions, sign_up, views
from portal.accounts.models import Invitation, LinkPurpose, Member, MemberPasskey, Membership, PortalSession
from portal.app import UNGUARDED
from portal.database import session, unit_of_work, utc_now
from portal.mail_plane import EXTENSION
from portal.members import services as members
from portal.models import METADATA
from portal.permissions import Role
from tests.builders import PASSWORD
from tests.portal.conftest import (
    SOMEBODY,
    Browser,
    MadeOrganisation,
    SignIn,
    browser_of,
    token_of,
    with_token,
)
from tests.portal.test_matrix import API, MAKERS

pytestmark = pytest.mark.usefixtures("database")


def cookie_of(browser: Browser) -> str:
    found = browser.client.get_cookie("__Host-eider")
    assert found is not None
    return found.value


def token_in(browser: Browser) -> str | None:
    with browser.client.session_transaction() as kept:
        found = kept.get("signed_in")
    return str(found) if found else None


def sign_in_by_form(browser: Browser, email: str, password: str = PASSWORD, **options: Any) -> TestResponse:
    return browser.post("/sign-in", {"email": email, "password": password}, **options)


def is_signed_in(browser: Browser) -> bool:
    return browser.get("/overview").status_code == 200


# -- W10: fixation and theft -----------------------------------------------------------------


def test_the_cookie_is_bound_to_host_and_tls_and_out_of_reach_of_scripts(
    client: Browser, organisation: MadeOrganisation
) -> None:
    response = sign_in_by_form(client, organisation.members[Role.OWNER].email)
    [cookie] = response.headers.getlist("Set-Cookie")
    name, _, attributes = cookie.partition("=")
    assert name == "__Host-eider"
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= {part.strip() for part in attributes.split(";")}
    assert "domain" not in cookie.lower()


def fixed(portal_app: Flask, organisation: MadeOrganisation) -> bool:
    """Whether a cookie that somebody put into a browser is still of use after its owner signed in there."""
    thief, victim = Browser(portal_app.test_client()), Browser(portal_app.test_client())
    thief.get("/sign-in")
    victim.client.set_cookie("__Host-eider", cookie_of(thief))
    sign_in_by_form(victim, organisation.members[Role.OWNER].email)
    assert is_signed_in(victim)
    with victim.client.session_transaction() as kept:
        form_token = kept.get("csrf_token")
    with thief.client.session_transaction() as kept:
        known = kept.get("csrf_token")
    return is_signed_in(thief) or form_token == known


def test_signing_in_begins_a_new_session(portal_app: Flask, organisation: MadeOrganisation) -> None:
    assert not fixed(portal_app, organisation)


def test_control_a_cookie_that_is_kept_at_sign_in_is_seen(
    portal_app: Flask, organisation: MadeOrganisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cookies, "start_over", lambda: None)
    assert fixed(portal_app, organisation)


def changes_of_id(portal_app: Flask, mail: MailServices, organisation: MadeOrganisation) -> dict[str, bool]:
    """What changes a session's id, and whether the old one then opens nothing."""
    member = organisation.members[Role.OWNER]
    found: dict[str, bool] = {}

    def old_is_dead(what: str, browser: Browser, do: Callable[[], TestResponse]) -> None:
        before = token_in(browser)
        assert do().status_code in {200, 303}
        assert is_signed_in(browser)
        old = with_token(portal_app, Secret(before or ""))
        found[what] = token_in(browser) != before and not is_signed_in(old)

    browser = browser_of(portal_app, member)
    old_is_dead("proof of who it is", browser, lambda: browser.post("/profile/confirm", {"password": PASSWORD}))
    browser.post("/profile/totp/begin")
    page = browser.get("/profile/totp").text
    seed = re.search(r'data-copy="([A-Z2-7]{32})"', page)
    assert seed is not None
    code = pyotp.TOTP(seed[1]).now()
    old_is_dead("second factor on", browser, lambda: browser.post("/profile/totp", {"code": code}))
    old_is_dead("second factor off", browser, lambda: browser.post("/profile/totp/off"))
    new = {"password": "another good password"}
    old_is_dead("password", browser, lambda: browser.post("/profile/password", new))
    with unit_of_work() as current:
        other = services.create_organisation(SOMEBODY, "Elsewhere", "eu", member)
        current.execute(update(Membership).where(Membership.organisation_id == other.id).values(role=Role.AUDITOR))
    old_is_dead("role", browser, lambda: browser.post("/members/organisations", {"organisation": str(other.id)}))
    return found


def test_the_id_is_new_after_second_factor_password_and_change_of_role(
    portal_app: Flask, mail_services: MailServices, organisation: MadeOrganisation
) -> None:
    found = changes_of_id(portal_app, mail_services, organisation)
    assert len(found) == 5
    assert all(found.values()), found


def test_control_an_id_that_stays_is_seen(
    portal_app: Flask, mail_services: MailServices, organisation: MadeOrganisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = {}

    def same(old: PortalSession, **changes: object) -> Secret:
        with unit_of_work():
            for name, value in changes.items():
                setattr(old, name, value)
            old.confirmed_at = utc_now()
        return Secret(tokens["now"])

    monkeypatch.setattr(sessions, "renew", same)
    real = sessions.open_session

    def known(member: Member, factor: str, browser: sessions.Browser) -> Secret:
        token = real(member, factor, browser)
        tokens["now"] = token.reveal_text()
        return token

    monkeypatch.setattr(sessions, "open_session", known)
    assert not any(changes_of_id(portal_app, mail_services, organisation).values())


def stays_after_being_ended(portal_app: Flask, organisation: MadeOrganisation) -> list[str]:
    """What ends sessions on the server, and whether a stolen cookie outlives it."""
    survived = []
    owner = browser_of(portal_app, organisation.members[Role.OWNER])
    victim = organisation.members[Role.HELPDESK]

    def end_one() -> None:
        for one in sessions.list_sessions(victim.id):
            browser_of(portal_app, victim).post(f"/profile/sessions/{one.id}/end")

    ends: dict[str, Callable[[], object]] = {
        "sign-out": lambda: stolen.post("/sign-out"),
        "one ended": end_one,
        "others ended": lambda: browser_of(portal_app, victim).post("/profile/sessions/end-others"),
        "another role": lambda: owner.post(f"/members/{victim.id}", {"role": "auditor"}),
    }
    for what, end in ends.items():
        stolen = browser_of(portal_app, victim)
        assert is_signed_in(stolen), what
        copy = with_token(portal_app, Secret(token_in(stolen) or ""))
        end()
        session().rollback()
        if is_signed_in(copy):
            survived.append(what)
    return survived


def test_what_is_ended_on_the_server_opens_nothing_whoever_has_the_cookie(
    portal_app: Flask, organisation: MadeOrganisation
) -> None:
    assert stays_after_being_ended(portal_app, organisation) == []


def test_control_signing_out_by_forgetting_the_cookie_alone_is_seen(
    portal_app: Flask, organisation: MadeOrganisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "end_session", lambda digest: None)
    assert stays_after_being_ended(portal_app, organisation) == ["sign-out"]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"expires_at": -timedelta(seconds=1)}, id="too old"),
        pytest.param({"seen_at": -sessions.IDLE_FOR - timedelta(seconds=1)}, id="idle"),
    ],
)
def test_a_session_ends_by_itself(
    organisation: MadeOrganisation, sign_in: SignIn, change: dict[str, timedelta]
) -> None:
    browser = sign_in(Role.OWNER)
    assert is_signed_in(browser)
    with unit_of_work() as current:
        current.execute(
            update(PortalSession)
            .where(PortalSession.digest == sessions.digest(token_in(browser) or ""))
            .values({name: utc_now() + after for name, after in change.items()})
        )
    assert not is_signed_in(browser)


def test_the_database_holds_no_token_that_opens_anything(organisation: MadeOrganisation, sign_in: SignIn) -> None:
    token = token_in(sign_in(Role.OWNER)) or ""
    rows = session().execute(text("SELECT portal_sessions::text FROM portal_sessions")).scalars()
    assert not any(token in row for row in rows)
    assert hashlib.sha256(token.encode()).digest() != sessions.digest(token)


# -- W11: forged requests --------------------------------------------------------------------


def forged(portal_app: Flask, organisation: MadeOrganisation, **request: Any) -> list[str]:
    """Unsafe views that do something for a request which a page of ours did not send."""
    passed = []
    browser = browser_of(portal_app, organisation.members[Role.OWNER])
    for rule in portal_app.url_map.iter_rules():
        if "POST" not in (rule.methods or set()) or rule.endpoint.partition(".")[0] in security.UNPROTECTED:
            continue
        values = dict.fromkeys(rule.arguments, "00000000-0000-0000-0000-000000000000")
        path = portal_app.url_map.bind("localhost").build(rule.endpoint, values, method="POST")
        response = browser.client.post(path, **request)
        if response.status_code not in {400, 403}:
            passed.append(f"{rule}: {response.status}")
    return passed


def test_no_unsafe_view_does_anything_without_the_form_token(portal_app: Flask, organisation: MadeOrganisation) -> None:
    assert forged(portal_app, organisation) == []
    assert forged(portal_app, organisation, data={"csrf_token": "made up"}) == []


ORIGINS = ["https://evil.test", "null", "http://localhost.evil.test", "http://evil.test/localhost"]


@pytest.mark.parametrize("origin", ORIGINS)
def test_another_sites_form_is_refused_though_it_had_the_token(
    organisation: MadeOrganisation, sign_in: SignIn, origin: str
) -> None:
    browser = sign_in(Role.OWNER)
    browser.get("/members/invite")
    fields = {"email": "eve@evil.test", "role": "owner"}
    assert browser.post("/members/invite", fields, headers={"Origin": origin}).status_code == 403
    assert browser.post("/members/invite", fields, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert browser.post("/members/invite", fields, headers={"Origin": "http://localhost"}).status_code == 303


def test_control_without_token_and_origin_forged_requests_pass(
    portal_app: Flask, organisation: MadeOrganisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(security.csrf, "protect", lambda: None)
    monkeypatch.setitem(portal_app.config, "WTF_CSRF_ENABLED", False)
    assert forged(portal_app, organisation) != []


def contents() -> dict[str, list[str]]:
    """Every row of every table, without what says when somebody was last seen."""
    session().rollback()
    found = {}
    for table in METADATA.sorted_tables:
        rows = session().execute(text(f"SELECT to_jsonb(t) - 'seen_at' AS row FROM \"{table.name}\" t")).scalars()
        found[table.name] = sorted(map(str, rows))
    return found


TOLD = frozenset({"billing.export"})
"""Taking a whole mailbox home changes nothing but the audit log, which tells of it."""


def changed_by_reading(portal_app: Flask, mail: MailServices, organisation: MadeOrganisation) -> list[str]:
    """Tables that differ after every page was read by everybody."""
    ids = {name: make(mail, organisation) for name, make in MAKERS.items()}
    browsers = [browser_of(portal_app, organisation.members[Role.OWNER]), Browser(portal_app.test_client())]
    token = _link(mail)
    before = contents()
    read = 0
    for rule in portal_app.url_map.iter_rules():
        if "GET" not in (rule.methods or set()) or rule.endpoint in UNGUARDED | {"health"} | TOLD:
            continue
        values = {name: ids[name] for name in rule.arguments} | ({"token": token} if "token" in rule.arguments else {})
        path = portal_app.url_map.bind("localhost").build(rule.endpoint, values, method="GET")
        for browser in browsers:
            read += browser.client.get(path).status_code == 200
    assert read > 20
    after = contents()
    return [name for name, rows in before.items() if after[name] != rows]


def _link(mail: MailServices) -> str:
    email = f"reader{utc_now().timestamp()}@outside.test"
    sign_up.ask(mail, "Read only", "Ada", email, "eu", "en")
    return token_of(mail, LinkPurpose.SIGN_UP, email)


def test_reading_pages_changes_nothing(
    portal_app: Flask, mail_services: MailServices, organisation: MadeOrganisation
) -> None:
    assert changed_by_reading(portal_app, mail_services, organisation) == []


def test_control_a_page_that_writes_is_seen(
    portal_app: Flask, mail_services: MailServices, organisation: MadeOrganisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = links.find

    def used_by_looking(purpose: LinkPurpose, token: str) -> Any:
        found = real(purpose, token)
        links.use(purpose, token)
        return found

    monkeypatch.setattr(links, "find", used_by_looking)
    assert changed_by_reading(portal_app, mail_services, organisation) == ["mailed_links"]


def test_no_site_may_put_our_pages_in_a_frame(client: Browser) -> None:
    headers = client.get("/sign-in").headers
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Frame-Options"] == "DENY"


def test_nobody_can_be_signed_in_as_somebody_else_by_another_sites_form(
    client: Browser, organisation: MadeOrganisation
) -> None:
    """Login CSRF: the form token is needed before there is a session, too."""
    fields = {"email": organisation.members[Role.OWNER].email, "password": PASSWORD}
    assert client.client.post("/sign-in", data=fields).status_code == 400
    assert not is_signed_in(client)


# -- W15: mailed links -----------------------------------------------------------------------


def asked_for_password(mail: MailServices, member: Member) -> str:
    services.ask_for_password(mail, member.email, "en")
    return token_of(mail, LinkPurpose.RESET, member.email)


def test_a_reset_link_is_good_once_ends_sessions_and_other_links(
    portal_app: Flask, mail_services: MailServices, organisation: MadeOrganisation, client: Browser
) -> None:
    member = organisation.members[Role.OWNER]
    stolen = browser_of(portal_app, member)
    first, second = (asked_for_password(mail_services, member) for _ in range(2))
    fields = {"password": "a quite different password"}
    assert client.post(f"/new-password/{second}", fields).status_code == 303
    assert client.post(f"/new-password/{second}", fields).status_code == 410
    assert client.post(f"/new-password/{first}", fields).status_code == 410
    assert not is_signed_in(stolen)
    assert sign_in_by_form(client, member.email, "a quite different password").status_code == 303


def test_control_a_link_that_is_not_used_up_works_again(
    mail_services: MailServices, organisation: MadeOrganisation, client: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = asked_for_password(mail_services, organisation.members[Role.OWNER])
    monkeypatch.setattr(links, "use", links.find)
    monkeypatch.setattr(links, "forget", lambda *_: None)
    for password in ("one good password", "another good password"):
        assert client.post(f"/new-password/{token}", {"password": password}).status_code == 303


def test_a_reset_keeps_the_second_factor(
    mail_services: MailServices, organisation: MadeOrganisation, client: Browser
) -> None:
    member = organisation.members[Role.OWNER]
    seed = factors.new_seed()
    with unit_of_work():
        member.sealed_totp_seed = factors.seal_seed(mail_services, member.id, seed)
    token = asked_for_password(mail_services, member)
    client.post(f"/new-password/{token}", {"password": "a quite different password"})
    response = sign_in_by_form(client, member.email, "a quite different password")
    assert response.headers["Location"].startswith("/sign-in/second-step")
    assert not is_signed_in(client)


@pytest.mark.parametrize("header", ["Host", "X-Forwarded-Host", "Forwarded"])
def test_links_begin_with_our_own_address_whatever_the_request_says(
    portal_app: Flask, mail_services: MailServices, organisation: MadeOrganisation, header: str
) -> None:
    from portal.notices import Notice

    member = organisation.members[Role.OWNER]
    browser = Browser(portal_app.test_client())
    browser.get("/new-password")
    value = "host=evil.test" if header == "Forwarded" else "evil.test"
    browser.post("/new-password", {"email": member.email}, headers={header: value})
    if header == "Host":  # the cookie is another host's then: ask as that host's page would
        other = Browser(portal_app.test_client())
        page = other.client.get("/new-password", base_url="http://evil.test").text
        found = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page)
        assert found is not None
        fields = {"email": member.email, "csrf_token": found[1]}
        assert other.client.post("/new-password", data=fields, base_url="http://evil.test").status_code == 200
    [*_, link] = session().scalars(select(links.MailedLink).where(links.MailedLink.email == member.email))
    notices: list[Notice] = []

    def keep(_mail: object, _settings: object, notice: Notice, *, key: bytes) -> None:
        notices.append(notice)

    monkey = pytest.MonkeyPatch()
    monkey.setattr(links, "send", keep)
    links.deliver(mail_services, portal_app.extensions[EXTENSION].settings, link.id)
    monkey.undo()
    assert notices[0].values["url"].startswith("http://localhost/new-password/")


def test_an_unknown_address_is_answered_as_a_known_one_is(
    client: Browser, mail_services: MailServices, organisation: MadeOrganisation
) -> None:
    known, unknown = organisation.members[Role.OWNER].email, "nobody@members.test"
    client.get("/new-password")
    answers = [client.post("/new-password", {"email": email}) for email in (known, unknown)]
    texts = [answer.text.replace(known, "X").replace(unknown, "X") for answer in answers]
    assert [answer.status_code for answer in answers] == [200, 200]
    one, other = (re.sub(r'value="[^"]+"', "", text) for text in texts)
    assert one == other


def test_links_are_in_no_referrer(client: Browser) -> None:
    assert client.get("/sign-up").headers["Referrer-Policy"] == "same-origin"


# -- W17: open redirects ---------------------------------------------------------------------

EVIL = [
    "//evil.test", "///evil.test", "////evil.test", "/\\evil.test", "\\\\evil.test", "\\/evil.test", "/\\/evil.test",
    "https://evil.test", "http:evil.test", "https:/evil.test", "HTTPS://EVIL.TEST", "javascript:alert(1)",
    "JaVaScRiPt:alert(1)", "data:text/html,x", "vbscript:x", "ftp://evil.test", "mailto:x@evil.test",
    "%2f%2fevil.test", "/%2fevil.test", "/%5cevil.test", "%5c%5cevil.test", "/%252fevil.test", "/%25252fevil.test",
    "/%09/evil.test", "/\t/evil.test", "\t//evil.test", " //evil.test", "/ /evil.test",
    "/%0d%0aLocation:%20//evil.test",
    "/\r\nLocation: //evil.test", "/%0a//evil.test", "/\x00//evil.test", "/%00//evil.test", "?next=//evil.test",
    "evil.test", "./evil.test", "../evil.test", "@evil.test", ".evil.test", "/\u2044/evil.test", "／／evil.test",
    "/。/evil.test", "", "/" + "a" * 3000, "/x\x7f", "/%5c%2fevil.test", "/..//evil.test", "/.//evil.test",
]  # fmt: skip


def is_ours(location: str) -> bool:
    """Whether every browser takes this for a path of the same site."""
    plain = re.sub(r"[\t\r\n]", "", location).strip().replace("\\", "/")
    return plain.startswith("/") and not plain.startswith("//")


@pytest.mark.parametrize("where", EVIL, ids=range(len(EVIL)))
def test_nobody_is_sent_elsewhere_after_signing_in(sign_in: SignIn, where: str) -> None:
    browser = sign_in(Role.OWNER)
    response = browser.client.get("/sign-in", query_string={"next": where})
    assert response.status_code == 303
    assert is_ours(response.headers["Location"])
    assert "evil" not in response.headers["Location"]


@pytest.mark.parametrize("where", ["/members", "/audit?actor=ada%40x.test&before=3", "/people/5/edit"])
def test_paths_of_ours_are_gone_to(where: str) -> None:
    assert destinations.local_path(where) == where


def test_control_a_look_at_the_first_letter_alone_is_not_enough(
    sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "local_path", lambda where: where if where and where.startswith("/") else None)
    browser = sign_in(Role.OWNER)
    led = [browser.client.get("/sign-in", query_string={"next": where}).headers["Location"] for where in EVIL[:7]]
    assert not all(is_ours(location) for location in led)


# -- W3: more fields than the form has -------------------------------------------------------


def test_fields_that_no_form_has_change_nothing(
    portal_app: Flask, mail_services: MailServices, organisation: MadeOrganisation
) -> None:
    """Every column of every table is sent to every form: roles, owners, states and plans stay as they are."""
    columns = {column.name for table in METADATA.sorted_tables for column in table.columns}
    protected = ("organisations", "members", "memberships")
    member = organisation.members[Role.HELPDESK]
    browser = browser_of(portal_app, member)
    evil = dict.fromkeys(columns, "owner") | {"is_staff": "1", "plan": "unlimited", "organisation_id": "x"}
    evil |= {"organisation": "00000000-0000-0000-0000-000000000000", "language": "xx", "name": "x", "email": "x"}
    before = {name: contents()[name] for name in protected}
    for rule in portal_app.url_map.iter_rules():
        if "POST" not in (rule.methods or set()) or rule.endpoint.partition(".")[0] == API:
            continue
        values = {name: MAKERS[name](mail_services, organisation) for name in rule.arguments - {"member_id"}}
        values |= {name: str(member.id) for name in rule.arguments & {"member_id"}}
        path = portal_app.url_map.bind("localhost").build(rule.endpoint, values, method="POST")
        need = need_of(portal_app.view_functions[rule.endpoint])
        if rule.endpoint == "accounts.sign_out" or need is Open.PUBLIC:
            continue
        browser.post(path, evil)
    assert {name: contents()[name] for name in protected} == before


def test_control_a_service_that_takes_any_field_is_seen(
    sign_in: SignIn, organisation: MadeOrganisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flask import request

    real = services.set_language

    def careless(member: Member, language: str) -> None:
        real(member, language)
        with unit_of_work():
            for name, value in request.form.items():
                if hasattr(member, name) and name != "id":
                    setattr(member, name, value == "1" if name == "is_staff" else value)

    monkeypatch.setattr(services, "set_language", careless)
    browser = sign_in(Role.HELPDESK)
    before = contents()["members"]
    browser.post("/language", {"language": "de", "is_staff": "1"})
    assert contents()["members"] != before


# -- who may make whom an owner --------------------------------------------------------------


def test_an_admin_makes_no_owner_and_unmakes_none(organisation: MadeOrganisation, sign_in: SignIn) -> None:
    browser = sign_in(Role.ADMIN)
    owner, helpdesk = organisation.members[Role.OWNER], organisation.members[Role.HELPDESK]
    assert browser.post(f"/members/{helpdesk.id}", {"role": "owner"}).status_code == 400
    assert browser.post(f"/members/{owner.id}", {"role": "auditor"}).status_code == 400
    assert browser.post("/members/invite", {"email": "eve@x.test", "role": "owner"}).status_code == 400
    browser.post(f"/members/{owner.id}/remove")
    session().rollback()
    rows = session().scalars(select(Membership).where(Membership.organisation_id == organisation.organisation.id))
    roles = {row.member_id: row.role for row in rows}
    assert (roles[owner.id], roles[helpdesk.id]) == (Role.OWNER, Role.HELPDESK)


def test_the_last_owner_stays(organisation: MadeOrganisation) -> None:
    owner = organisation.members[Role.OWNER]
    for change in (
        lambda: members.remove(SOMEBODY, organisation.organisation, Role.OWNER, owner.id),
        lambda: members.change_role(SOMEBODY, organisation.organisation, Role.OWNER, owner.id, Role.ADMIN),
    ):
        with pytest.raises(members.LastOwner):
            change()
        session().rollback()


def roles_invited(made: MadeOrganisation) -> dict[str, Role]:
    session().rollback()
    rows = session().scalars(select(Invitation).where(Invitation.organisation_id == made.organisation.id))
    return {row.email: Role(row.role) for row in rows}


def test_an_admin_puts_no_other_invitation_in_the_place_of_an_owners(
    organisation: MadeOrganisation, sign_in: SignIn
) -> None:
    """Which would take it back, as only an owner may."""
    sign_in(Role.OWNER).post("/members/invite", {"email": "eve@x.test", "role": "owner"})
    refused = sign_in(Role.ADMIN).post("/members/invite", {"email": "eve@x.test", "role": "auditor"})
    assert (refused.status_code, "Only an owner may do this." in refused.text) == (400, True)
    assert roles_invited(organisation) == {"eve@x.test": Role.OWNER}
    sign_in(Role.OWNER).post("/members/invite", {"email": "eve@x.test", "role": "auditor"})
    assert roles_invited(organisation) == {"eve@x.test": Role.AUDITOR}


def check_no_way_back(made: MadeOrganisation, sign_in: SignIn, mail: MailServices, client: Browser) -> None:
    """Who is removed, or may invite no more, has left no invitation behind to come back by."""
    admin, owner = sign_in(Role.ADMIN), sign_in(Role.OWNER)
    email = f"mine-{ObjectId()}@x.test"
    admin.post("/members/invite", {"email": email, "role": "admin"})
    owner.post("/members/invite", {"email": "kept@x.test", "role": "admin"})
    token = token_of(mail, LinkPurpose.INVITATION, email)
    owner.post(f"/members/{made.members[Role.ADMIN].id}/remove")
    assert roles_invited(made) == {"kept@x.test": Role.ADMIN}
    assert client.post(f"/invitation/{token}", {"name": "Eve", "password": "a good password"}).status_code == 410


def test_who_is_removed_comes_back_by_no_invitation_of_their_own(
    organisation: MadeOrganisation, sign_in: SignIn, mail_services: MailServices, client: Browser
) -> None:
    check_no_way_back(organisation, sign_in, mail_services, client)


def test_control_invitations_that_outlive_their_inviter_are_seen(
    organisation: MadeOrganisation,
    sign_in: SignIn,
    mail_services: MailServices,
    client: Browser,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(members, "_withdraw_given", lambda *_: None)
    with pytest.raises(AssertionError):
        check_no_way_back(organisation, sign_in, mail_services, client)


def test_who_may_invite_no_more_has_no_invitation_left(
    organisation: MadeOrganisation, mail_services: MailServices
) -> None:
    """An owner who is an admin now keeps those of others, and loses those of owners."""
    made, owner = organisation.organisation, organisation.members[Role.OWNER]
    other = organisation.members[Role.ADMIN]
    members.change_role(SOMEBODY, made, Role.OWNER, other.id, Role.OWNER)
    actor = replace(SOMEBODY, identity=owner.email)
    for name in (Role.OWNER, Role.ADMIN):
        members.invite(mail_services, actor, made, Role.OWNER, f"{name.value}@x.test", name, "en")
    members.change_role(SOMEBODY, made, Role.OWNER, owner.id, Role.ADMIN)
    assert roles_invited(organisation) == {"admin@x.test": Role.ADMIN}
    members.change_role(SOMEBODY, made, Role.OWNER, owner.id, Role.AUDITOR)
    assert roles_invited(organisation) == {}


def test_of_two_passkeys_that_are_removed_at_once_one_stays(
    portal_app: Flask, organisation: MadeOrganisation, mail_services: MailServices
) -> None:
    """Without a password nobody may end with no way in."""
    member = organisation.members[Role.OWNER]
    ids = [f"key {number} {ObjectId()}".encode() for number in range(2)]
    with unit_of_work() as current:
        member.password_hash = None
        current.add_all(MemberPasskey(id=one, member_id=member.id, name="x", public_key=b"x") for one in ids)
    ready = threading.Barrier(2)
    refused: list[bytes] = []

    def remove(passkey_id: bytes) -> None:
        parts = portal_app.extensions[EXTENSION]
        with parts.database.scope():
            token = sessions.open_session(session().get_one(Member, member.id), "passkey", sessions.Browser("", ""))
            who = sessions.find_session(token.reveal_text())
            assert who is not None
            ready.wait(20)
            try:
                enrolment.remove_passkey(SOMEBODY, who, bytes_to_base64url(passkey_id))
            except enrolment.NothingLeft:
                refused.append(passkey_id)

    member_id = member.id
    session().rollback()
    assert member_id
    threads = [threading.Thread(target=remove, args=(one,)) for one in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    session().rollback()
    left = session().scalars(select(MemberPasskey.id).where(MemberPasskey.member_id == member_id)).all()
    assert (list(left), len(refused)) == (refused, 1)


def test_a_link_that_was_asked_for_before_the_password_was_changed_opens_nothing(
    mail_services: MailServices, organisation: MadeOrganisation, sign_in: SignIn, client: Browser
) -> None:
    """Whoever could read the member's mail for a while has no hour left."""
    token = asked_for_password(mail_services, organisation.members[Role.OWNER])
    changed = sign_in(Role.OWNER).post("/profile/password", {"password": "a quite different password"})
    assert changed.status_code == 303
    assert client.post(f"/new-password/{token}", {"password": "one of the thief's"}).status_code == 410
