"""Staff see people and mail of an organisation under its grant alone, each view in its audit log; content never."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import pytest
from flask import Flask
from sqlalchemy import select
from werkzeug.routing import Rule

from mailcore.model.outbound import NewOutbound, OutboundRecipient, Reason
from mailcore.model.secret import Secret
from mailcore.model.tenant import State
from mailcore.services import MailServices
from mailcore.services.mailboxes.messages import NewMessage
from portal.access import need_of
from portal.accounts import factors
from portal.accounts.models import Member, Organisation
from portal.accounts.provisioning import provision
from portal.audit.models import AuditEvent
from portal.database import session, unit_of_work, utc_now
from portal.mail_plane import EXTENSION
from portal.permissions import Role
from portal.staff import approvals, grants
from portal.staff.charts import CHARTS
from portal.staff.grants import Grant
from portal.staff.models import Approval, SupportGrant
from tests.builders import OPERATOR
from tests.portal.conftest import SOMEBODY, Browser, MadeOrganisation, browser_of, make_member, make_organisation

CANARIES: Final = ("canary-subject", "canary-body", "canary-password-7", "canary-seed")
SCOPED: Final = "organisation_id"
GRANTS: Final = ("none", "read", "write", "expired", "revoked")


@dataclass
class Scene:
    """A member of staff, and an organisation with a user whose mail and secrets bear canaries."""

    app: Flask
    mail: MailServices
    made: MadeOrganisation
    staff: Browser
    other_staff: Browser
    queue_user: str
    queue_id: str

    @property
    def organisation(self) -> Organisation:
        return self.made.organisation

    def set_grant(self, kind: str) -> None:
        """Let this be the only grant that was given."""
        with unit_of_work() as current:
            for old in grants.list_grants(self.organisation):
                current.delete(old)
        if kind == "none":
            return
        given = grants.give(SOMEBODY, self.organisation, "the queue stands", 1, may_write=kind in {"write", "expired"})
        with unit_of_work() as current:
            found = current.get_one(SupportGrant, given.id)
            if kind == "expired":
                found.created_at = utc_now() - timedelta(hours=2)
                found.expires_at = utc_now() - timedelta(hours=1)
            if kind == "revoked":
                found.revoked_at = utc_now()

    def path(self, rule: Rule) -> str:
        values = {
            "organisation_id": self.organisation.id,
            "queue_user": self.queue_user,
            "queue_id": self.queue_id,
            "act": "retry",
            "feature": "mail_exports",
            "limit": "users",
        }
        wanted = {name: values[name] for name in rule.arguments}
        return self.app.url_map.bind("localhost").build(rule.endpoint, wanted, method=method_of(rule))

    def views(self) -> list[str]:
        session().expire_all()
        wanted = select(AuditEvent.target).where(
            AuditEvent.organisation_id == self.organisation.id, AuditEvent.what == "support.viewed"
        )
        return list(session().scalars(wanted.order_by(AuditEvent.number)))


def method_of(rule: Rule) -> str:
    return "POST" if "POST" in (rule.methods or ()) else "GET"


def make_staff(mail: MailServices, *, second_factor: bool = True) -> Member:
    member = make_member(mail, name="Staff")
    with unit_of_work() as current:
        member = current.get_one(Member, member.id)
        member.is_staff = True
        if second_factor:
            member.sealed_totp_seed = factors.seal_seed(mail, member.id, "JBSWY3DPEHPK3PXP")
    return session().get_one(Member, member.id, populate_existing=True)


@pytest.fixture(scope="module")
def scene(portal_app: Flask, mail_services: MailServices) -> Iterator[Scene]:
    with portal_app.extensions[EXTENSION].database.scope():
        made = make_organisation(mail_services)
        tenant_id = made.organisation.tenant_id
        domain = f"s{made.organisation.tenant}.test"
        mail_services.domains.create(OPERATOR, tenant_id, domain)
        user = mail_services.users.create(OPERATOR, f"ada@{domain}", Secret(CANARIES[2]), "Ada", tenant_id)
        raw = b"Subject: canary-subject\r\nFrom: ada@x.test\r\n\r\ncanary-body\r\n"
        mail_services.messages.append(user, OPERATOR, "INBOX", [NewMessage(raw)])
        queue_id = mail_services.queueing.enqueue(
            NewOutbound(
                user_id=user,
                tenant_id=tenant_id,
                reverse_path=f"ada@{domain}",
                forward_paths=(OutboundRecipient("bob@else.test"),),
                message=raw,
                reason=Reason.SUBMISSION,
                key=b"canary",
            ),
            OPERATOR,
        )
        browsers = [browser_of(portal_app, make_staff(mail_services)) for _ in range(2)]
        yield Scene(portal_app, mail_services, made, *browsers, str(user), str(queue_id))


def routes(app: Flask) -> list[Rule]:
    """Every route of staff that is about one organisation."""
    return [rule for rule in app.url_map.iter_rules() if rule.endpoint.startswith("staff") and SCOPED in rule.arguments]


def needed(app: Flask, rule: Rule) -> Grant | None:
    return getattr(app.view_functions[rule.endpoint], "portal_grant", None) or getattr(
        getattr(app.view_functions[rule.endpoint], "__wrapped__", None), "portal_grant", None
    )


def may(needs: Grant | None, kind: str) -> bool:
    return {None: True, Grant.READ: kind in {"read", "write"}, Grant.WRITE: kind == "write"}[needs]


def check_matrix(scene: Scene) -> list[str]:
    """Return what was let through or refused and should not have been, and views that no log shows."""
    wrong = []
    for kind in GRANTS:
        scene.set_grant(kind)
        for rule in routes(scene.app):
            needs = needed(scene.app, rule)
            before = len(scene.views())
            path = scene.path(rule)
            response = scene.staff.get(path) if method_of(rule) == "GET" else scene.staff.post(path)
            if (response.status_code != 403) != may(needs, kind) or response.status_code >= 500:
                wrong.append(f"{kind}: {rule} {response.status_code}")
            noted = scene.views()[before:]
            if noted != ([path] if needs is not None and may(needs, kind) else []):
                wrong.append(f"{kind}: {rule} noted {noted}")
    return wrong


def test_every_route_of_staff_under_every_grant(scene: Scene) -> None:
    needs = {needed(scene.app, rule) for rule in routes(scene.app)}
    assert needs == {None, Grant.READ, Grant.WRITE}
    assert check_matrix(scene) == []


@pytest.mark.parametrize(
    ("language", "told", "not_told"),
    [("en", "a grant of the organisation", "your organisation"), ("de", "eine Erlaubnis der Organisation", "Ihrer")],
)
def test_staff_without_a_grant_read_whom_to_ask(scene: Scene, language: str, told: str, not_told: str) -> None:
    scene.set_grant("none")
    path = f"/staff/organisations/{scene.organisation.id}/queue"
    answer = scene.staff.get(path, headers={"Accept-Language": language})
    assert answer.status_code == 403
    assert told in answer.text
    assert not_told not in answer.text


def test_a_guard_that_asks_for_no_grant_would_be_seen(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    ever = SupportGrant(reason="x", granted_by="x", may_write=True, expires_at=utc_now() + timedelta(hours=1))
    monkeypatch.setattr(grants, "find_grant", lambda *_: ever)
    assert check_matrix(scene) != []


def test_only_staff_get_there_at_all(scene: Scene) -> None:
    scene.set_grant("write")
    owner = browser_of(scene.app, scene.made.members[Role.OWNER])
    for rule in routes(scene.app):
        assert need_of(scene.app.view_functions[rule.endpoint]) is not None
        path = scene.path(rule)
        assert (owner.get(path) if method_of(rule) == "GET" else owner.post(path)).status_code == 403


def _pages(scene: Scene) -> str:
    """Everything that staff can see of the organisation with all it can grant."""
    scene.set_grant("write")
    pages = [scene.path(rule) for rule in routes(scene.app) if method_of(rule) == "GET"]
    pages += ["/staff", f"/staff?q={scene.organisation.name}", "/staff/jobs", "/staff/abuse", "/staff/features"]
    pages += ["/staff/statistics", "/staff/statistics/data.json"]
    pages += [f"/staff/statistics/export.csv?chart={name}" for name in CHARTS]
    answers = [scene.staff.get(path) for path in pages]
    assert {answer.status_code for answer in answers} == {200}
    assert scene.queue_id in "".join(answer.text for answer in answers)
    return "".join(answer.text for answer in answers)


def test_no_page_of_staff_shows_content_or_a_secret(scene: Scene) -> None:
    shown = _pages(scene)
    assert [one for one in CANARIES if one in shown] == []


def test_a_page_that_shows_content_would_be_seen(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    real = type(scene.mail.outbound).list_of_tenant

    def with_content(outbound: object, tenant_id: object, *arguments: object, **named: object) -> object:
        entries = real(outbound, tenant_id, *arguments, **named)  # type: ignore[arg-type]
        for entry in entries:
            object.__setattr__(
                entry, "reverse_path", b"".join(scene.mail.outbound.content(entry.user_id, entry.id).read())
            )
        return entries

    monkeypatch.setattr(type(scene.mail.outbound), "list_of_tenant", with_content)
    assert "canary-body" in _pages(scene)


def test_every_page_under_a_grant_bears_the_banner(scene: Scene) -> None:
    scene.set_grant("read")
    for rule in routes(scene.app):
        if needed(scene.app, rule) is Grant.READ:
            page = scene.staff.get(scene.path(rule)).text
            assert "support-banner" in page
            assert "the queue stands" in page


def test_staff_look_by_day_and_see_what_the_organisation_sees(scene: Scene) -> None:
    scene.set_grant("read")
    at = f"/staff/organisations/{scene.organisation.id}"
    before = f"{utc_now() - timedelta(days=2):%Y-%m-%d}"
    scene.mail.trace.flush()
    for page in ("queue", "trace"):
        assert "bob@else.test" in scene.staff.get(f"{at}/{page}?since={before}").text
        assert "bob@else.test" not in scene.staff.get(f"{at}/{page}?until={before}").text
        assert "No message fits" in scene.staff.get(f"{at}/queue?until={before}").text
        assert scene.staff.get(f"{at}/{page}?until=today").status_code == 400
    steps = scene.staff.get(f"{at}/trace?queue_id={scene.queue_id}", headers={"Accept-Language": "de"}).text
    assert "Zum Versand übernommen" in steps
    assert f"{at}/trace?queue_id=" in steps, "a time leads to all steps of its message"


def test_staff_never_send_as_a_user(scene: Scene) -> None:
    """Attack W22: no route of staff reaches what submits."""
    import inspect

    from portal.staff import views

    assert "submit" not in inspect.getsource(views)
    assert "enqueue" not in inspect.getsource(views)


def test_an_organisation_is_found_by_any_address_domain_or_name(scene: Scene) -> None:
    domain = f"s{scene.organisation.tenant}.test"
    for text in (f"ada@{domain}", domain, scene.organisation.name, scene.made.members[Role.AUDITOR].email):
        assert str(scene.organisation.id) in scene.staff.get("/staff", query_string={"q": text}).text, text
    assert str(scene.organisation.id) not in scene.staff.get("/staff", query_string={"q": "100%"}).text


def test_a_suspension_says_why_and_how_to_object_and_ends(scene: Scene) -> None:
    path = f"/staff/organisations/{scene.organisation.id}"
    scene.staff.post(f"{path}/suspend", {"reason": "Spam was sent", "appeal": "Write to appeals@x.test"})
    provision(scene.mail, scene.organisation.id)
    assert scene.mail.tenants.get(scene.organisation.tenant_id).state is State.SUSPENDED
    owner = browser_of(scene.app, scene.made.members[Role.OWNER])
    for page in ("/support", "/overview"):
        shown = owner.get(page).text
        assert "Spam was sent" in shown
        assert "appeals@x.test" in shown
    scene.staff.post(f"{path}/lift", {"reason": "Explained"})
    assert "suspended" not in owner.get("/overview").text
    provision(scene.mail, scene.organisation.id)
    assert scene.mail.tenants.get(scene.organisation.tenant_id).state is State.ACTIVE


def _close(scene: Scene, decider: Browser) -> tuple[int, str]:
    """Let one ask that an organisation be closed and another decide; return the answer and its state then."""
    victim = make_organisation(scene.mail).organisation
    asking = scene.staff.post(f"/staff/organisations/{victim.id}/close", {"reason": "Fraud"})
    assert "once another member of staff agrees" in scene.staff.get(asking.headers["Location"]).text
    session().expire_all()
    asked = session().scalars(select(Approval).where(Approval.organisation_id == victim.id)).one()
    answer = decider.post(f"/staff/approvals/{asked.id}", {"decision": "approve"})
    session().expire_all()
    return answer.status_code, str(session().get_one(Organisation, victim.id).state)


def test_closing_takes_two(scene: Scene) -> None:
    assert _close(scene, scene.staff) == (403, "active")
    assert _close(scene, scene.other_staff) == (303, "closed")


def test_one_alone_that_closes_would_be_seen(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def alone(_actor: object, approval_id: object, *, approve: bool) -> None:
        with unit_of_work() as current:
            found = current.get_one(Approval, approval_id)
            current.get_one(Organisation, found.organisation_id).state = "closed"  # type: ignore[assignment]
            assert approve

    monkeypatch.setattr(approvals, "decide", alone)
    assert _close(scene, scene.staff)[1] == "closed"
