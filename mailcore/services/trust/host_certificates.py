"""Certificates for hosts of tenants' domains that lead to us: of the MTA-STS policy, of the configuration of clients.

Each host has an order of its own, so that one that the authority refuses keeps nothing from the others.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mailcore.errors import DomainNotFound, NotPermitted
from mailcore.model.actor import Actor
from mailcore.model.features import Feature
from mailcore.model.ids import TenantId
from mailcore.services.events.audit import Audit
from mailcore.services.process.clock import now
from mailcore.services.trust.acme import RENEW_BEFORE
from mailcore.store.directory import Directory

LABELS: Final = ("mta-sts", "autoconfig", "autodiscover")
"""First labels of the hosts that every domain may have."""


@dataclass(frozen=True, slots=True)
class HostCertificate:
    """How it stands with one host.

    Attributes:
        ends_at: until when its certificate is good; None: it has none.
        next_at: when the authority is asked next; None: nothing is ordered.
        error: what the authority said last time, "" if nothing is wrong.
    """

    host: str
    ends_at: datetime | None
    next_at: datetime | None
    error: str = ""


class HostCertificates:
    """Orders them and gives them up; `Acme.renew_due` gets them."""

    def __init__(self, directory: Directory, audit: Audit, *, has_authority: bool) -> None:
        self._directory = directory
        self._audit = audit
        self._has_authority = has_authority

    def want(
        self, actor: Actor, tenant_id: TenantId, name: str, labels: Collection[str], keep: Collection[str] = ()
    ) -> None:
        """Want certificates for these hosts of a domain, A-labels, and for no others; as they are for those to `keep`.

        Two round trips if nothing changes. Without an authority nothing is ordered, and nothing new
        for a tenant without this feature. Twice is once.

        Raises:
            DomainNotFound: the tenant has none such.
            NotPermitted: it is not proven.
        """
        domain = self._directory.domains.find(tenant_id, name)
        if domain is None:
            raise DomainNotFound(f"{name} is not a domain of this tenant")
        if domain.verified_at is None:
            raise NotPermitted(f"{name} is not verified yet")
        if not self._has_authority:
            return
        ordered = {order.names[0] for order in self._directory.acme.list_of_domain(tenant_id, name)}
        wanted = {f"{label}.{name}" for label in LABELS if label in labels}
        kept = {f"{label}.{name}" for label in keep}
        new = sorted(wanted - ordered) if self._may_order(tenant_id) else []
        ends = self._directory.certs.ends(new) if new else {}
        for host in new:
            at = max(ends[host] - RENEW_BEFORE, now()) if host in ends else now()
            with self._audit.of_tenant(actor, "certificate.requested", tenant_id, {"host": host}):
                self._directory.acme.put_host_order(tenant_id, name, host, at)
        for host in sorted(ordered - wanted - kept):
            with self._audit.of_tenant(actor, "certificate.withdrawn", tenant_id, {"host": host}):
                self._directory.acme.delete_host_order(tenant_id, host)

    def _may_order(self, tenant_id: TenantId) -> bool:
        tenant = self._directory.tenants.find(tenant_id)
        return tenant is not None and tenant.has(Feature.HOST_CERTIFICATES)

    def give_up(self, actor: Actor, tenant_id: TenantId, name: str) -> None:
        """Let a domain that is the tenant's no more have neither orders nor certificates; twice is once."""
        for order in self._directory.acme.list_of_domain(tenant_id, name):
            with self._audit.of_tenant(actor, "certificate.withdrawn", tenant_id, {"host": order.names[0]}):
                self._directory.acme.delete_host_order(tenant_id, order.names[0])
        self._directory.certs.delete_of_hosts(tenant_id, [f"{label}.{name}" for label in LABELS])

    def list_of(self, tenant_id: TenantId, name: str) -> list[HostCertificate]:
        """Return the hosts of a domain that have a certificate, or an order; two round trips."""
        orders = {order.names[0]: order for order in self._directory.acme.list_of_domain(tenant_id, name)}
        hosts = [f"{label}.{name}" for label in LABELS]
        ends = self._directory.certs.ends(hosts)
        return [
            HostCertificate(
                host,
                ends.get(host),
                orders[host].renew_at if host in orders else None,
                orders[host].error if host in orders else "",
            )
            for host in hosts
            if host in orders or host in ends
        ]
