"""Domains: which tenant receives mail for a name."""

from __future__ import annotations

from bson import ObjectId

from mailcore.errors import DomainInvalid, DomainNotFound, DomainTaken, TenantNotFound
from mailcore.model.actor import Actor, ActorKind
from mailcore.model.address import domain_name
from mailcore.model.event import Details
from mailcore.model.ids import TenantId
from mailcore.model.tenant import Domain
from mailcore.services.audit import Audit
from mailcore.services.clock import now
from mailcore.store.directory import Directory

_TRUSTED = frozenset({ActorKind.OPERATOR, ActorKind.SYSTEM})


class Domains:
    """Creates and finds domains."""

    def __init__(self, directory: Directory, audit: Audit) -> None:
        self._directory = directory
        self._audit = audit

    def create(self, actor: Actor, tenant_id: TenantId, name: str) -> Domain:
        """Give a domain to a tenant; an operator's word verifies it, anybody else's needs proof first.

        Raises:
            DomainInvalid: not a domain name of at least two labels.
            DomainTaken: it belongs to a tenant already, this or another.
            TenantNotFound: there is no such tenant.
        """
        canonical = domain_name(name)
        if "." not in canonical:
            raise DomainInvalid(f"{name!r} is not a full domain name such as example.org")
        if self._directory.tenants.find(tenant_id) is None:
            raise TenantNotFound(tenant_id)
        moment = now()
        verified_at = moment if actor.kind in _TRUSTED else None
        domain = Domain(ObjectId(), tenant_id, canonical, verified_at, moment)
        wanted: Details = {"domain": canonical, "verified": verified_at is not None}
        with self._audit.of_tenant(actor, "domain.created", tenant_id, wanted):
            if not self._directory.domains.insert(domain):
                raise DomainTaken(f"{canonical} belongs to a tenant already")
        return domain

    def get(self, tenant_id: TenantId, name: str) -> Domain:
        """Return a tenant's domain by name, in Unicode or A-labels.

        Raises:
            DomainInvalid: not a domain name.
            DomainNotFound: the tenant has none such.
        """
        canonical = domain_name(name)
        domain = self._directory.domains.find(tenant_id, canonical)
        if domain is None:
            raise DomainNotFound(f"{canonical} is not a domain of this tenant")
        return domain

    def list_of(self, tenant_id: TenantId) -> list[Domain]:
        """Return the tenant's domains."""
        return self._directory.domains.list_of(tenant_id)
