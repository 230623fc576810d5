"""The one door to mail: `connect` builds every service, and callers are handed the bundle."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from mailcore.model.tenant import Tenant
from mailcore.services.addresses import Addresses
from mailcore.services.authentication import Authentication
from mailcore.services.certificates import Certificates
from mailcore.services.domains import Domains
from mailcore.services.offload import InlineOffload, Offload
from mailcore.services.passwords import Passwords
from mailcore.services.sealing import Sealing
from mailcore.services.shards import Shards
from mailcore.services.tenants import Tenants, content_key_purpose
from mailcore.services.users import Users
from mailcore.settings import MailSettings
from mailcore.store.client import Clients
from mailcore.store.directory import Directory
from mailcore.store.mailbox.view_cache import ViewCache
from mailcore.store.placement import Placement


@dataclass(frozen=True, slots=True)
class MailServices:
    """Every service of one process."""

    settings: MailSettings
    offload: Offload
    shards: Shards
    tenants: Tenants
    domains: Domains
    users: Users
    addresses: Addresses
    authentication: Authentication
    certificates: Certificates
    sealing: Sealing
    placement: Placement
    mailboxes: Any
    messages: Any
    content: Any
    search: Any
    delivery: Any
    quotas: Any
    notices: Any
    retention: Any
    _clients: Clients

    def close(self) -> None:
        """End background work and close every connection."""
        if self.notices is not None:
            self.notices.close()
        self._clients.close()


def connect(settings: MailSettings, offload: Offload | None = None) -> MailServices:
    """Build every service; connections are made when first used, so an unreachable database is no error here.

    Raises:
        WeakSettings: a URI asks for weaker settings than the promises need.
    """
    offload = offload or InlineOffload()
    clients = Clients(settings.secrets)
    directory = Directory.of(clients.database(settings.mongo_uri.reveal_text()))
    sealing = Sealing(settings.sealing_keys)

    def open_key(tenant: Tenant) -> bytes:
        return sealing.open(content_key_purpose(tenant.id), tenant.content_key)

    placement = Placement(directory, clients, open_key)
    addresses = Addresses(directory)
    passwords = Passwords(offload)
    built: dict[str, Any] = {
        "settings": settings,
        "directory": directory,
        "placement": placement,
        "addresses": addresses,
        "offload": offload,
        "limits": settings.limits,
        "views": ViewCache(),
        "redis_url": settings.redis_url.reveal_text() if settings.redis_url else None,
    }
    for module, kind in _LATER:
        built[module] = _build(module, kind, built)
    return MailServices(
        settings=settings,
        offload=offload,
        shards=Shards(directory, placement),
        tenants=Tenants(directory, placement, sealing),
        domains=Domains(directory),
        users=Users(directory, placement, addresses, passwords, built["mailboxes"] or _NoMailboxes()),
        addresses=addresses,
        authentication=Authentication(directory, placement, passwords),
        certificates=Certificates(directory, sealing),
        sealing=sealing,
        placement=placement,
        **{module: built[module] for module, _ in _LATER},
        _clients=clients,
    )


class _NoMailboxes:
    def create_defaults(self, user_id: object, actor: object) -> None:
        return None


_LATER = (
    ("notices", "Notices"),
    ("quotas", "Quotas"),
    ("mailboxes", "Mailboxes"),
    ("content", "ContentStore"),
    ("retention", "Retention"),
    ("messages", "Messages"),
    ("search", "Search"),
    ("delivery", "Delivery"),
)


def _build(module: str, kind: str, built: dict[str, Any]) -> Any:
    """Build a service whose module may not be there yet; its constructor's parameter names say what it takes."""
    import inspect

    try:
        found = getattr(importlib.import_module(f"mailcore.services.{module}"), kind)
    except (ImportError, AttributeError, SyntaxError):
        return None
    names = [p.name for p in inspect.signature(found).parameters.values() if p.name in built or p.default is p.empty]
    if not built.keys() >= set(names) or any(built[name] is None and name != "redis_url" for name in names):
        return None
    return found(**{name: built[name] for name in names})
