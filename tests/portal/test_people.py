"""People pages: users, groups, shared mailboxes, catch-alls; what an admin does is seen in the mail plane."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pyotp
import pytest
from bson import ObjectId
from flask import Flask
from pymongo import monitoring
from sqlalchemy import event
from werkzeug.http import parse_options_header

from mailcore.errors import DeletedUserNotFound, UserNotFound
from mailcore.model.access import Protocol
from mailcore.model.secret import Secret
from mailcore.model.tenant import State
from mailcore.services import MailServices
from portal.database import unit_of_work
from portal.mail_plane import EXTENSION
from portal.people import actions
from portal.permissions import Role
from tests.builders import OPERATOR, PASSWORD
from tests.portal.conftest import Browser, MadeOrganisation
from tests.portal.people import domain_of, make_group, text_of, user_of

SignIn = Callable[..., Browser]


@pytest.fixture
def domain(mail_services: MailServices, organisation: MadeOrganisation) -> str:
    return domain_of(mail_services, organisation.organisation.tenant_id)


def test_add_shows_a_password_once_that_must_be_changed(
    sign_in: SignIn, mail_services: MailServices, domain: str
) -> None:
    admin = sign_in(Role.ADMIN)
    shown = text_of(admin.post("/people/new", {"address": f"ada@{domain}", "name": "Ada", "quota": "2"}))
    user = mail_services.users.get(mail_services.addresses.get(f"ada@{domain}").user_id)
    assert (user.name, user.quota_bytes, user.password_change_needed) == ("Ada", 2_000_000_000, True)
    password = shown.split("<code>")[1].split("</code>")[0]
    assert mail_services.authentication.login(user.address, Secret(password), Protocol.PORTAL, "").user_id == user.id
    assert password not in text_of(admin.get(f"/people/{user.id}"))


def test_add_says_what_is_wrong_with_an_address(sign_in: SignIn, domain: str) -> None:
    answer = sign_in(Role.ADMIN).post("/people/new", {"address": "ada@elsewhere.test"})
    assert answer.status_code == 400
    assert "not one of yours" in text_of(answer)


def test_list_finds_and_pages(sign_in: SignIn, mail_services: MailServices, organisation: MadeOrganisation) -> None:
    user_of(mail_services, organisation, "Grace Hopper")
    user_of(mail_services, organisation, "Ada Lovelace")
    browser = sign_in(Role.HELPDESK)
    assert "Grace Hopper" in text_of(browser.get("/people/"))
    found = text_of(browser.get("/people/?q=hopp"))
    assert "Grace Hopper" in found
    assert "Ada Lovelace" not in found
    assert "Nobody found" in text_of(browser.get("/people/?q=nobody-of-that-name"))


def test_rename_keeps_the_old_address(
    sign_in: SignIn, mail_services: MailServices, organisation: MadeOrganisation, domain: str
) -> None:
    user_id = user_of(mail_services, organisation)
    old = mail_services.users.get(user_id).address
    sign_in(Role.ADMIN).post(f"/people/{user_id}/rename", {"address": f"new.name@{domain}"})
    assert mail_services.users.get(user_id).address == f"new.name@{domain}"
    assert mail_services.addresses.get(old).user_id == user_id


def test_name_quota_alias_protocols_and_state_are_changed(
    sign_in: SignIn, mail_services: MailServices, organisation: MadeOrganisation, domain: str
) -> None:
    user_id, admin = user_of(mail_services, organisation), sign_in(Role.ADMIN)
    admin.post(f"/people/{user_id}/edit", {"name": "New Name", "quota": "1,5 GB"})
    admin.post(f"/people/{user_id}/addresses", {"address": f"alias@{domain}"})
    admin.post(f"/people/{user_id}/protocols", {"protocols": ["imap", "smtp"]})
    admin.post(f"/people/{user_id}/state", {"state": "suspended"})
    user = mail_services.users.get(user_id)
    assert (user.name, user.quota_bytes, user.state) == ("New Name", 1_500_000_000, State.SUSPENDED)
    assert user.disabled_protocols == {Protocol.POP3, Protocol.MANAGESIEVE}
    assert mail_services.addresses.get(f"alias@{domain}").user_id == user_id
    admin.post(f"/people/{user_id}/addresses/remove", {"address": f"alias@{domain}"})
    assert mail_services.addresses.find(f"alias@{domain}") is None


def test_saving_without_a_change_changes_nothing(
    sign_in: SignIn, mail_services: MailServices, organisation: MadeOrganisation
) -> None:
    """A quota that is not a round number stays as it is."""
    user_id = user_of(mail_services, organisation)
    mail_services.users.set_quota(OPERATOR, user_id, 1_234_567_890)
    admin = sign_in(Role.ADMIN)
    page = text_of(admin.get(f"/people/{user_id}"))
    quota = page.split('name="quota"')[1].split('value="')[1].split('"')[0]
    admin.post(f"/people/{user_id}/edit", {"name": "", "quota": quota})
    assert mail_services.users.get(user_id).quota_bytes == 1_234_567_890


def test_helpdesk_helps_and_changes_nothing_else(
    sign_in: SignIn, mail_services: MailServices, organisation: MadeOrganisation
) -> None:
    user_id, desk = user_of(mail_services, organisation), sign_in(Role.HELPDESK)
    enrolment = mail_services.totp.begin(OPERATOR, user_id, "Eider", "x")
    mail_services.totp.enable(OPERATOR, user_id, pyotp.TOTP(enrolment.seed.reveal_text()).now())
    desk.post(f"/people/{user_id}/second-factors/reset")
    assert mail_services.users.get(user_id).enabled_2fa == ()
    shown = text_of(desk.post(f"/people/{user_id}/password"))
    temporary = Secret(shown.split("<code>")[1].split("</code>")[0])
    address = mail_services.users.get(user_id).address
    identity = mail_services.authentication.login(address, temporary, Protocol.PORTAL, "")
    assert identity.password_change_needed
    version = mail_services.users.get(user_id).auth_version
    desk.post(f"/people/{user_id}/sign-out")
    assert mail_services.users.get(user_id).auth_version == version + 1
    password_id = mail_services.app_passwords.create(OPERATOR, user_id, "Lost phone")[0].id
    desk.post(f"/people/{user_id}/app-passwords/{password_id}/revoke")
    assert mail_services.app_passwords.list_of_user(user_id) == []
    assert desk.post(f"/people/{user_id}/delete").status_code == 403


def check_nobody_opens_who_is_above(made: MadeOrganisation, sign_in: SignIn, mail: MailServices) -> None:
    """Who opens an owner's mailbox has a new password for the portal mailed to it."""
    mailbox = user_of(mail, made)
    address = mail.users.get(mailbox).address
    local, _, domain = address.partition("@")
    spelt = f"{local[0]}.{local[1:]}+portal@{domain}"  # reaches the same mailbox
    group = mail.groups.create(OPERATOR, made.organisation.tenant_id, f"board-{ObjectId()}@{domain}", [address]).display
    for role, email, opened in (
        (Role.OWNER, address, {Role.OWNER}),
        (Role.OWNER, spelt, {Role.OWNER}),
        (Role.OWNER, group, {Role.OWNER}),
        (Role.ADMIN, address, {Role.OWNER, Role.ADMIN}),
        (Role.HELPDESK, address, {Role.OWNER, Role.ADMIN, Role.HELPDESK}),
        (Role.AUDITOR, address, {Role.OWNER, Role.ADMIN}),
    ):
        with unit_of_work():
            member = made.members[role]
            before, member.email = member.email, email
        for asking in (Role.OWNER, Role.ADMIN, Role.HELPDESK) if email == address else (Role.ADMIN,):
            browser = sign_in(asking)
            mail.second_factors.enable_custom(OPERATOR, mailbox)
            shown = text_of(browser.post(f"/people/{mailbox}/password"))
            assert ("<code>" in shown) is (asking in opened), (role, asking)
            browser.post(f"/people/{mailbox}/second-factors/reset")
            assert (mail.users.get(mailbox).enabled_2fa == ()) is (asking in opened), (role, asking)
            mail.second_factors.disable_all(OPERATOR, mailbox)
        with unit_of_work():
            member.email = before


def test_nobody_opens_the_mailbox_of_who_is_above(
    sign_in: SignIn, mail_services: MailServices, organisation: MadeOrganisation
) -> None:
    """Attack W2: the helpdesk becomes no owner, and an admin neither, by an owner's mailbox."""
    check_nobody_opens_who_is_above(organisation, sign_in, mail_services)


def test_control_a_helpdesk_that_opens_any_mailbox_is_seen(
    sign_in: SignIn, mail_services: MailServices, organisation: MadeOrganisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "may_open", lambda *_: True)
    with pytest.raises(AssertionError):
        check_nobody_opens_who_is_above(organisation, sign_in, mail_services)


def test_delete_and_restore(sign_in: SignIn, mail_services: MailServices, organisation: MadeOrganisation) -> None:
    user_id, admin = user_of(mail_services, organisation, "Ada Gone"), sign_in(Role.ADMIN)
    admin.post(f"/people/{user_id}/delete")
    with pytest.raises(UserNotFound):
        mail_services.users.get(user_id)
    assert "Ada Gone" in text_of(admin.get("/people/deleted"))
    admin.post(f"/people/deleted/{user_id}/restore")
    assert mail_services.users.get(user_id).name == "Ada Gone"
    with pytest.raises(DeletedUserNotFound):
        mail_services.deleted_users.get(user_id)


def test_a_deleted_users_address_is_freed_for_a_successor(
    sign_in: SignIn, mail_services: MailServices, organisation: MadeOrganisation
) -> None:
    gone, heir = user_of(mail_services, organisation), user_of(mail_services, organisation)
    address, admin = mail_services.users.get(gone).address, sign_in(Role.ADMIN)
    second = f"second-{address}"
    mail_services.addresses.create(OPERATOR, gone, second)
    admin.post(f"/people/{gone}/delete")
    admin.post(f"/people/{heir}/addresses", {"address": address})
    assert "A deleted user keeps this address until" in text_of(admin.get(f"/people/{heir}"))
    assert f"Free the addresses of {address}?" in text_of(admin.get("/people/deleted"))
    admin.post(f"/people/deleted/{gone}/free-addresses")
    shown = text_of(admin.get("/people/deleted"))
    assert f"The addresses of {address} are free." in shown
    assert f"Free the addresses of {address}?" not in shown
    admin.post(f"/people/{heir}/addresses", {"address": address})
    assert mail_services.addresses.get(address).user_id == heir
    admin.post(f"/people/deleted/{gone}/restore")
    assert f"{second} is back, without {address}." in text_of(admin.get("/people/deleted"))


def test_leaver_becomes_a_shared_mailbox(
    sign_in: SignIn, mail_services: MailServices, organisation: MadeOrganisation
) -> None:
    leaver, heir = user_of(mail_services, organisation), user_of(mail_services, organisation)
    admin = sign_in(Role.ADMIN)
    heirs_address = mail_services.users.get(heir).address
    refused = admin.post(f"/people/{leaver}/leaver", {"delegates": "nobody@nowhere.test"})
    assert refused.status_code == 400
    admin.post(f"/people/{leaver}/leaver", {"delegates": heirs_address})
    assert mail_services.users.get(leaver).is_shared
    assert [one.address for one in mail_services.shared_mailboxes.delegates(leaver)] == [heirs_address]
    assert heirs_address in text_of(admin.get(f"/people/{leaver}"))
    admin.post(f"/shared-mailboxes/{leaver}/delegates", {"delegates": ""})
    assert mail_services.shared_mailboxes.delegates(leaver) == []


def test_shared_mailbox_is_made_and_listed(
    sign_in: SignIn, mail_services: MailServices, organisation: MadeOrganisation, domain: str
) -> None:
    reader, admin = user_of(mail_services, organisation), sign_in(Role.ADMIN)
    assert "No shared mailboxes yet" in text_of(admin.get("/shared-mailboxes/"))
    fields = {"address": f"info@{domain}", "name": "Info", "delegates": mail_services.users.get(reader).address}
    assert admin.post("/shared-mailboxes/new", fields).status_code == 303
    assert f"info@{domain}" in text_of(admin.get("/shared-mailboxes/"))
    assert f"info@{domain}" not in text_of(admin.get("/people/"))


def test_groups(sign_in: SignIn, mail_services: MailServices, organisation: MadeOrganisation, domain: str) -> None:
    tenant_id, admin = organisation.organisation.tenant_id, sign_in(Role.ADMIN)
    member = mail_services.users.get(user_of(mail_services, organisation)).address
    made = admin.post(
        "/groups/new",
        {"address": f"team@{domain}", "members": f"{member}, x@else.test", "posters": "members", "moderators": member},
    )
    assert made.status_code == 303
    group = mail_services.groups.get(tenant_id, f"team@{domain}")
    assert group.members == (member, "x@else.test")
    assert len(group.moderators) == 1
    admin.post(f"/groups/team@{domain}/edit", {"members": "y@else.test", "posters": "anyone", "name": "Team"})
    group = mail_services.groups.get(tenant_id, f"team@{domain}")
    assert (group.members, group.moderators, group.name) == (("y@else.test",), (), "Team")
    fields = {"address": f"new@{domain}", "members": "y@else.test\nx@", "posters": "anyone"}
    told = admin.post("/groups/new", fields)
    assert told.status_code == 400
    assert "“x@” is not an address" in told.text.partition("members-error")[2], "at the field it is in"
    wrong = admin.post(f"/groups/team@{domain}/edit", {"members": "nonsense", "posters": "anyone"})
    assert wrong.status_code == 400
    admin.post(f"/groups/team@{domain}/delete")
    assert mail_services.groups.list_of(tenant_id) == []


def test_catch_all_and_domain_alias(
    sign_in: SignIn, mail_services: MailServices, organisation: MadeOrganisation, domain: str
) -> None:
    tenant_id, admin = organisation.organisation.tenant_id, sign_in(Role.ADMIN)
    user_id = user_of(mail_services, organisation)
    address = mail_services.users.get(user_id).address
    admin.post("/addresses/catch-alls", {"pattern": domain, "address": address})
    [route] = mail_services.addresses.list_wildcards(tenant_id)
    assert (route.display, route.user_id) == (f"*@{domain}", user_id)
    assert f"*@{domain}" in text_of(admin.get("/addresses/"))
    admin.post(f"/addresses/catch-alls/{user_id}/remove", {"pattern": f"*@{domain}"})
    assert mail_services.addresses.list_wildcards(tenant_id) == []
    admin.post("/addresses/domain-aliases", {"alias": f"alias.{domain}", "domain": domain})
    assert [one.name for one in mail_services.domains.list_aliases(tenant_id)] == [f"alias.{domain}"]
    admin.post("/addresses/domain-aliases/remove", {"alias": f"alias.{domain}"})
    assert mail_services.domains.list_aliases(tenant_id) == []


def test_protocols_of_everybody(sign_in: SignIn, mail_services: MailServices, organisation: MadeOrganisation) -> None:
    tenant_id, admin = organisation.organisation.tenant_id, sign_in(Role.ADMIN)
    admin.post("/people/settings/protocols", {"protocols": ["imap", "smtp", "managesieve"]})
    assert mail_services.tenants.get(tenant_id).disabled_protocols == {Protocol.POP3}
    page = text_of(admin.get("/people/settings"))
    assert page.count("checked") == 3


def test_set_up_page_shows_servers_and_a_code(
    sign_in: SignIn, mail_services: MailServices, organisation: MadeOrganisation
) -> None:
    page = text_of(sign_in(Role.HELPDESK).get(f"/people/{user_of(mail_services, organisation)}/set-up"))
    assert mail_services.settings.hostname in page
    assert "data:image/svg+xml" in page
    assert "993" in page


class Counting(monitoring.CommandListener):
    """Counts commands of the driver."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def started(self, told: monitoring.CommandStartedEvent) -> None:
        self.names.append(told.command_name)

    def succeeded(self, told: monitoring.CommandSucceededEvent) -> None: ...

    def failed(self, told: monitoring.CommandFailedEvent) -> None: ...


COUNTING = Counting()
monitoring.register(COUNTING)


@contextmanager
def counted(app: Flask) -> Iterator[list[str]]:
    """Give the queries to both databases inside: commands of MongoDB, statements of Postgres."""
    statements: list[str] = []
    engine = app.extensions[EXTENSION].database.engine

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement.split(maxsplit=1)[0])

    event.listen(engine, "before_cursor_execute", note)
    COUNTING.names.clear()
    try:
        yield statements
    finally:
        event.remove(engine, "before_cursor_execute", note)
        statements += [name for name in COUNTING.names if name not in {"hello", "ping", "endSessions"}]


LISTS = ["/people/", "/people/?q=u", "/groups/", "/shared-mailboxes/", "/addresses/", "/people/deleted",
         "/people/imports/"]  # fmt: skip
MOST = 6


@pytest.mark.parametrize("path", LISTS)
def test_list_pages_ask_six_times_at_most(
    path: str, portal_app: Flask, sign_in: SignIn, mail_services: MailServices, organisation: MadeOrganisation
) -> None:
    """Of both databases together, whatever there is in the lists."""
    for _ in range(8):
        user_of(mail_services, organisation, password=None)
        make_group(mail_services, organisation)
    browser = sign_in(Role.OWNER)
    browser.get(path)  # what a process learns once: shards, tenants
    with counted(portal_app) as queries:
        assert browser.get(path).status_code == 200
    assert 0 < len(queries) <= MOST, queries


def test_control_a_query_for_each_user_would_be_seen(
    portal_app: Flask,
    sign_in: SignIn,
    mail_services: MailServices,
    organisation: MadeOrganisation,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from mailcore.services.accounts.people import People

    for _ in range(8):
        user_of(mail_services, organisation, password=None)
    monkeypatch.setattr(
        People,
        "used_bytes",
        lambda _self, users: {user.id: mail_services.quotas.use(user.id, fresh=True) for user in users},
    )
    browser = sign_in(Role.OWNER)
    browser.get("/people/")
    with counted(portal_app) as queries:
        browser.get("/people/")
    assert len(queries) > MOST


def test_what_an_admin_does_is_in_the_audit_trail(
    sign_in: SignIn, mail_services: MailServices, organisation: MadeOrganisation
) -> None:
    user_id = user_of(mail_services, organisation)
    sign_in(Role.ADMIN).post(f"/people/{user_id}/state", {"state": "suspended"})
    home = mail_services.placement.home(user_id)
    record = home.shard.hot["events"].find_one({"kind": "user.state", "user": user_id})
    assert record is not None
    assert record["actor"]["identity"] == organisation.members[Role.ADMIN].email
    assert record["actor"]["door"] == "portal"
    assert PASSWORD not in str(record)


def test_a_tenant_of_thousands_is_listed_with_as_few(
    portal_app: Flask, sign_in: SignIn, mail_services: MailServices, organisation: MadeOrganisation
) -> None:
    """Users are put where they are kept, for to make so many takes minutes; every page and search asks as little."""
    user_of(mail_services, organisation)
    users = mail_services.placement.directory.database["users"]
    tenant_id = organisation.organisation.tenant_id
    sample = users.find_one({"tenant": tenant_id})
    assert sample is not None
    many = [sample | {"_id": ObjectId(), "address": f"many{number}@x.test"} for number in range(3000)]
    users.insert_many(many)
    browser = sign_in(Role.OWNER)
    page = text_of(browser.get("/people/"))
    assert "3001 users" in page
    for path in ("/people/?q=many299", f"/people/?after={many[1500]['_id']}", f"/people/?before={many[1500]['_id']}"):
        with counted(portal_app) as queries:
            found = text_of(browser.get(path))
        assert len(queries) <= MOST, queries
        assert "many" in found
    assert "many2990@x.test" in text_of(browser.get("/people/?q=many2990"))


def test_the_file_with_a_users_mail_bears_the_address(
    sign_in: SignIn, mail_services: MailServices, organisation: MadeOrganisation
) -> None:
    user_id = user_of(mail_services, organisation)
    address = f"δάφνη@{domain_of(mail_services, organisation.organisation.tenant_id)}"
    mail_services.renaming.rename(OPERATOR, user_id, address)
    sent = sign_in(Role.OWNER).get(f"/billing/export/{user_id}.tar")
    assert sent.status_code == 200
    _, named = parse_options_header(sent.headers["Content-Disposition"])
    assert named["filename"] == f"{address}.tar"
