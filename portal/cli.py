"""`eider portal` and `eider audit verify`: the portal's tables, and who is of staff, from the shell."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import select

from mailcore.errors import MailError
from mailcore.model.actor import Actor, ActorKind, Door
from portal.accounts.models import Organisation
from portal.audit import chain
from portal.audit.models import PLATFORM
from portal.database import Database, open_engine, session
from portal.migrations import migrate
from portal.staff import appointing

if TYPE_CHECKING:
    from mailcore.cli import Subparsers

CONFIGURATION = 78
"""Exit code of sysexits.h."""


def register(subparsers: Subparsers) -> None:
    """Add the noun `portal` and its verbs."""
    parser = subparsers.add_parser("portal", help="the portal's tables", description=__doc__)
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    one = verbs.add_parser("migrate", help="bring the tables up to date; run it before a new release serves")
    one.set_defaults(run=run_migrate)
    staff = verbs.add_parser("staff", help="who is of staff and helps organisations").add_subparsers(
        title="verbs", metavar="VERB", required=True
    )
    one = staff.add_parser("add", help="make somebody staff; a password is set by the link that the sign-in mails")
    one.add_argument("email", help="an address that belongs to no organisation's member")
    one.set_defaults(run=run_appoint)
    one = staff.add_parser("remove", help="let somebody be of staff no more, and end every session")
    one.add_argument("email")
    one.set_defaults(run=run_dismiss)
    staff.add_parser("list", help="show everybody of staff").set_defaults(run=run_list_staff)


def register_verify(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb `verify` to the noun `audit`."""
    one = verbs.add_parser(
        "verify",
        help="see that nothing in the portal's audit log was changed",
        description="Compute every hash of the audit log anew. Status 1 if an event was changed, removed or added.",
    )
    one.add_argument("--organisation", metavar="SLUG", help="one organisation (all, and the platform's)")
    one.set_defaults(run=run_verify)


def run_migrate(_: argparse.Namespace) -> int:
    """Make every change of the tables that is not made yet."""
    url = _database_url()
    if not url:
        return CONFIGURATION
    engine = open_engine(url)
    try:
        migrate(engine)
    finally:
        engine.dispose()
    return 0


def run_appoint(options: argparse.Namespace) -> int:
    """Make somebody staff."""
    return _in_tables(lambda: _told(lambda: appointing.appoint(_operator(), options.email)))


def run_dismiss(options: argparse.Namespace) -> int:
    """Let somebody be of staff no more."""
    return _in_tables(lambda: _told(lambda: appointing.dismiss(_operator(), options.email)))


def run_list_staff(_: argparse.Namespace) -> int:
    """Show everybody of staff, a line each, and who has no second factor yet."""

    def show() -> int:
        for member in appointing.list_staff():
            sys.stdout.write(f"{member.email}{'' if member.has_second_factor else '  no second factor yet'}\n")
        return 0

    return _in_tables(show)


def run_verify(options: argparse.Namespace) -> int:
    """Verify the chains, one line each that is broken and one at the end."""
    return _in_tables(lambda: _verify(options.organisation))


def _told(work: Callable[[], object]) -> int:
    try:
        work()
    except MailError as error:
        sys.stderr.write(f"{error.details[0] if error.details else error}\n")
        return 1
    return 0


def _operator() -> Actor:
    return Actor(ActorKind.OPERATOR, Door.CLI, getpass.getuser())


def _in_tables(work: Callable[[], int]) -> int:
    url = _database_url()
    if not url:
        return CONFIGURATION
    database = Database(url)
    try:
        with database.scope():
            return work()
    finally:
        database.engine.dispose()


def _verify(slug: str | None) -> int:
    names = {one.id: one.slug for one in session().scalars(select(Organisation))}
    wanted = [known for known in chain.chains() if slug is None or names.get(known) == slug]
    if slug is not None and not wanted:
        sys.stderr.write(f"there is no organisation {slug}, or nothing was done in it\n")
        return 1
    events, broken = 0, 0
    for organisation_id in wanted:
        found = chain.verify(organisation_id)
        events += found.events
        if not found.is_whole:
            broken += 1
            name = _name(organisation_id, names)
            sys.stdout.write(f"{name}: event {found.broken_at} is not as it was written: {found.why}\n")
    sys.stdout.write(f"{len(wanted)} chains, {events} events verified, {broken} broken\n")
    return 1 if broken else 0


def _name(organisation_id: UUID, names: dict[UUID, str]) -> str:
    return "platform" if organisation_id == PLATFORM else names.get(organisation_id, str(organisation_id))


def _database_url() -> str:
    """Return where the tables are; without DATABASE_URL those of the development stack in this folder."""
    import json

    from mailcore.settings import ENDPOINTS_FILE

    url = os.environ.get("DATABASE_URL", "")
    if not url and ENDPOINTS_FILE.is_file():
        url = json.loads(ENDPOINTS_FILE.read_text(encoding="utf-8")).get("postgres", "")
    if not url:
        sys.stderr.write("DATABASE_URL is not set: postgresql://...\n")
    return url
