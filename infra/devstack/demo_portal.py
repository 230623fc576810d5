"""The portal's part of the demo: an organisation with owner and domain, a user as its sender, and staff."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from infra.devstack.datafolder import write_json
from infra.devstack.endpoints import DemoMember, DemoStaff, Endpoints
from infra.devstack.servers import DNS_API_KEY, PORTAL_SENDER, client_environment

if TYPE_CHECKING:
    from portal.accounts.models import Organisation
    from portal.mail_plane import Portal

ORGANISATION = "Harbour Maps"
"""Owns the demo's first tenant."""
OWNER = "owner@harbour.test"
OWNER_NAME = "Kaja Holm"
REGION = "dev"
PLATFORM = "Eider"
STAFF = "staff@eider.test"
PASSWORD_BYTES = 9


def prepare_postgres(endpoints: Endpoints) -> None:
    """Bring the portal's tables up to date; needed before it serves."""
    from portal.database import open_engine
    from portal.migrations import migrate

    engine = open_engine(endpoints.postgres)
    try:
        migrate(engine)
    finally:
        engine.dispose()


def demo_members(endpoints: Endpoints, kept_in: Path) -> list[DemoMember]:
    """Return who may sign in to the portal, made the first time; the demo's tenants must be there."""
    known = json.loads(kept_in.read_text()) if kept_in.exists() else None
    member = DemoMember(**known) if known else DemoMember(OWNER, secrets.token_urlsafe(PASSWORD_BYTES), ORGANISATION)
    write_json(kept_in, dataclasses.asdict(member), mode=0o600)
    _make(endpoints, member)
    return [member]


def demo_staff(endpoints: Endpoints, kept_in: Path) -> list[DemoStaff]:
    """Return who may sign in to the pages of staff, made the first time.

    Only for a Postgres of the stack itself: nobody becomes staff of a system that something else runs.
    """
    from portal.accounts import factors

    known = json.loads(kept_in.read_text()) if kept_in.exists() else None
    wanted = (
        DemoStaff(**known) if known else DemoStaff(STAFF, secrets.token_urlsafe(PASSWORD_BYTES), factors.new_seed())
    )
    write_json(kept_in, dataclasses.asdict(wanted), mode=0o600)
    with _portal(endpoints) as parts, parts.database.scope():
        _appoint(parts, wanted)
    return [wanted]


def _appoint(parts: Portal, wanted: DemoStaff) -> None:
    """Make the member of staff with password and second factor; what somebody has changed since stays."""
    from mailcore.model.actor import SYSTEM
    from mailcore.model.secret import Secret
    from portal.accounts import factors, services
    from portal.database import unit_of_work
    from portal.staff import appointing

    if services.find_member(wanted.email) is not None:
        return
    password_hash = parts.mail.passwords.hash_new(Secret(wanted.password))
    with unit_of_work():
        member = appointing.appoint(SYSTEM, wanted.email)
        member.password_hash = password_hash
        member.sealed_totp_seed = factors.seal_seed(parts.mail, member.id, wanted.totp_seed)


@contextlib.contextmanager
def _portal(endpoints: Endpoints) -> Iterator[Portal]:
    """Give the parts of a portal on the stack's data."""
    from mailcore.services.wiring import connect
    from mailcore.settings import MailSettings
    from portal.database import Database
    from portal.mail_plane import Portal
    from portal.settings import PortalSettings

    environment = client_environment(endpoints)
    mail = connect(MailSettings.from_environment(environment))
    database = Database(endpoints.postgres)
    try:
        yield Portal(PortalSettings.from_environment(environment), database, mail, None)
    finally:
        database.engine.dispose()
        mail.close()


def _make(endpoints: Endpoints, wanted: DemoMember) -> None:
    """Make sender, organisation and owner; what an unfinished run made is taken as it is."""
    with _portal(endpoints) as parts:
        _make_sender(parts)
        with parts.database.scope():
            _make_organisation(parts, wanted)


def _make_sender(parts: Portal) -> None:
    from mailcore.errors import AddressTaken, DomainTaken, TenantExists
    from mailcore.model.actor import SYSTEM
    from mailcore.model.secret import Secret

    mail = parts.mail
    with contextlib.suppress(TenantExists):
        mail.tenants.create(SYSTEM, PLATFORM, REGION)
    platform = mail.tenants.get_by_name(PLATFORM).id
    with contextlib.suppress(DomainTaken):
        mail.domains.create(SYSTEM, platform, PORTAL_SENDER.partition("@")[2])
    with contextlib.suppress(AddressTaken):
        mail.users.create(SYSTEM, PORTAL_SENDER, Secret(secrets.token_urlsafe(24)), "Eider", platform)


def _make_organisation(parts: Portal, wanted: DemoMember) -> None:
    from mailcore.model.actor import SYSTEM
    from mailcore.model.secret import Secret
    from portal.accounts import services
    from portal.accounts.sessions import organisations_of
    from portal.database import unit_of_work, utc_now

    mail = parts.mail
    owner = services.find_member(wanted.email)
    if owner is None:
        with unit_of_work():
            owner = services.new_member(mail, wanted.email, OWNER_NAME, Secret(wanted.password))
            services.store_member(owner)
            made = services.create_organisation(SYSTEM, wanted.organisation, REGION, owner)
            made.tenant = str(mail.tenants.get_by_name(wanted.organisation).id)
            made.provisioned_at = utc_now()
    for organisation in organisations_of(owner.id):
        if organisation.name == wanted.organisation:
            _bring_domain(parts, organisation, wanted.email.partition("@")[2])


def _bring_domain(parts: Portal, organisation: Organisation, name: str) -> None:
    """Let the organisation bring its domain as anybody does: claimed, its records written, looked at."""
    from mailcore.model.actor import SYSTEM
    from mailcore.model.secret import Secret
    from portal.domains import applying, checking, ledger, queries, services, writing

    claim = queries.find_claim(organisation, name) or services.add_domain(
        SYSTEM, organisation, name, parts.settings.domains.names
    )
    if claim.verified_at is not None:
        return
    checking.check(parts, claim.id)
    seen = queries.get_claim(organisation, claim.id)
    every = tuple(result.key for result in seen.results)
    access = writing.Access(claim.id, "powerdns", name, Secret(DNS_API_KEY), every)
    ledger.begin(parts, SYSTEM, organisation, access, writing.preview(parts, seen, access).digest)
    ledger.carry_out(parts, claim.id)
    checking.check(parts, claim.id)
    applying.apply(parts, claim.id)
