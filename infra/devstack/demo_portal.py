"""The portal's part of the demo: an organisation with owner and domain, and a user in whose name it sends mail."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from infra.devstack.datafolder import write_json
from infra.devstack.endpoints import DemoMember, Endpoints
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


def _make(endpoints: Endpoints, wanted: DemoMember) -> None:
    """Make sender, organisation and owner; what an unfinished run made is taken as it is."""
    from mailcore.errors import AddressTaken, DomainTaken, TenantExists
    from mailcore.model.actor import SYSTEM
    from mailcore.model.secret import Secret
    from mailcore.services import connect
    from mailcore.settings import MailSettings
    from portal.accounts import services
    from portal.accounts.sessions import organisations_of
    from portal.database import Database, unit_of_work, utc_now
    from portal.mail_plane import Portal
    from portal.settings import PortalSettings

    mail = connect(MailSettings.from_environment(client_environment(endpoints)))
    database = Database(endpoints.postgres)
    settings = PortalSettings.from_environment(client_environment(endpoints))
    try:
        with contextlib.suppress(TenantExists):
            mail.tenants.create(SYSTEM, PLATFORM, REGION)
        platform = mail.tenants.get_by_name(PLATFORM).id
        with contextlib.suppress(DomainTaken):
            mail.domains.create(SYSTEM, platform, PORTAL_SENDER.partition("@")[2])
        with contextlib.suppress(AddressTaken):
            mail.users.create(SYSTEM, PORTAL_SENDER, Secret(secrets.token_urlsafe(24)), "Eider", platform)
        with database.scope():
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
                    _bring_domain(Portal(settings, database, mail, None), organisation, wanted.email.partition("@")[2])
    finally:
        database.engine.dispose()
        mail.close()


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
