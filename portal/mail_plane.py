"""How the portal reaches mail: the services of mailcore, wired once for each process, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from flask import current_app
from redis import Redis
from stripe import StripeClient

from mailcore.model.ids import TenantId
from mailcore.services import MailServices
from portal.access import current_organisation
from portal.database import Database, utc_now
from portal.settings import PortalSettings

EXTENSION = "eider"


@dataclass(frozen=True, slots=True)
class Portal:
    """What a process of the portal has."""

    settings: PortalSettings
    database: Database
    mail: MailServices
    redis: Redis | None
    payments: StripeClient | None = None
    """None where the settings name no payment provider."""
    clock: Callable[[], datetime] = utc_now
    """What time it is for whoever is billed."""


def portal() -> Portal:
    """Return the parts of the process that answers this request."""
    return cast("Portal", current_app.extensions[EXTENSION])


def mail() -> MailServices:
    """Return the services of the mail plane; changes are made in the name of `access.actor()`."""
    return portal().mail


def current_tenant() -> TenantId:
    """Return the tenant of the organisation on which the member works."""
    return current_organisation().tenant_id


def external_url(path: str) -> str:
    """Return a link for a mail: the settings say the host, never the request."""
    return portal().settings.public_url + path
