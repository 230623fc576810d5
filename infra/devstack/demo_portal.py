"""The portal's part of the demo: an organisation with an owner, and a user in whose name the portal sends mail."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import secrets
from pathlib import Path

from infra.devstack.datafolder import write_json
from infra.devstack.endpoints import DemoMember, Endpoints
from infra.devstack.servers import PORTAL_SENDER, client_environment

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
    from portal.database import Database, unit_of_work, utc_now

    mail = connect(MailSettings.from_environment(client_environment(endpoints)))
    database = Database(endpoints.postgres)
    try:
        with contextlib.suppress(TenantExists):
            mail.tenants.create(SYSTEM, PLATFORM, REGION)
        platform = mail.tenants.get_by_name(PLATFORM).id
        with contextlib.suppress(DomainTaken):
            mail.domains.create(SYSTEM, platform, PORTAL_SENDER.partition("@")[2])
        with contextlib.suppress(AddressTaken):
            mail.users.create(SYSTEM, PORTAL_SENDER, Secret(secrets.token_urlsafe(24)), "Eider", platform)
        with database.scope():
            if services.find_member(wanted.email) is not None:
                return
            with unit_of_work():
                owner = services.new_member(mail, wanted.email, OWNER_NAME, Secret(wanted.password))
                services.store_member(owner)
                made = services.create_organisation(SYSTEM, wanted.organisation, REGION, owner)
                made.tenant = str(mail.tenants.get_by_name(wanted.organisation).id)
                made.provisioned_at = utc_now()
    finally:
        database.engine.dispose()
        mail.close()
