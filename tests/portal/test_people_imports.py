"""Imports of people: looked at first, made by a worker that may die at any moment, and taken back."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from uuid import UUID

import pytest
from flask import Flask

from mailcore import fault
from mailcore.errors import StoreUnavailable
from mailcore.model.access import Protocol
from mailcore.model.secret import Secret
from mailcore.services import MailServices
from portal.database import session
from portal.mail_plane import EXTENSION
from portal.people import import_queries, imports
from portal.people.models import ImportState, PeopleImport, PeopleImportRow, RowState
from portal.permissions import Role
from tests.builders import OPERATOR
from tests.portal.conftest import Browser, MadeOrganisation
from tests.portal.people import MEMBER, domain_of, text_of, user_of
from workers.context import JobContext
from workers.jobs import people as jobs

SignIn = Callable[..., Browser]


@pytest.fixture
def domain(mail_services: MailServices, organisation: MadeOrganisation) -> str:
    return domain_of(mail_services, organisation.organisation.tenant_id)


@pytest.fixture
def at_work(portal_app: Flask, mail_services: MailServices) -> JobContext:
    """What a worker gives its jobs."""
    parts = portal_app.extensions[EXTENSION]
    return JobContext(mail_services, parts.redis, parts)


def work(context: JobContext, import_id: str, job: Callable[..., None] = jobs.run_import) -> None:
    job(context, import_id=import_id, identity="owner@members.test", remote_address="", request_id="r")


def bring(browser: Browser, text: str, name: str = "people.csv") -> str:
    """Upload a list and return its id."""
    answer = browser.post(
        "/people/imports/", {"file": (io.BytesIO(text.encode()), name)}, content_type="multipart/form-data"
    )
    assert answer.status_code == 303, text_of(answer)
    return answer.headers["Location"].rsplit("/", 1)[1]


def started(mail: MailServices, made: MadeOrganisation, text: str) -> str:
    brought = imports.bring(mail, MEMBER, made.organisation, "people.csv", text.encode())
    imports.start(MEMBER, made.organisation, brought.id)
    return str(brought.id)


def states(import_id: str) -> dict[str, RowState]:
    session().expire_all()
    rows = import_queries.page(UUID(import_id), list(RowState), 1000)
    return {row.address: RowState(row.state) for row in rows}


def state(import_id: str) -> ImportState:
    session().expire_all()
    return ImportState(session().get_one(PeopleImport, UUID(import_id)).state)


def test_a_preview_shows_every_problem_and_changes_nothing(
    sign_in: SignIn, mail_services: MailServices, organisation: MadeOrganisation, domain: str
) -> None:
    taken = mail_services.users.get(user_of(mail_services, organisation)).address
    admin = sign_in(Role.ADMIN)
    before = mail_services.people.count(organisation.organisation.tenant_id)
    import_id = bring(admin, f"address,quota,shoe size\nada@{domain},5 GB,\n{taken},,\nbob@{domain},much,\n")
    page = text_of(admin.get(f"/people/imports/{import_id}"))
    assert f"Somebody has {taken} already." in page
    assert "“much” is no amount of storage" in page
    assert "shoe size" in page
    assert "Make 1 user" in page
    assert mail_services.people.count(organisation.organisation.tenant_id) == before
    as_file = text_of(admin.get(f"/people/imports/{import_id}/problems.csv"))
    assert [line.split(",")[0] for line in as_file.splitlines()[1:]] == ["3", "4"]


def test_what_is_no_list_says_what_to_do(sign_in: SignIn) -> None:
    admin = sign_in(Role.ADMIN)
    answer = admin.post(
        "/people/imports/", {"file": (io.BytesIO(b"name\nAda\n"), "x.csv")}, content_type="multipart/form-data"
    )
    assert answer.status_code == 400
    assert "No column is called" in text_of(answer)


def test_from_a_list_to_people_who_sign_in(
    sign_in: SignIn, mail_services: MailServices, organisation: MadeOrganisation, domain: str, at_work: JobContext
) -> None:
    tenant_id, admin = organisation.organisation.tenant_id, sign_in(Role.ADMIN)
    mail_services.groups.create(OPERATOR, tenant_id, f"team@{domain}")
    import_id = bring(
        admin,
        f"address,name,quota,aliases,groups,password\nada@{domain},Ada,2 GB,a@{domain},team@{domain},\n"
        f"bob@{domain},,,,,correct horse 7\n",
    )
    admin.post(f"/people/imports/{import_id}/start")
    assert state(import_id) is ImportState.RUNNING
    work(at_work, import_id)
    assert state(import_id) is ImportState.DONE
    ada = mail_services.users.get(mail_services.addresses.get(f"ada@{domain}").user_id)
    assert (ada.name, ada.quota_bytes, ada.password_change_needed) == ("Ada", 2_000_000_000, True)
    assert mail_services.addresses.get(f"a@{domain}").user_id == ada.id
    assert mail_services.groups.get(tenant_id, f"team@{domain}").members == (f"ada@{domain}",)
    handed = admin.post(f"/people/imports/{import_id}/passwords.csv").get_data().decode("utf-8-sig").splitlines()
    passwords = {line.split(",")[0]: line.split(",")[2] for line in handed[1:]}
    assert passwords[f"bob@{domain}"] == "correct horse 7"
    login = mail_services.authentication.login
    assert login(f"ada@{domain}", Secret(passwords[f"ada@{domain}"]), Protocol.PORTAL, "").user_id == ada.id


def test_first_passwords_are_handed_out_once_and_are_never_stored_in_clear(
    sign_in: SignIn, mail_services: MailServices, organisation: MadeOrganisation, domain: str, at_work: JobContext
) -> None:
    admin = sign_in(Role.ADMIN)
    import_id = bring(admin, f"address,password\nada@{domain},grasshopper 99\n")
    row = import_queries.page(UUID(import_id), [RowState.PLANNED], 1)[0]
    assert row.sealed_password is not None
    assert b"grasshopper" not in bytes(row.sealed_password)
    assert "grasshopper" not in json.dumps([row.wanted, row.problems, row.address])
    admin.post(f"/people/imports/{import_id}/start")
    work(at_work, import_id)
    path = f"/people/imports/{import_id}/passwords.csv"
    assert b"grasshopper 99" in admin.post(path).get_data()
    assert admin.post(path).status_code == 303
    session().expire_all()
    assert import_queries.with_passwords(UUID(import_id)) == []


STEPS = ("audit.announced", "audit.changed", "people_import.row_made", "people_import.row")


def killed_at_each_step(mail: MailServices, made: MadeOrganisation, domain: str, context: JobContext) -> list[str]:
    """Die at one step after the other, then go on; return how often each of three people is there."""
    text = "address,aliases\n" + "".join(f"k{number}@{domain},l{number}@{domain}\n" for number in range(3))
    import_id = started(mail, made, text)
    steps = 0
    while state(import_id) is not ImportState.DONE:
        steps += 1
        left = [steps]

        def die(left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] == 0:
                raise Killed

        fault.install(dict.fromkeys(STEPS, die))
        try:
            work(context, import_id)
        except Killed:
            session().rollback()
        finally:
            fault.install({})
        assert steps < 200
    assert steps > 3
    assert set(states(import_id).values()) == {RowState.DONE}
    found = mail.people.page(made.organisation.tenant_id, "k").people
    return sorted(person.user.address.partition("@")[0] for person in found)


class Killed(BaseException):
    """The worker is gone."""


def test_killed_at_each_step_it_goes_on_and_makes_nobody_twice(
    mail_services: MailServices, organisation: MadeOrganisation, domain: str, at_work: JobContext
) -> None:
    assert killed_at_each_step(mail_services, organisation, domain, at_work) == ["k0", "k1", "k2"]


def test_control_ids_that_are_not_chosen_before_are_seen(
    mail_services: MailServices,
    organisation: MadeOrganisation,
    domain: str,
    at_work: JobContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Were each try to make a user of its own, a killed worker would leave people without rows."""
    from mailcore.services.accounts.users import Users

    real = Users.create

    def another(self: Users, *arguments: object, user_id: object = None, **named: object) -> object:
        del user_id
        return real(self, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Users, "create", another)
    with pytest.raises(AssertionError):
        assert killed_at_each_step(mail_services, organisation, domain, at_work) == ["k0", "k1", "k2"]


def test_what_was_taken_meanwhile_fails_alone(
    mail_services: MailServices, organisation: MadeOrganisation, domain: str, at_work: JobContext
) -> None:
    import_id = started(mail_services, organisation, f"address\none@{domain}\ntwo@{domain}\n")
    mail_services.groups.create(OPERATOR, organisation.organisation.tenant_id, f"one@{domain}")
    work(at_work, import_id)
    assert states(import_id) == {f"one@{domain}": RowState.FAILED, f"two@{domain}": RowState.DONE}


def test_a_store_that_is_away_is_waited_for(
    mail_services: MailServices,
    organisation: MadeOrganisation,
    domain: str,
    at_work: JobContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from mailcore.services.accounts.users import Users

    def away(*_: object, **__: object) -> None:
        raise StoreUnavailable("away")

    import_id = started(mail_services, organisation, f"address\none@{domain}\n")
    with monkeypatch.context() as patched:
        patched.setattr(Users, "create", away)
        with pytest.raises(StoreUnavailable):
            work(at_work, import_id)
    assert state(import_id) is ImportState.RUNNING
    work(at_work, import_id)
    assert states(import_id) == {f"one@{domain}": RowState.DONE}


def test_undo_deletes_whom_it_made_and_nobody_else(
    sign_in: SignIn, mail_services: MailServices, organisation: MadeOrganisation, domain: str, at_work: JobContext
) -> None:
    tenant_id, admin = organisation.organisation.tenant_id, sign_in(Role.ADMIN)
    other = user_of(mail_services, organisation)
    others_address = mail_services.users.get(other).address
    mail_services.groups.create(OPERATOR, tenant_id, f"team@{domain}", [others_address])
    import_id = started(mail_services, organisation, f"address,groups\nada@{domain},team@{domain}\n")
    work(at_work, import_id)
    admin.post(f"/people/imports/{import_id}/undo")
    work(at_work, import_id, jobs.undo_import)
    work(at_work, import_id, jobs.undo_import)  # twice is once
    assert state(import_id) is ImportState.UNDONE
    assert mail_services.people.count(tenant_id) == 1
    assert mail_services.groups.get(tenant_id, f"team@{domain}").members == (others_address,)
    [deleted] = mail_services.deleted_users.list_of_tenant(tenant_id)
    assert deleted.user.address == f"ada@{domain}"


def test_started_twice_is_started_once(
    sign_in: SignIn, mail_services: MailServices, organisation: MadeOrganisation, domain: str
) -> None:
    admin = sign_in(Role.ADMIN)
    import_id = bring(admin, f"address\nada@{domain}\n")
    admin.post(f"/people/imports/{import_id}/start")
    assert "under way or done already" in text_of(
        admin.post(f"/people/imports/{import_id}/start", follow_redirects=True)
    )
    assert admin.post(f"/people/imports/{import_id}/discard").status_code == 303
    assert state(import_id) is ImportState.RUNNING


def test_a_preview_can_be_discarded(sign_in: SignIn, domain: str) -> None:
    admin = sign_in(Role.ADMIN)
    import_id = bring(admin, f"address\nada@{domain}\n")
    admin.post(f"/people/imports/{import_id}/discard")
    assert admin.get(f"/people/imports/{import_id}").status_code == 404
    assert session().query(PeopleImportRow).filter_by(import_id=UUID(import_id)).count() == 0


def test_progress_is_told_until_the_end(
    sign_in: SignIn, mail_services: MailServices, organisation: MadeOrganisation, domain: str, at_work: JobContext
) -> None:
    admin = sign_in(Role.ADMIN)
    import_id = started(mail_services, organisation, f"address\none@{domain}\ntwo@{domain}\n")
    work(at_work, import_id)
    stream = admin.get(f"/people/imports/{import_id}/progress")
    assert stream.mimetype == "text/event-stream"
    last = text_of(stream).strip().splitlines()[-1]
    assert json.loads(last.removeprefix("data: ")) == {"done": 2, "total": 2, "ended": True, "version": ""}


def test_what_is_under_way_is_found_again(
    mail_services: MailServices, organisation: MadeOrganisation, domain: str, at_work: JobContext
) -> None:
    """A job that was lost with Redis, or whose worker died, is put on the queue anew."""
    import_id = started(mail_services, organisation, f"address\none@{domain}\n")
    enqueued: list[tuple[str, str]] = []

    class Watched(JobContext):
        def enqueue(self, job: str, **arguments: object) -> str:
            enqueued.append((job, str(arguments["import_id"])))
            return ""

    jobs.resume_imports(Watched(mail_services, at_work.redis, at_work.portal))
    assert ("people.import", import_id) in enqueued
