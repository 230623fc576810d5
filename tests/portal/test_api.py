"""The API of organisations: the tokens, errors and habits of the rest, and nothing of another tenant (Attack W1)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

import orjson
import pytest
from bson import ObjectId
from flask import Flask
from sqlalchemy import select

from mailcore.model.roles import Role as TokenRole
from mailcore.model.roles import may
from mailcore.model.token import PLATFORM, TokenOwner
from mailcore.services import MailServices
from mailcore.services.accounts.tokens import owner_of_tenant
from portal.accounts.models import Invitation, MailedLink
from portal.api import calls, members
from portal.api.mount import OPERATIONS
from portal.audit.models import AuditEvent
from portal.database import session
from portal.domains import services as domains
from portal.mail_plane import EXTENSION
from portal.permissions import Role
from tests.builders import OPERATOR
from tests.portal.conftest import SOMEBODY, MadeOrganisation, make_organisation

BODIES: Final[dict[str, dict[str, Any]]] = {
    "inviteMember": {"address": "ann@outside.test", "role": "auditor"},
    "updateMember": {"role": "auditor"},
    "addDomain": {"domain": "x.example"},
    "updateTenant": {"name": "Another name"},
}


@dataclass(frozen=True)
class Answer:
    status: int
    body: dict[str, Any]


@dataclass(frozen=True)
class Client:
    app: Flask
    token: str

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        got = self.app.test_client().open(
            f"/api{path}",
            method=method,
            headers={"X-Access-Token": self.token, **headers},
            data=orjson.dumps(body) if body is not None else None,
            content_type="application/json" if body is not None else None,
        )
        return Answer(got.status_code, got.get_json(silent=True) or {})


@dataclass(frozen=True)
class Scene:
    own: MadeOrganisation
    other: MadeOrganisation
    tenant: Client
    platform: Client
    client: Callable[[TokenOwner, TokenRole], Client]


@pytest.fixture(scope="module")
def scene(portal_app: Flask, mail_services: MailServices) -> Iterator[Scene]:
    def client(owner: TokenOwner, role: TokenRole) -> Client:
        _, value = mail_services.tokens.create(OPERATOR, owner, role, "Test")
        return Client(portal_app, value.reveal_text())

    with portal_app.extensions[EXTENSION].database.scope():
        own, other = make_organisation(mail_services, "Twins"), make_organisation(mail_services, "Twins")
        tenant = client(owner_of_tenant(own.organisation.tenant_id), TokenRole.ROOT)
        yield Scene(own, other, tenant, client(PLATFORM, TokenRole.ROOT), client)


def ids_of(made: MadeOrganisation, portal_app: Flask) -> dict[str, str]:
    names = portal_app.extensions[EXTENSION].settings.domains.names
    claim = domains.add_domain(SOMEBODY, made.organisation, f"d{ObjectId()}.example", names)
    return {
        "tenant": str(made.organisation.id),
        "member": str(made.members[Role.AUDITOR].id),
        "domain": str(claim.id),
    }


def filled(path: str, ids: dict[str, str]) -> str:
    return path.format(**ids)


def test_a_tenant_sees_itself_and_the_platform_everybody(scene: Scene) -> None:
    [only] = scene.tenant.ask("GET", "/tenants").body["results"]
    assert (only["id"], only["mailTenant"]) == (str(scene.own.organisation.id), scene.own.organisation.tenant)
    seen, cursor = [], ""
    while True:
        page = scene.platform.ask("GET", f"/tenants?limit=1{cursor}").body
        seen += [one["id"] for one in page["results"]]
        if not page["nextCursor"]:
            break
        cursor = f"&next={page['nextCursor']}"
    assert {str(scene.own.organisation.id), str(scene.other.organisation.id)} <= set(seen)
    assert len(seen) == len(set(seen)) == page["total"]


def test_members_are_listed_invited_changed_and_removed(scene: Scene, mail_services: MailServices) -> None:
    made = make_organisation(mail_services)
    client = scene.client(owner_of_tenant(made.organisation.tenant_id), TokenRole.ROOT)
    assert len(client.ask("GET", "/members").body["results"]) == 5
    assert client.ask("POST", "/members", BODIES["inviteMember"]).status == 200
    assert [one["address"] for one in client.ask("GET", "/members").body["invited"]] == ["ann@outside.test"]
    session().rollback()
    [link] = session().scalars(select(MailedLink).where(MailedLink.email == "ann@outside.test")).all()[-1:]
    assert link.content["invited_by"] == link.content["organisation"], "who makes a token writes nothing to strangers"
    member = made.members[Role.HELPDESK]
    assert client.ask("PUT", f"/members/{member.id}", {"role": "billing"}).status == 200
    assert client.ask("GET", f"/members/{member.id}").body["role"] == "billing"
    assert client.ask("DELETE", f"/members/{member.id}").status == 200
    assert client.ask("GET", f"/members/{member.id}").body["code"] == "MemberNotFound"
    owner, ours = made.members[Role.OWNER], f"?tenant={made.organisation.id}"
    assert scene.platform.ask("DELETE", f"/members/{owner.id}{ours}").body["code"] == "LastOwner"
    assert scene.platform.ask("PUT", f"/members/{made.members[Role.ADMIN].id}{ours}", {"role": "owner"}).status == 200
    session().rollback()
    told = session().scalars(select(AuditEvent.what).where(AuditEvent.organisation_id == made.organisation.id)).all()
    assert {"member.invited", "member.role_changed", "member.removed"} <= set(told)


def check_a_token_makes_no_owner(scene: Scene, mail: MailServices) -> None:
    """Not with everything a token can be allowed: an admin makes such a token in the portal, and is no owner by it."""
    made = make_organisation(mail)
    client = scene.client(owner_of_tenant(made.organisation.tenant_id), TokenRole.ROOT)
    owner, admin = made.members[Role.OWNER], made.members[Role.ADMIN]
    asked = (
        ("PUT", f"/members/{admin.id}", {"role": "owner"}),
        ("PUT", f"/members/{owner.id}", {"role": "auditor"}),
        ("DELETE", f"/members/{owner.id}", None),
        ("POST", "/members", {"address": "eve@outside.test", "role": "owner"}),
    )
    for method, path, body in asked:
        answer = client.ask(method, path, body)
        assert (answer.status, answer.body.get("code")) == (403, "NotPermitted"), (method, path)
    roles = {one["id"]: one["role"] for one in client.ask("GET", "/members").body["results"]}
    assert (roles[str(owner.id)], roles[str(admin.id)]) == ("owner", "admin")


def test_a_token_of_an_organisation_makes_and_unmakes_no_owner(scene: Scene, mail_services: MailServices) -> None:
    check_a_token_makes_no_owner(scene, mail_services)


def test_control_a_token_that_acts_as_an_owner_is_seen(
    scene: Scene, mail_services: MailServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(members, "acting_as", lambda _: Role.OWNER)
    with pytest.raises(AssertionError):
        check_a_token_makes_no_owner(scene, mail_services)


def test_a_domain_is_claimed_listed_and_given_up(scene: Scene) -> None:
    name = f"d{ObjectId()}.example"
    added = scene.tenant.ask("POST", "/domains", {"domain": name})
    assert added.status == 200
    listed = scene.tenant.ask("GET", "/domains").body["results"]
    assert (name, None) in [(one["name"], one["verified"]) for one in listed]
    assert scene.tenant.ask("POST", "/domains", {"domain": name}).body["code"] == "DomainNotClaimable"
    assert scene.tenant.ask("DELETE", f"/domains/{added.body['id']}").status == 200
    assert scene.tenant.ask("GET", f"/domains/{added.body['id']}").body["code"] == "DomainNotFound"


def test_a_dry_run_tells_what_would_be_and_changes_nothing(scene: Scene) -> None:
    answer = scene.tenant.ask("POST", "/members?dry_run=1", {"address": "dry@outside.test", "role": "admin"})
    assert answer.body["dryRun"] is True
    assert [one["change"] for one in answer.body["plan"]] == ["member.invited"]
    session().rollback()
    assert session().scalars(select(Invitation).where(Invitation.email == "dry@outside.test")).all() == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        pytest.param({"address": "ann@x.test", "role": "god"}, "role", id="role"),
        pytest.param({"address": "ann@x.test", "role": "admin", "state": "x"}, "state", id="unknown field"),
        pytest.param({"role": "admin"}, "address", id="missing"),
    ],
)
def test_what_does_not_fit_is_named(scene: Scene, body: dict[str, Any], field: str) -> None:
    answer = scene.tenant.ask("POST", "/members", body)
    assert (answer.status, answer.body["code"]) == (400, "InputValidationError")
    assert field in answer.body["details"]


def leaks(scene: Scene, portal_app: Flask) -> list[str]:
    """Operations that answer something else about another tenant's things than about nothing at all."""
    wrong = []
    theirs = ids_of(scene.other, portal_app)
    for operation in OPERATIONS:
        if not operation.path_names:
            continue
        body = BODIES.get(operation.name)
        of_other = scene.tenant.ask(operation.method, filled(operation.path, theirs), body)
        nothing = {name: str(uuid4()) for name in theirs}
        of_nobody = scene.tenant.ask(operation.method, filled(operation.path, nothing), body)
        if of_other != of_nobody or of_other.status != 404:
            wrong.append(f"{operation.name}: {of_other}")
    for path in ("/members", "/domains"):
        answer = scene.tenant.ask("GET", f"{path}?tenant={theirs['tenant']}")
        if answer.status != 404:
            wrong.append(f"{path}: {answer}")
    return wrong


def test_things_of_another_tenant_are_as_if_they_were_not(scene: Scene, portal_app: Flask) -> None:
    assert leaks(scene, portal_app) == []


def test_control_a_look_up_without_the_token_s_tenant_is_seen(
    scene: Scene, portal_app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = calls.organisation_of

    def careless(call: Any, text: str | None) -> Any:
        call.token = None if text is not None else call.token
        return real(call, text)

    for name in ("tenants", "members", "domains"):
        monkeypatch.setattr(f"portal.api.{name}.organisation_of", careless)
    assert leaks(scene, portal_app) != []


def test_each_role_of_a_token_may_what_the_table_says(scene: Scene, portal_app: Flask) -> None:
    ids = ids_of(scene.own, portal_app)
    for role in (TokenRole.ROOT, TokenRole.MANAGER, TokenRole.WEBMAIL, TokenRole.DOWNLOADER, TokenRole.SETTINGS):
        client = scene.client(owner_of_tenant(scene.own.organisation.tenant_id), role)
        for operation in OPERATIONS:
            assert operation.needs is not None
            path = filled(operation.path, ids) + "?dry_run=1" * operation.changes
            answer = client.ask(operation.method, path, BODIES.get(operation.name))
            allowed = may(role, operation.needs.action, operation.needs.resource, own=False)
            assert (answer.body.get("code") != "MissingPrivileges") == allowed, f"{role} {operation.name} {answer}"


def test_a_cookie_opens_nothing_here_and_no_token_nothing_at_all(portal_app: Flask, scene: Scene) -> None:
    from tests.portal.conftest import browser_of

    browser = browser_of(portal_app, scene.own.members[Role.OWNER])
    assert browser.client.get("/api/tenants").status_code == 403
    assert Client(portal_app, "0" * 40).ask("GET", "/tenants").body["code"] == "InvalidToken"


def test_the_description_names_every_operation(portal_app: Flask) -> None:
    described = portal_app.test_client().get("/api/openapi.json").get_json()
    names = {one["operationId"] for methods in described["paths"].values() for one in methods.values()}
    assert names == {operation.name for operation in OPERATIONS}
    assert portal_app.test_client().get("/api/docs").status_code == 200
