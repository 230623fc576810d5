"""Domains: which tenant receives mail for a name."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Final

from bson import ObjectId

from mailcore.errors import DnsUnavailable, DomainInvalid, DomainNotFound, DomainTaken, NotPermitted, TenantNotFound
from mailcore.model.actor import Actor, ActorKind
from mailcore.model.address import domain_name
from mailcore.model.event import Details
from mailcore.model.ids import TenantId
from mailcore.model.mta_sts import StsMode
from mailcore.model.tenant import Domain
from mailcore.services.events.audit import Audit
from mailcore.services.outbound.dns import Dns
from mailcore.services.process.clock import now
from mailcore.store.directory import Directory

log = logging.getLogger(__name__)

KNOWN_S: Final = 10.0
KNOWN: Final = 50_000
PAGE: Final = 100
CHECKS_S: Final = 600.0
Clock = Callable[[], float]

_TRUSTED = frozenset({ActorKind.OPERATOR, ActorKind.SYSTEM})


class Domains:
    """Creates and finds domains."""

    def __init__(
        self, directory: Directory, audit: Audit, dns: Dns, mx_hosts: Collection[str], clock: Clock = time.monotonic
    ) -> None:
        """`mx_hosts`: names of our own mail exchangers, A-labels in lower case."""
        self._directory = directory
        self._audit = audit
        self._dns = dns
        self._mx_hosts = frozenset(mx_hosts)
        self._clock = clock
        self._known: dict[str, tuple[float, Domain | None]] = {}

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

    # -- whose they are ---------------------------------------------------------------------

    def verify(self, actor: Actor, tenant_id: TenantId, name: str) -> Domain:
        """Let a domain be the tenant's whose control of its DNS was proven; a claim without proof gives way to it.

        Twice is once.

        Raises:
            DomainInvalid: not a domain name of at least two labels.
            DomainTaken: another tenant has proven it.
            TenantNotFound: there is no such tenant.
        """
        canonical = domain_name(name)
        found = self._directory.domains.find_by_names([canonical]).get(canonical)
        if found is not None and found.tenant_id == tenant_id and found.verified_at is not None:
            return found
        if found is not None and found.tenant_id != tenant_id:
            if found.verified_at is not None:
                raise DomainTaken(f"{canonical} belongs to another tenant")
            with self._audit.of_tenant(actor, "domain.claim_lost", found.tenant_id, {"domain": canonical}):
                self._directory.domains.delete_unverified(found.tenant_id, canonical)
            found = None
        if found is None:
            self.create(actor, tenant_id, canonical)
        with self._audit.of_tenant(actor, "domain.verified", tenant_id, {"domain": canonical}):
            self._directory.domains.set_verified(tenant_id, canonical, now())
        self._known.pop(canonical, None)
        return self.get(tenant_id, canonical)

    def unverify(self, actor: Actor, tenant_id: TenantId, name: str) -> None:
        """Let a domain receive and send nothing here until it is proven again; everything else stays. Twice is once.

        Raises:
            DomainInvalid, DomainNotFound: not a domain of the tenant.
        """
        domain = self.get(tenant_id, name)
        if domain.verified_at is not None:
            with self._audit.of_tenant(actor, "domain.unverified", tenant_id, {"domain": domain.name}):
                self._directory.domains.set_verified(tenant_id, domain.name, None)
            self._known.pop(domain.name, None)

    def delete(self, actor: Actor, tenant_id: TenantId, name: str) -> None:
        """Give a domain up, so that it may be anybody's again; its DKIM keys go with the next run of their job.

        Raises:
            DomainInvalid, DomainNotFound: not a domain of the tenant.
            NotPermitted: it has addresses, or aliases.
        """
        domain = self.get(tenant_id, name)
        if self._directory.addresses.has_domain(tenant_id, domain.name):
            raise NotPermitted(f"{domain.name} has addresses: delete them, or move them to another domain, first")
        if any(alias.alias_of == domain.name for alias in self._directory.domains.list_aliases(tenant_id)):
            raise NotPermitted(f"{domain.name} has aliases: delete them first")
        with self._audit.of_tenant(actor, "domain.deleted", tenant_id, {"domain": domain.name}):
            self._directory.domains.delete(tenant_id, domain.name)
        self._known.pop(domain.name, None)

    def set_sts_mode(self, actor: Actor, tenant_id: TenantId, name: str, mode: StsMode) -> None:
        """Let an MTA-STS policy be served for a domain, as strict as this; senders keep the one before for its time.

        Raises:
            DomainInvalid, DomainNotFound: not a domain of the tenant.
        """
        domain = self.get(tenant_id, name)
        if domain.sts_mode is not mode:
            with self._audit.of_tenant(
                actor, "domain.sts_mode", tenant_id, {"domain": domain.name, "mode": mode.value}
            ):
                self._directory.domains.set_sts_mode(tenant_id, domain.name, mode)
            self._known.pop(domain.name, None)

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

    def is_hosted(self, name: str) -> bool:
        """Return whether a domain, A-labels, receives mail here: whose it is is proven; one round trip, no cache.

        Raises:
            StoreUnavailable: not known now.
        """
        domain = self._directory.domains.find_by_names([name]).get(name)
        return domain is not None and domain.verified_at is not None

    def owner_of(self, name: str) -> TenantId | None:
        """Return which tenant has a domain, verified or not; one round trip."""
        return self._directory.domains.owner_of(name)

    def list_of(self, tenant_id: TenantId) -> list[Domain]:
        """Return the tenant's domains."""
        return self._directory.domains.list_of(tenant_id)

    # -- where their mail goes --------------------------------------------------------------

    def delivers_here(self, name: str) -> bool:
        """Whether mail for a name, in A-labels, may go to mailboxes here without asking DNS.

        True only if a tenant has proven the domain and its MX was last seen to point here; up to 10 s old.
        """
        domain = self._claimed(name)
        return domain is not None and domain.delivers_here

    def is_verified(self, name: str) -> bool:
        """Whether a tenant has proven a domain, given in A-labels; up to 10 s old."""
        return self.find_verified(name) is not None

    def find_verified(self, name: str) -> Domain | None:
        """Return a domain that a tenant has proven, given in A-labels, or None; up to 10 s old."""
        domain = self._claimed(name)
        return domain if domain is not None and domain.verified_at is not None else None

    def _claimed(self, name: str) -> Domain | None:
        now_s = self._clock()
        known = self._known.get(name)
        if known is not None and now_s < known[0]:
            return known[1]
        domain = self._directory.domains.find_by_names([name]).get(name)
        if len(self._known) >= KNOWN:
            self._known.clear()
        self._known[name] = (now_s + KNOWN_S, domain)
        return domain

    def check_mx(self, domain: Domain) -> bool | None:
        """Look at a domain's MX and keep whether it points here; None if nobody could say, which changes nothing.

        They do if every host of the best preference is one of ours.
        """
        try:
            exchangers = self._dns.exchangers(domain.name)
        except DnsUnavailable as error:
            log.info("domain.mx.unknown", extra={"domain": domain.name, "reason": str(error)})
            self._directory.domains.note_mx_check(domain.tenant_id, domain.name, points_here=None, at=now())
            return None
        best = [host for preference, host in exchangers.hosts if preference == exchangers.hosts[0][0]]
        points_here = bool(best) and not exchangers.is_implicit and self._mx_hosts.issuperset(best)
        if points_here is not domain.mx_points_here:
            log.info("domain.mx.changed", extra={"domain": domain.name, "points_here": points_here})
        self._directory.domains.note_mx_check(domain.tenant_id, domain.name, points_here=points_here, at=now())
        self._known.pop(domain.name, None)
        return points_here

    def check_all_mx(self) -> int:
        """Look at the MX of every verified domain that nobody looked at meanwhile; return how many point here.

        The longest first, and for so long only: where DNS is slow, the next run goes on with the others.
        """
        count = 0
        began_at, ends_s = now(), self._clock() + CHECKS_S
        while self._clock() < ends_s:
            page = self._directory.domains.list_mx_due(began_at, PAGE)
            for domain in page:
                count += bool(self.check_mx(domain))
                if self._clock() >= ends_s:
                    break
            if not page:
                break
        return count

    # -- aliases ----------------------------------------------------------------------------

    def create_alias(self, actor: Actor, tenant_id: TenantId, alias: str, name: str) -> Domain:
        """Let every address of a domain be found under another name too, `alias`; what is there itself comes first.

        The alias is a domain of the tenant, made if need be as `create` makes it.

        Raises:
            DomainInvalid, DomainTaken: as `create`; DomainTaken too if it is an alias already.
            DomainNotFound: the tenant has no domain `name`.
            NotPermitted: `name` is an alias, or `alias` has aliases: there are no chains.
        """
        target = self.get(tenant_id, name)
        alias_name = domain_name(alias)
        aliases = self._directory.domains.list_aliases(tenant_id)
        if target.alias_of is not None or alias_name == target.name:
            raise NotPermitted(f"{target.name} is itself an alias: name the domain that it stands for")
        if any(domain.alias_of == alias_name for domain in aliases):
            raise NotPermitted(f"{alias_name} has aliases, so it cannot be one")
        domain = self._directory.domains.find(tenant_id, alias_name) or self.create(actor, tenant_id, alias)
        if domain.alias_of is not None:
            raise DomainTaken(f"{alias_name} is an alias already, of {domain.alias_of}")
        self._set_alias(actor, "domain.alias_created", domain, target.name)
        return replace(domain, alias_of=target.name)

    def delete_alias(self, actor: Actor, tenant_id: TenantId, alias: str) -> None:
        """Let a domain stand for itself alone; it stays the tenant's.

        Raises:
            DomainInvalid: not a domain name.
            DomainNotFound: the tenant has no such alias.
        """
        domain = self.get(tenant_id, alias)
        if domain.alias_of is None:
            raise DomainNotFound(f"{domain.name} is not an alias")
        self._set_alias(actor, "domain.alias_deleted", domain, None)

    def list_aliases(self, tenant_id: TenantId) -> list[Domain]:
        """Return the tenant's domains that are aliases."""
        return self._directory.domains.list_aliases(tenant_id)

    def _set_alias(self, actor: Actor, kind: str, domain: Domain, alias_of: str | None) -> None:
        wanted: Details = {"alias": domain.name, "domain": alias_of or domain.alias_of}
        with self._audit.of_tenant(actor, kind, domain.tenant_id, wanted):
            if not self._directory.domains.set_alias(domain.tenant_id, domain.name, alias_of):
                raise DomainNotFound(f"{domain.name} is gone")
