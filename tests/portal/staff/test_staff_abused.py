"""Staff tools against those who hold them: a password alone, one person twice, forms of other sites."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from portal.accounts import sessions
from portal.accounts.models import Member, Organisation, PortalSession
from portal.database import session, unit_of_work, utc_now
from portal.permissions import Role
from portal.staff import approvals, models
from portal.staff.models import WAITS, Approval
from tests.portal.conftest import browser_of, make_organisation
from tests.portal.staff.test_grants import Scene, make_staff, method_of, routes, scene

__all__ = ["scene"]


def reached_without_a_factor(scene: Scene) -> list[str]:
    """Return what of staff's pages a password alone opens."""
    browser = browser_of(scene.app, make_staff(scene.mail, second_factor=False))
    scene.set_grant("write")
    reached = []
    for rule in routes(scene.app):
        path = scene.path(rule)
        answer = browser.get(path) if method_of(rule) == "GET" else browser.post(path)
        if answer.status_code != 303 or not answer.headers["Location"].endswith("/profile/security"):
            reached.append(path)
    return reached


def test_a_password_alone_opens_nothing_to_staff_but_setting_a_factor_up(scene: Scene) -> None:
    assert reached_without_a_factor(scene) == []
    browser = browser_of(scene.app, make_staff(scene.mail, second_factor=False))
    for path in ("/staff", "/staff/jobs", "/staff/abuse", "/staff/statistics", "/staff/features"):
        assert browser.get(path).status_code == 303, path
    assert browser.get("/profile/security").status_code == 200
    assert scene.staff.get("/profile/security").status_code == 200


def test_control_staff_without_a_factor_that_are_let_in_are_seen(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    real = sessions._signed_in

    def trusting(found: PortalSession, membership: object) -> object:
        who = real(found, membership)  # type: ignore[arg-type]
        if who is not None:
            object.__setattr__(who, "needs_second_factor", False)
        return who

    monkeypatch.setattr(sessions, "_signed_in", trusting)
    assert reached_without_a_factor(scene) != []


def ask_and_decide(scene: Scene, *, later: timedelta = timedelta(0)) -> tuple[int, int, str]:
    """One person asks in one browser and decides in another one; then somebody else decides.

    Returns both answers, and the organisation's state.
    """
    member = make_staff(scene.mail)
    first, second = browser_of(scene.app, member), browser_of(scene.app, member)
    victim = make_organisation(scene.mail).organisation
    first.post(f"/staff/organisations/{victim.id}/close", {"reason": "Fraud"})
    with unit_of_work() as current:
        asked = current.scalars(select(Approval).where(Approval.organisation_id == victim.id)).one()
        asked.asked_at = utc_now() - later
    own = second.post(f"/staff/approvals/{asked.id}", {"decision": "approve"}).status_code
    others = scene.other_staff.post(f"/staff/approvals/{asked.id}", {"decision": "approve"}).status_code
    session().expire_all()
    return own, others, str(session().get_one(Organisation, victim.id).state)


def test_one_person_in_two_browsers_is_one_person(scene: Scene) -> None:
    assert ask_and_decide(scene) == (403, 303, "closed")


def test_what_was_asked_long_ago_is_carried_out_by_nobody(scene: Scene) -> None:
    assert ask_and_decide(scene, later=WAITS + timedelta(minutes=1)) == (404, 404, "active")


def test_control_what_waits_for_ever_is_seen(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approvals, "WAITS", timedelta(days=9999))
    assert timedelta(days=30) > models.WAITS
    assert ask_and_decide(scene, later=WAITS + timedelta(minutes=1))[2] == "closed"


def test_a_form_of_another_site_changes_nothing(scene: Scene) -> None:
    scene.set_grant("write")
    changing = [rule for rule in scene.app.url_map.iter_rules()
                if rule.endpoint.startswith("staff") and method_of(rule) == "POST"]  # fmt: skip
    assert len(changing) >= 10
    values = {"organisation_id": scene.organisation.id, "queue_user": scene.queue_user, "queue_id": scene.queue_id,
              "act": "hold", "feature": "mail_exports", "limit": "users", "approval_id": scene.organisation.id,
              "job_id": "x"}  # fmt: skip
    for rule in changing:
        wanted = {name: values[name] for name in rule.arguments}
        path = scene.app.url_map.bind("localhost").build(rule.endpoint, wanted, method="POST")
        for token in ("", "wrong"):
            answer = scene.staff.client.post(path, data={"csrf_token": token, "reason": "x"})
            assert answer.status_code == 400, path


def test_who_is_no_longer_of_staff_has_no_open_session_left(scene: Scene) -> None:
    scene.set_grant("write")
    member = make_staff(scene.mail)
    browser = browser_of(scene.app, member)
    path = f"/staff/organisations/{scene.organisation.id}/users"
    assert browser.get(path).status_code == 200
    with unit_of_work() as current:
        current.get_one(Member, member.id).is_staff = False
    assert browser.get(path).status_code == 303
    assert browser.get("/staff").status_code == 303


def test_a_grant_that_ends_meanwhile_ends_what_is_open(scene: Scene) -> None:
    scene.set_grant("read")
    path = f"/staff/organisations/{scene.organisation.id}/queue"
    assert scene.staff.get(path).status_code == 200
    scene.set_grant("revoked")
    assert scene.staff.get(path).status_code == 403
    owner = browser_of(scene.app, scene.made.members[Role.OWNER])
    assert owner.get("/support").status_code == 200
