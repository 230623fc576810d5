"""Bringing many people at once: looked at first, then made, and taken back if that was a mistake.

Each line's user has an id before the first try, and each step looks whether it was done: a worker that dies in the
middle is followed by one that goes on, and nobody is made twice.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Final
from uuid import UUID

from bson import ObjectId
from sqlalchemy import insert, update

from mailcore import fault
from mailcore.errors import MailError, NotFound, Unavailable
from mailcore.model.actor import Actor
from mailcore.model.ids import TenantId, UserId
from mailcore.model.secret import Secret
from mailcore.services import MailServices
from portal.accounts.models import Organisation
from portal.audit.services import record
from portal.database import session, unit_of_work, utc_now
from portal.jobs import enqueue_after_commit
from portal.people import import_queries
from portal.people.csv_file import Column, Line, read_file
from portal.people.import_plan import Plan, Surroundings, canonicals, plan
from portal.people.models import ImportState, PeopleImport, PeopleImportRow, RowState

ALPHABET: Final = "abcdefghijkmnpqrstuvwxyz23456789"
"""Nothing that is easily read as something else; 14 of these hold 70 bits."""
PASSWORD_CHARACTERS: Final = 14


Tell = Callable[[], None]


def _silence() -> None:
    """Tell nobody."""


def made_up_password() -> Secret:
    """Return a first password that is easily read aloud."""
    return Secret("".join(secrets.choice(ALPHABET) for _ in range(PASSWORD_CHARACTERS)))


class WrongState(Exception):
    """The import is not in a state in which this can be done."""


def bring(mail: MailServices, actor: Actor, organisation: Organisation, file_name: str, content: bytes) -> PeopleImport:
    """Read and check a list, and keep it as a preview; nothing is changed.

    Raises:
        FileUnreadable: nothing of it can be used.
        StoreUnavailable: what is there already could not be looked up.
    """
    people = read_file(content)
    tenant_id = organisation.tenant_id
    made = plan(people, _surroundings(mail, tenant_id, canonicals(people)))
    facts = {"columns": list(people.columns), "ignored": list(people.ignored)}
    with unit_of_work() as current:
        brought = PeopleImport(
            organisation_id=organisation.id, file_name=file_name[:200], brought_by=actor.identity, facts=facts
        )
        current.add(brought)
        current.flush()
        rows = _rows(mail, brought.id, people.lines, made)
        current.execute(insert(PeopleImportRow), rows)
        lines = {"lines": len(rows), "faulty": len(made.faulty_lines)}
        record(actor, "people.import_checked", file_name[:200], lines, organisation_id=organisation.id)
    return brought


def start(actor: Actor, organisation: Organisation, import_id: UUID) -> None:
    """Let a worker make the people of a preview whose lines are right.

    Raises:
        WrongState: it was started already.
    """
    with unit_of_work():
        brought = _moved(organisation.id, import_id, ImportState.PREVIEW, ImportState.RUNNING, started_at=utc_now())
        record(actor, "people.import_started", brought.file_name, organisation_id=organisation.id)
        _later(actor, "people.import", import_id)


def undo(actor: Actor, organisation: Organisation, import_id: UUID) -> None:
    """Let a worker delete whom an import made; they can be restored like all deleted users.

    Raises:
        WrongState: it is under way, or undone already.
    """
    with unit_of_work():
        brought = _moved(organisation.id, import_id, ImportState.DONE, ImportState.UNDOING)
        record(actor, "people.import_undone", brought.file_name, organisation_id=organisation.id)
        _later(actor, "people.undo_import", import_id)


def discard(actor: Actor, organisation: Organisation, import_id: UUID) -> None:
    """Forget a preview.

    Raises:
        WrongState: it was started.
    """
    with unit_of_work() as current:
        brought = import_queries.get(organisation.id, import_id)
        if brought.state != ImportState.PREVIEW:
            raise WrongState(brought.state)
        current.delete(brought)
        record(actor, "people.import_discarded", brought.file_name, organisation_id=organisation.id)


def hand_out(mail: MailServices, actor: Actor, organisation: Organisation, import_id: UUID) -> list[tuple[str, ...]]:
    """Return address, name and first password of everybody that was made, and forget the passwords.

    Raises:
        WrongState: it is not done, or they were handed out.
    """
    with unit_of_work() as current:
        brought = import_queries.get(organisation.id, import_id)
        rows = import_queries.with_passwords(import_id)
        if brought.state != ImportState.DONE or not rows:
            raise WrongState(brought.state)
        found: list[tuple[str, ...]] = [
            (row.address, row.wanted.get("name", ""), _opened(mail, row).reveal_text()) for row in rows
        ]
        current.execute(
            update(PeopleImportRow).where(PeopleImportRow.import_id == import_id).values(sealed_password=None)
        )
        details = {"people": len(found)}
        record(actor, "people.passwords_handed_out", brought.file_name, details, organisation_id=organisation.id)
    return found


# -- in a worker --------------------------------------------------------------------------------


def run(mail: MailServices, actor: Actor, import_id: UUID, tell: Tell = _silence) -> None:
    """Make everybody that is still planned, one after the other; what fails is noted and the next one made.

    `tell` is called after each of them.

    Raises:
        StoreUnavailable: call it again; it goes on where it stopped.
    """
    brought, organisation = import_queries.with_organisation(import_id)
    if brought.state != ImportState.RUNNING:
        return

    def make(row: PeopleImportRow) -> None:
        try:
            row.joined = _make(mail, actor, organisation.tenant_id, row)
        except Unavailable:
            raise
        except MailError as error:
            row.state = RowState.FAILED
            row.problems = [{"fault": type(error).__name__, "detail": str(error)[:300]}]
        else:
            row.state = RowState.DONE

    _each(import_id, RowState.PLANNED, make, tell)
    _end(brought, RowState.PLANNED, ImportState.DONE)
    tell()


def run_undo(mail: MailServices, actor: Actor, import_id: UUID, tell: Tell = _silence) -> None:
    """Delete everybody that an import made, and take them out of the groups they were added to.

    `tell` is called after each of them.

    Raises:
        StoreUnavailable: call it again.
    """
    brought, organisation = import_queries.with_organisation(import_id)
    if brought.state != ImportState.UNDOING:
        return

    def unmake(row: PeopleImportRow) -> None:
        _unmake(mail, actor, organisation.tenant_id, row)
        row.state, row.sealed_password = RowState.UNDONE, None

    _each(import_id, RowState.DONE, unmake, tell)
    _end(brought, RowState.DONE, ImportState.UNDONE)
    tell()


def _each(import_id: UUID, state: RowState, work: Callable[[PeopleImportRow], None], tell: Tell) -> None:
    """Work on each row in a state, each in a transaction that holds it: of two workers each has its own."""
    after = 0
    while True:
        with unit_of_work():
            row = import_queries.held_row(import_id, state, after)
            if row is None:
                return
            after = row.line
            work(row)
            fault.hit("people_import.row_made")
        fault.hit("people_import.row")
        tell()


def _end(brought: PeopleImport, left: RowState, new: ImportState) -> None:
    """Say that it is through, unless another worker holds rows yet: that one says so."""
    with unit_of_work() as current:
        if not import_queries.page(brought.id, [left], 1):
            changed = current.get_one(PeopleImport, brought.id, with_for_update=True)
            changed.state, changed.ended_at = new, utc_now()


def _make(mail: MailServices, actor: Actor, tenant_id: TenantId, row: PeopleImportRow) -> list[str]:
    """Make a line's user with all it has, and return the groups it joined; what is there already is passed over."""
    user_id = UserId(ObjectId(row.user))
    route = mail.addresses.find(row.address)
    if route is None or route.user_id != user_id:
        _make_user(mail, actor, tenant_id, user_id, row)
    if not mail.users.get(user_id).password_change_needed:
        mail.users.require_password_change(actor, user_id)
    own = {one.display for one in mail.addresses.list_of_user(user_id)}
    for alias in row.wanted.get("aliases", ()):
        if alias not in own:
            mail.addresses.create(actor, user_id, alias)
    joined = list(row.wanted.get("groups", ()))
    for address in joined:
        group = mail.groups.get(tenant_id, address)
        if row.address not in group.members:
            mail.groups.update(actor, tenant_id, address, members=[*group.members, row.address])
    return joined


def _make_user(mail: MailServices, actor: Actor, tenant_id: TenantId, user_id: UserId, row: PeopleImportRow) -> None:
    try:
        mail.users.get(user_id)
    except NotFound:
        name, quota = row.wanted.get("name", ""), row.wanted.get("quota_bytes")
        mail.users.create(actor, row.address, _opened(mail, row), name, tenant_id, quota, user_id=user_id)
    else:  # made, and the worker died before it had its address
        mail.addresses.create(actor, user_id, row.address)


def _unmake(mail: MailServices, actor: Actor, tenant_id: TenantId, row: PeopleImportRow) -> None:
    for address in row.joined:
        try:
            group = mail.groups.get(tenant_id, address)
            members = [member for member in group.members if member != row.address]
            if len(members) != len(group.members):
                mail.groups.update(actor, tenant_id, address, members=members)
        except NotFound:
            continue
    try:
        mail.deleted_users.delete(actor, UserId(ObjectId(row.user)))
    except NotFound:
        return


# -- parts --------------------------------------------------------------------------------------


def _surroundings(mail: MailServices, tenant_id: TenantId, wanted: set[str]) -> Surroundings:
    tenant = mail.tenants.get(tenant_id)
    seats = None
    if tenant.limits.users is not None:
        seats = max(tenant.limits.users - mail.people.count(tenant_id), 0)
    return Surroundings(
        domains={domain.name: domain.verified_at is not None for domain in mail.domains.list_of(tenant_id)},
        taken=mail.addresses.taken(wanted),
        groups={group.canonical for group in mail.groups.list_of(tenant_id)},
        seats=seats,
        check_password=mail.users.check_password,
    )


def _rows(mail: MailServices, import_id: UUID, lines: Sequence[Line], made: Plan) -> list[dict[str, Any]]:
    """Return a row for each line; passwords are sealed, made up where the list has none."""
    problems: dict[int, list[dict[str, Any]]] = {}
    for problem in made.problems:
        problems.setdefault(problem.line, []).append(asdict(problem))
    rows: dict[int, dict[str, Any]] = {}
    for line in lines:
        faulty = line.number in problems
        rows[line.number] = {
            "import_id": import_id,
            "line": line.number,
            "state": RowState.FAULTY if faulty else RowState.PLANNED,
            "address": str(line.cells.get(Column.ADDRESS, ""))[:400],
            "wanted": {},
            "sealed_password": None,
            "problems": problems.get(line.number, []),
        }
    for user in made.users:
        password = user.password or made_up_password()
        rows[user.line] |= {
            "address": user.address,
            "wanted": {
                "name": user.name,
                "quota_bytes": user.quota_bytes,
                "aliases": list(user.aliases),
                "groups": list(user.groups),
            },
            "sealed_password": mail.sealing.seal(_purpose(import_id, user.line), password.reveal()),
        }
    return list(rows.values())


def _purpose(import_id: UUID, line: int) -> str:
    return f"people_import.password:{import_id}:{line}"


def _opened(mail: MailServices, row: PeopleImportRow) -> Secret:
    assert row.sealed_password is not None
    return Secret(mail.sealing.open(_purpose(row.import_id, row.line), row.sealed_password))


def _moved(
    organisation_id: UUID, import_id: UUID, old: ImportState, new: ImportState, **values: object
) -> PeopleImport:
    """Change the state, if it is still the old one: of two who do it at once one is refused.

    Raises:
        WrongState: it is in another.
    """
    current = session()
    changed = current.execute(
        update(PeopleImport)
        .where(PeopleImport.id == import_id, PeopleImport.organisation_id == organisation_id, PeopleImport.state == old)
        .values(state=new, **values)
    )
    if changed.rowcount != 1:  # type: ignore[attr-defined]
        raise WrongState(new)
    return import_queries.get(organisation_id, import_id)


def _later(actor: Actor, job: str, import_id: UUID) -> None:
    """Enqueue a job after the commit; where that is lost the periodic look at what is under way finds it."""
    who = {"identity": actor.identity, "remote_address": actor.remote_address, "request_id": actor.request_id}
    enqueue_after_commit(job, import_id=str(import_id), **who)
