"""Builds what tests need, through the same services as everything else."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from bson import ObjectId

from mailcore.model.actor import Actor, ActorKind, Door
from mailcore.model.ids import TenantId, UserId
from mailcore.model.limits import LoginLimits, Penalty
from mailcore.model.secret import Secret
from mailcore.services import MailServices
from mailcore.services.process.offload import Offload
from mailcore.services.wiring import connect
from mailcore.settings import MailSettings

OPERATOR = Actor(ActorKind.OPERATOR, Door.CLI, "test")
SEALING_KEYS = "1:" + base64.b64encode(bytes(range(32))).decode()
PASSWORD = "correct horse battery"
_PENALTY = Penalty(free=1_000_000, first_wait_s=1, longest_wait_s=1)
GENEROUS = LoginLimits(user=_PENALTY, user_from_range=_PENALTY, address_range=_PENALTY, tenant=_PENALTY)
_numbers = itertools.count(1)


@dataclass(frozen=True)
class MadeUser:
    """A user of its own tenant and domain unless told otherwise."""

    user_id: UserId
    tenant_id: TenantId
    address: str
    password: str = PASSWORD


def make_settings(
    directory_uri: str, redis_url: str | None = None, logins: LoginLimits = GENEROUS, **variables: str
) -> MailSettings:
    """Settings as a process would read them, but for the limit of failed logins: tests have many from one address."""
    environment = {"MONGO_URI": directory_uri, "EIDER_SEALING_KEYS": SEALING_KEYS, **variables}
    if redis_url:
        environment["REDIS_URL"] = redis_url
    settings = MailSettings.from_environment(environment)
    return replace(settings, limits=replace(settings.limits, logins=logins))


def make_services(
    directory_uri: str,
    shard_uris: Mapping[str, Any],
    redis_url: str | None = None,
    offload: Offload | None = None,
    logins: LoginLimits = GENEROUS,
    **variables: str,
) -> MailServices:
    """Connected services whose directory knows the given shards, all in region `eu`."""
    services = connect(make_settings(directory_uri, redis_url, logins, **variables), offload)
    known = {shard.name for shard in services.shards.list_all()}
    for name, uris in shard_uris.items():
        if name not in known:
            services.shards.add(OPERATOR, name, "eu", uris.hot, uris.cold)
    return services


def make_tenant(services: MailServices, shard: str | None = None) -> tuple[TenantId, str]:
    """A tenant with a verified domain: its id and the domain."""
    unique = f"{next(_numbers)}-{ObjectId()}"
    tenant_id = services.tenants.create(OPERATOR, f"Tenant {unique}", "eu", shard)
    domain = f"d{unique}.test"
    services.domains.create(OPERATOR, tenant_id, domain)
    return tenant_id, domain


def make_user(
    services: MailServices,
    *,
    shard: str | None = None,
    tenant: tuple[TenantId, str] | None = None,
    quota_bytes: int | None = None,
    password: str = PASSWORD,
) -> MadeUser:
    """A user with default mailboxes."""
    tenant_id, domain = tenant or make_tenant(services, shard)
    address = f"user{next(_numbers)}@{domain}"
    user_id = services.users.create(OPERATOR, address, Secret(password), "", tenant_id, quota_bytes)
    return MadeUser(user_id, tenant_id, address, password)
