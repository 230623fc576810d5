"""The audit log: what the portal and the mail plane did, in a chain that shows every change."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from uuid import UUID

import pytest
import requests
from flask import Flask
from sqlalchemy import func, select, text

from mailcore import fault
from mailcore.cli import main as eider
from mailcore.model.actor import Actor, ActorKind, Door
from mailcore.services import MailServices
from portal.audit import chain, feed, queries, services
from portal.audit.models import AuditEvent
from portal.database import session, unit_of_work
from portal.permissions import Role
from tests.builders import OPERATOR
from tests.portal.conftest import MadeOrganisation, SignIn, make_organisation
from tests.portal.people import user_of
from tests.portal.test_pages import served

BO = Actor(ActorKind.MEMBER, Door.PORTAL, "bo@harbour.test", None, "192.0.2.7")


def record(made: MadeOrganisation, count: int = 3) -> UUID:
    for number in range(count):
        with unit_of_work():
            services.record(
                BO, "member.invited", f"ann{number}@x.test", {"n": number}, organisation_id=made.organisation.id
            )
    return made.organisation.id


def tamper(statement: str, **values: object) -> None:
    """Change the log as somebody who owns the database could."""
    with unit_of_work() as current:
        current.execute(text("ALTER TABLE audit_events DISABLE TRIGGER USER"))
        current.execute(text(statement), values)
        current.execute(text("ALTER TABLE audit_events ENABLE TRIGGER USER"))


def test_a_chain_is_whole_and_begins_with_the_organisation(organisation: MadeOrganisation) -> None:
    verdict = chain.verify(record(organisation))
    assert (verdict.is_whole, verdict.events) == (True, 4)


TAMPERING = [
    pytest.param("UPDATE audit_events SET actor = 'eve' WHERE organisation_id = :o AND number = 2", 2, id="actor"),
    pytest.param("UPDATE audit_events SET details = '{}' WHERE organisation_id = :o AND number = 3", 3, id="details"),
    pytest.param(
        "UPDATE audit_events SET at = at - interval '1 day' WHERE organisation_id = :o AND number = 2", 2, id="time"
    ),
    pytest.param(
        "UPDATE audit_events SET outcome = 'unknown' WHERE organisation_id = :o AND number = 4", 4, id="outcome"
    ),
    pytest.param("DELETE FROM audit_events WHERE organisation_id = :o AND number = 2", 2, id="removed"),
    pytest.param("DELETE FROM audit_events WHERE organisation_id = :o AND number = 4", 4, id="end removed"),
    pytest.param("DELETE FROM audit_events WHERE organisation_id = :o", 1, id="all removed"),
]


@pytest.mark.parametrize(("statement", "at"), TAMPERING)
def test_whatever_is_changed_shows(organisation: MadeOrganisation, statement: str, at: int) -> None:
    organisation_id = record(organisation)
    tamper(statement, o=organisation_id)
    assert chain.verify(organisation_id).broken_at == at


def test_control_a_row_hashed_without_its_details_hides_a_change(
    organisation: MadeOrganisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = services.digest_of

    def careless(event: AuditEvent) -> bytes:
        return real(AuditEvent(**{name: getattr(event, name) for name in KEPT}, details={}))

    monkeypatch.setattr(services, "digest_of", careless)
    monkeypatch.setattr(chain, "digest_of", careless)
    organisation_id = record(make_twin())
    tamper(
        "UPDATE audit_events SET details = '{\"n\": 9}' WHERE organisation_id = :o AND number = 3", o=organisation_id
    )
    assert chain.verify(organisation_id).is_whole


KEPT = (
    "organisation_id", "number", "at", "what", "target", "actor_kind", "actor", "door", "remote_address", "outcome",
    "source", "previous_digest",
)  # fmt: skip
_mail: list[MailServices] = []


@pytest.fixture(autouse=True)
def _known(mail_services: MailServices, database: None) -> None:
    _mail[:] = [mail_services]


def make_twin() -> MadeOrganisation:
    return make_organisation(_mail[0])


def test_details_come_back_to_the_letter(organisation: MadeOrganisation) -> None:
    """JSON in Postgres has one way to write a number and no NUL: neither may break the chain."""
    odd = {
        "float": 1.50,
        "big": 10**30,
        "nul": "a\x00b",
        "list": (1, None, True),
        "nested": {"ü": "\u2028"},
        "set": {1},
    }
    with unit_of_work():
        services.record(BO, "odd.details", "x", odd, organisation_id=organisation.organisation.id)
    session().expire_all()
    assert chain.verify(organisation.organisation.id).is_whole


def test_the_command_says_which_chain_is_broken_and_where(
    portal_app: Flask,
    organisation: MadeOrganisation,
    postgres_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DATABASE_URL", postgres_url)
    slug = organisation.organisation.slug
    organisation_id = record(organisation)
    assert eider(["audit", "verify", "--organisation", slug]) == 0
    assert capsys.readouterr().out == "1 chains, 4 events verified, 0 broken\n"
    tamper("UPDATE audit_events SET target = 'nobody' WHERE organisation_id = :o AND number = 3", o=organisation_id)
    assert eider(["audit", "verify", "--organisation", slug]) == 1
    assert f"{slug}: event 3 is not as it was written" in capsys.readouterr().out


# -- what the mail plane did -----------------------------------------------------------------


def number_events(mail: MailServices) -> None:
    for sequencer in mail.events.sequencers():
        sequencer.step()


def take_over(mail: MailServices, made: MadeOrganisation) -> int:
    number_events(mail)
    total = 0
    while count := feed.take_over(mail, made.organisation):
        total += count
    return total


def of_mail(made: MadeOrganisation) -> list[AuditEvent]:
    return list(
        session().scalars(
            select(AuditEvent)
            .where(AuditEvent.organisation_id == made.organisation.id, AuditEvent.source != "")
            .order_by(AuditEvent.number)
        )
    )


def test_changes_of_the_mail_plane_are_told_once(organisation: MadeOrganisation, mail_services: MailServices) -> None:
    take_over(mail_services, organisation)
    known = len(of_mail(organisation))
    domain = f"{organisation.organisation.tenant}.test"
    mail_services.domains.create(BO, organisation.organisation.tenant_id, domain)
    assert take_over(mail_services, organisation) >= 1
    assert take_over(mail_services, organisation) == 0
    [told] = of_mail(organisation)[known:]
    assert (told.what, told.actor, told.remote_address) == ("domain.created", "bo@harbour.test", "192.0.2.7")
    assert chain.verify(organisation.organisation.id).is_whole


def test_what_was_done_to_a_user_names_the_address(organisation: MadeOrganisation, mail_services: MailServices) -> None:
    kept, deleted = (user_of(mail_services, organisation) for _ in range(2))
    names = {user_id: mail_services.users.get(user_id).address for user_id in (kept, deleted)}
    mail_services.deleted_users.delete(BO, deleted)
    take_over(mail_services, organisation)
    told = [(one.what, one.target) for one in of_mail(organisation)]
    assert [target for what, target in told if what == "mailbox.defaults"] == [names[kept], names[deleted]]
    assert ("user.deleted", names[deleted]) in told
    assert not {str(kept), str(deleted)} & {target for _what, target in told}


class Killed(BaseException):
    """The process ended here."""


@pytest.fixture
def disarmed() -> Iterator[None]:
    yield
    fault.install({})


def test_death_while_taking_over_loses_and_doubles_nothing(
    organisation: MadeOrganisation, mail_services: MailServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        name = f"d{number}-{organisation.organisation.tenant}.test"
        mail_services.domains.create(OPERATOR, organisation.organisation.tenant_id, name)
    number_events(mail_services)
    real, calls = feed.append, []

    def dies_at_second(*arguments: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            raise Killed
        return real(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(feed, "append", dies_at_second)
        with pytest.raises(Killed):
            feed.take_over(mail_services, organisation.organisation)
    session().rollback()
    take_over(mail_services, organisation)
    sources = [event.source for event in of_mail(organisation)]
    assert len(sources) == len(set(sources)) >= 4
    assert chain.verify(organisation.organisation.id).is_whole


# -- pages -----------------------------------------------------------------------------------


def test_the_page_filters_and_pages(organisation: MadeOrganisation, sign_in: SignIn) -> None:
    record(organisation, 60)
    browser = sign_in(Role.AUDITOR)
    first = browser.get("/audit").text
    assert "ann59@x.test" in first
    assert "ann0@x.test" not in first
    assert "before=" in first
    assert "ann0@x.test" in browser.get("/audit?before=12").text
    assert "Nothing like that" in browser.get("/audit?actor=nobody%25").text
    of_domains = browser.get("/audit?subject=domains").text
    assert "Nothing like that" in of_domains
    of_members = browser.get("/audit?subject=organisation").text
    assert "Member invited" in of_members
    assert "member.invited" not in of_members
    assert "Member invited" in browser.get("/audit?subject=organisation&before=3").text
    assert browser.get("/audit?since=tomorrow").status_code == 400


def test_the_export_is_whole_by_the_web_server_too(
    portal_app: Flask, organisation: MadeOrganisation, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is written after the view has returned, where nothing of the request is left."""
    monkeypatch.setattr(queries, "EXPORT_PAGE", 2)
    record(organisation, 5)
    cookie = sign_in(Role.OWNER).client.get_cookie("__Host-eider")
    assert cookie is not None
    with served(portal_app) as base:
        answer = requests.get(
            f"{base}/audit/export.csv", headers={"Cookie": f"{cookie.key}={cookie.value}"}, timeout=20
        )
    rows = list(csv.reader(io.StringIO(answer.text)))
    assert [row[3] for row in rows[-5:]] == [f"ann{number}@x.test" for number in range(5)]


def test_the_export_is_whole_and_no_cell_computes(organisation: MadeOrganisation, sign_in: SignIn) -> None:
    with unit_of_work():
        services.record(
            BO, "member.invited", '=HYPERLINK("https://evil.test")', organisation_id=organisation.organisation.id
        )
    response = sign_in(Role.OWNER).get("/audit/export.csv")
    rows = list(csv.reader(io.StringIO(response.text)))
    count = session().scalar(
        select(func.count()).select_from(AuditEvent).where(AuditEvent.organisation_id == organisation.organisation.id)
    )
    assert len(rows) == 1 + (count or 0)
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row)
    assert {row[2] for row in rows[1:]} == {"organisation.created", "member.invited"}, "programs read these"
    assert "attachment" in response.headers["Content-Disposition"]


def test_the_page_is_german_for_who_reads_german(organisation: MadeOrganisation, sign_in: SignIn) -> None:
    record(organisation, 1)
    page = sign_in(Role.AUDITOR).get("/audit", headers={"Accept-Language": "de"}).text
    assert "Mitglied eingeladen" in page
    assert ">Portal</td>" in page, "an event without an address says through what it came"
