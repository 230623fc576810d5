"""Every view, asked for by every role, in one's own organisation, in another's, and by strangers (Attacks W1, W2).

The map of routes is walked: a new name in a path needs an entry in `MAKERS`. What a view needs stands on
the view; what a role has in `permissions.ROLES`; here is what must follow from both.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

import pytest
from flask import Flask
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from mailcore.model.roles import Role as TokenRole
from mailcore.services import MailServices
from mailcore.services.accounts.tokens import owner_of_tenant
from portal import access
from portal.access import Open, need_of
from portal.accounts import sessions
from portal.accounts.models import Membership
from portal.app import UNGUARDED
from portal.billing.models import PlanChange
from portal.database import unit_of_work, utc_now
from portal.domains import services as domains
from portal.domains.wanted import ServiceNames
from portal.mail_plane import EXTENSION
from portal.members import queries
from portal.members import services as members
from portal.permissions import MEMBER_ROLES, Permission, Role, allows
from portal.staff import grants
from tests.builders import OPERATOR
from tests.portal import people
from tests.portal.conftest import (
    SOMEBODY,
    Browser,
    MadeOrganisation,
    browser_of,
    make_member,
    make_organisation,
)

Maker = Callable[[MailServices, MadeOrganisation], str]


def _session(_: MailServices, made: MadeOrganisation) -> str:
    member = made.members[Role.OWNER]
    sessions.open_session(member, "password", sessions.Browser("192.0.2.9", "of another"))
    return str(sessions.list_sessions(member.id)[0].id)


def _member(mail: MailServices, made: MadeOrganisation) -> str:
    with unit_of_work() as current:
        member = make_member(mail, name="Somebody")
        current.add(Membership(organisation_id=made.organisation.id, member_id=member.id, role=Role.AUDITOR))
    return str(member.id)


def _invitation(mail: MailServices, made: MadeOrganisation) -> str:
    email = f"invited-{uuid4()}@outside.test"
    members.invite(mail, SOMEBODY, made.organisation, Role.OWNER, email, Role.AUDITOR, "en")
    return str(next(one.id for one in queries.list_invitations(made.organisation) if one.email == email))


def _token(mail: MailServices, made: MadeOrganisation) -> str:
    owner = owner_of_tenant(made.organisation.tenant_id)
    return str(mail.tokens.create(OPERATOR, owner, TokenRole.MANAGER, "Payroll")[0].id)


def _domain(_: MailServices, made: MadeOrganisation) -> str:
    name = f"matrix-{uuid4()}.test"
    return str(domains.add_domain(SOMEBODY, made.organisation, name, ServiceNames.from_environment({})).id)


def _grant(_: MailServices, made: MadeOrganisation) -> str:
    return str(grants.give(SOMEBODY, made.organisation, "look at the queue", 1, may_write=False).id)


def _billing_change(_: MailServices, made: MadeOrganisation) -> str:
    change = PlanChange(
        organisation_id=made.organisation.id,
        subscription="sub_none",
        from_price="eider_team_seat_month_eur",
        to_price="eider_pool_gb_month_eur",
        from_quantity=1,
        to_quantity=2,
        prorated_at=utc_now(),
        currency="eur",
        total=100,
        wanted_by="owner",
    )
    with unit_of_work() as current:
        current.add(change)
    return str(change.id)


MAKERS: Final[dict[str, Maker]] = {
    "domain_id": _domain,
    "address": lambda *_: "ada@example.test",
    "session_id": _session,
    "change_id": _billing_change,
    "organisation_id": lambda _mail, made: str(made.organisation.id),
    "grant_id": _grant,
    "approval_id": lambda *_: str(uuid4()),
    "queue_user": lambda *_: "0" * 24,
    "queue_id": lambda *_: "0" * 24,
    "sent_id": people.make_sent,
    "act": lambda *_: "hold",
    "feature": lambda *_: "dns_writing",
    "limit": lambda *_: "users",
    "job_id": lambda *_: "none",
    "tax_id": lambda *_: "txi_none",
    "member_id": _member,
    "invitation_id": _invitation,
    "token_id": _token,
    "token": lambda *_: "no-such-token",
    "passkey_id": lambda *_: "bm9uZQ",
    "user_id": people.make_user,
    "group_address": people.make_group,
    "import_id": people.make_import,
    "password_id": people.make_app_password,
    "filter_id": people.make_filter,
    "key_id": people.make_passkey,
    "browser_id": people.make_browser,
}
"""Name in a path -> something of this organisation that it can stand for."""
API: Final = "api"
"""The blueprint with tokens instead of roles; its matrix is in test_api.py."""
AFTER_THE_PASSWORD: Final = frozenset({"accounts.second_step"})
"""Public, and of use only in the middle of signing in."""


@dataclass
class Scene:
    """Two organisations of equal shape, browsers of every member, and ids made once."""

    app: Flask
    mail: MailServices
    own: MadeOrganisation
    other: MadeOrganisation
    browsers: dict[Role, Browser] = field(default_factory=dict)
    ids: dict[tuple[str, str], str] = field(default_factory=dict)

    def browser(self, role: Role) -> Browser:
        if role not in self.browsers:
            self.browsers[role] = browser_of(self.app, self.own.members[role])
        return self.browsers[role]

    def path(self, rule: Rule, made: MadeOrganisation | None) -> str:
        """The path of a route with ids of an organisation, or of nothing there is."""
        with self.app.test_request_context():
            values = {name: self._id(name, made) for name in rule.arguments}
            built = self.app.url_map.bind("localhost").build(rule.endpoint, values, method=min(rule.methods or {"GET"}))
            return str(built)

    def _id(self, name: str, made: MadeOrganisation | None) -> str:
        if made is None:
            return str(uuid4())
        key = (name, str(made.organisation.id))
        if key not in self.ids:
            self.ids[key] = MAKERS[name](self.mail, made)
        return self.ids[key]


@pytest.fixture(scope="module")
def scene(portal_app: Flask, mail_services: MailServices) -> Iterator[Scene]:
    with portal_app.extensions[EXTENSION].database.scope():
        own, other = make_organisation(mail_services, "Twins"), make_organisation(mail_services, "Twins")
        yield Scene(portal_app, mail_services, own, other)


def routes(app: Flask) -> list[tuple[Rule, str]]:
    """Every route with each of its methods but HEAD and OPTIONS."""
    return [
        (rule, method)
        for rule in app.url_map.iter_rules()
        if rule.endpoint not in UNGUARDED and rule.endpoint.partition(".")[0] != API
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
    ]


def ask(browser: Browser, method: str, path: str) -> TestResponse:
    """Ask as a page of ours would, following nothing."""
    if method == "GET":
        return browser.get(path)
    return browser.post(path)


def is_refused(response: TestResponse) -> bool:
    """Whether it was refused because of the role, or sent to the sign-in."""
    if response.status_code == 403:
        return True
    return response.status_code == 303 and response.headers["Location"].startswith(("/sign-in", "/account/sign-in"))


def test_every_name_in_a_path_has_a_maker(portal_app: Flask) -> None:
    names = {name for rule, _ in routes(portal_app) for name in rule.arguments}
    assert names <= MAKERS.keys(), f"add to MAKERS: {sorted(names - MAKERS.keys())}"


def test_a_view_that_does_not_say_what_it_needs_is_refused_at_start(portal_app: Flask) -> None:
    assert all(need_of(view) is not None for name, view in portal_app.view_functions.items() if name not in UNGUARDED)


def test_who_is_not_signed_in_gets_only_public_views(scene: Scene) -> None:
    for rule, method in routes(scene.app):
        need = need_of(scene.app.view_functions[rule.endpoint])
        response = ask(Browser(scene.app.test_client()), method, scene.path(rule, scene.own))
        to_sign_in = is_refused(response) and response.status_code == 303
        if rule.endpoint in AFTER_THE_PASSWORD:
            continue
        assert to_sign_in == (need is not Open.PUBLIC), f"{method} {rule}: {response.status}"


def check_roles(scene: Scene, roles: Collection[Role] = MEMBER_ROLES) -> list[str]:
    """Return what a role may do though it should not, and the other way round."""
    wrong = []
    for role in roles:
        for rule, method in routes(scene.app):
            need = need_of(scene.app.view_functions[rule.endpoint])
            if rule.endpoint in ENDS_SESSION or not isinstance(need, Permission):
                continue
            response = ask(scene.browser(role), method, scene.path(rule, scene.own))
            if is_refused(response) == allows(role, need) or response.status_code >= 500:
                wrong.append(f"{role} {method} {rule}: {response.status}")
    return wrong


ENDS_SESSION: Final = frozenset({"accounts.sign_out", "profile.end_other_sessions"})


def test_each_role_reaches_what_it_may_and_nothing_else(scene: Scene) -> None:
    assert check_roles(scene) == []


def test_control_a_guard_that_lets_everybody_pass_is_seen(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "_refusal", lambda need: None)
    assert check_roles(scene, [Role.AUDITOR]) != []


def strangers_ids(scene: Scene) -> list[str]:
    """Return the routes that answer something else about another organisation's things than about nothing at all."""
    wrong = []
    for rule, method in routes(scene.app):
        if not rule.arguments or need_of(scene.app.view_functions[rule.endpoint]) is Open.PUBLIC:
            continue
        of_other = ask(scene.browser(Role.OWNER), method, scene.path(rule, scene.other))
        of_nobody = ask(scene.browser(Role.OWNER), method, scene.path(rule, None))
        if of_other.status_code not in {403, 404} or comparable(of_other) != comparable(of_nobody):
            wrong.append(f"{method} {rule}: {of_other.status} against {of_nobody.status}")
    return wrong


def comparable(response: TestResponse) -> tuple[int, Any]:
    """An answer without what differs each time."""
    text = response.get_data(as_text=True)
    return response.status_code, [line for line in text.splitlines() if "csrf_token" not in line and "/" not in line]


def test_things_of_another_organisation_are_as_if_they_were_not(scene: Scene) -> None:
    assert strangers_ids(scene) == []


def test_control_a_look_up_without_its_owner_is_seen(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    real = sessions.end_sessions

    def of_anybody(member_id: object, **options: Any) -> int:
        return real(scene.other.members[Role.OWNER].id, **options)

    monkeypatch.setattr(sessions, "end_sessions", of_anybody)
    assert strangers_ids(scene) != []


@pytest.mark.parametrize("way", ["method override", "slash", "case", "doubly encoded"])
def test_no_other_way_of_asking_gets_around_the_role(scene: Scene, way: str) -> None:
    browser = scene.browser(Role.BILLING)
    path = "/profile/security" if way == "method override" else "/members"
    asked = {
        "method override": lambda: browser.client.get(path, headers={"X-HTTP-Method-Override": "POST"}),
        "slash": lambda: browser.client.get("/members//"),
        "case": lambda: browser.client.get("/MEMBERS"),
        "doubly encoded": lambda: browser.client.get("/%256dembers"),
    }[way]()
    assert asked.status_code in ({200} if way == "method override" else {403, 404, 308})
