"""Who is of staff: appointed and dismissed at the shell, told in the platform's log, and by nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from bson import ObjectId
from flask import Flask
from sqlalchemy import select

from mailcore.cli import main as eider
from mailcore.model.secret import Secret
from mailcore.services import MailServices
from portal.accounts import factors, services
from portal.accounts.models import LinkPurpose, Member
from portal.audit.models import PLATFORM, AuditEvent
from portal.database import session, unit_of_work
from portal.permissions import Role
from tests.portal.conftest import SOMEBODY, MadeOrganisation, browser_of, token_of

Run = Callable[..., int]


@pytest.fixture
def staff(portal_app: Flask, database: None, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("DATABASE_URL", postgres_url)
    return lambda *words: eider(["portal", "staff", *words])


def member_of(email: str) -> Member:
    session().expire_all()
    return session().scalars(select(Member).where(Member.canonical_email == email)).one()


def told(email: str) -> list[tuple[str, str]]:
    wanted = select(AuditEvent).where(AuditEvent.organisation_id == PLATFORM, AuditEvent.target == email)
    return [(one.what, one.actor_kind) for one in session().scalars(wanted.order_by(AuditEvent.number))]


def test_from_the_shell_to_the_first_page_and_out_again(
    portal_app: Flask, mail_services: MailServices, staff: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    email = f"support-{ObjectId()}@staff.test"
    assert staff("add", email) == 0
    assert staff("add", email) == 0, "twice is once"
    services.ask_for_password(mail_services, email, "en")
    token = token_of(mail_services, LinkPurpose.RESET, email)
    services.reset_password(mail_services, SOMEBODY, token, Secret("a long password of theirs"))
    member = member_of(email)
    browser = browser_of(portal_app, member)
    assert browser.get("/staff").headers["Location"].endswith("/profile/security")
    assert staff("list") == 0
    assert f"{email}  no second factor yet" in capsys.readouterr().out
    with unit_of_work() as current:
        current.get_one(Member, member.id).sealed_totp_seed = factors.seal_seed(
            mail_services, member.id, "JBSWY3DPEHPK3PXP"
        )
    assert browser.get("/staff").status_code == 200
    assert staff("remove", email) == 0
    assert browser.get("/staff").status_code == 303
    assert not member_of(email).is_staff
    assert staff("remove", email) == 1
    assert told(email) == [("staff.appointed", "operator"), ("staff.dismissed", "operator")]


def test_who_belongs_to_an_organisation_becomes_no_staff(
    staff: Run, organisation: MadeOrganisation, capsys: pytest.CaptureFixture[str]
) -> None:
    email = organisation.members[Role.OWNER].email
    assert staff("add", email) == 1
    assert "an address of their own" in capsys.readouterr().err
    assert not member_of(email).is_staff
    assert staff("add", "no address") == 1
