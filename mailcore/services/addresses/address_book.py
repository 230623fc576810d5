"""What stands behind addresses: exactly, under the domain an alias stands for, by a wildcard, or by duty.

Order of precedence: the address itself; the same local part in the domain of which this one is an alias;
`user@*`; the longest `prefix*@d` or `*suffix@d`, down to `*@d`; and for postmaster and abuse the tenant's
postmaster. All of it is read from the primary with majority, nothing from a cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bson import ObjectId

from mailcore.model.address import Address
from mailcore.model.routing import RESERVED, Entry
from mailcore.model.tenant import AddressRoute, Domain, State
from mailcore.model.wildcard import covering
from mailcore.store.directory import Directory


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of one address."""

    address: Address
    entry: Entry | None = None
    by_wildcard: bool = False
    domain: Domain | None = None
    """Looked up only where the address itself is nobody's; None is a domain that is not hosted here."""

    def would_be(self, canonical: str) -> bool:
        """Return whether an entry of this canonical form would stand behind the address, were it there."""
        if self.address.canonical == canonical:
            return True
        if self.domain is None:
            return self.entry is not None and self.entry.canonical == canonical
        for candidate in _candidates(self.address, self.domain):
            if candidate == canonical:
                return True
            if self.entry is not None and self.entry.canonical == candidate:
                return False
        return False


class AddressBook:
    """Looks addresses up, many at once."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def look_up(self, addresses: Sequence[Address]) -> list[Found]:
        """Return what stands behind each address, in their order.

        Round trips: one if each is there itself; else two or three, and for each postmaster or abuse that nobody
        has up to three more.

        Raises:
            StoreUnavailable: not known now.
        """
        exact = self._exact(addresses)
        missed = [address for address in addresses if address.canonical not in exact]
        behind = self._behind(missed) if missed else {}
        return [
            Found(address, exact[address.canonical])
            if address.canonical in exact
            else behind.get(address.canonical, Found(address))
            for address in addresses
        ]

    def _exact(self, addresses: Sequence[Address]) -> dict[str, Entry]:
        if len(addresses) == 1:
            canonical = addresses[0].canonical
            entry = self._directory.addresses.find_entry(canonical)
            return {} if entry is None else {canonical: entry}
        return self._directory.addresses.find_entries({address.canonical for address in addresses})

    def _behind(self, addresses: Sequence[Address]) -> dict[str, Found]:
        """Return what covers addresses that are nobody's themselves, by their canonical form."""
        domains = self._directory.domains.find_by_names({address.domain for address in addresses})
        ranked: dict[str, list[str]] = {}
        for address in addresses:
            domain = domains.get(address.domain)
            if domain is not None and domain.verified_at is not None:
                ranked[address.canonical] = _candidates(address, domain)
        candidates = {one for some in ranked.values() for one in some}
        entries = self._directory.addresses.find_entries(candidates) if candidates else {}
        found = {}
        for address in addresses:
            domain = domains.get(address.domain)
            entry = None
            if domain is not None:
                entry = _first(ranked.get(address.canonical, ()), entries, domain)
                if entry is None and domain.verified_at is not None and address.base in RESERVED:
                    entry = self._dutiful(address, domain)
            by_wildcard = entry is not None and "*" in entry.canonical
            found[address.canonical] = Found(address, entry, by_wildcard, domain)
        return found

    def _dutiful(self, address: Address, domain: Domain) -> AddressRoute | None:
        """Return the way to the tenant's postmaster, if none is named that takes mail to its oldest user that does."""
        tenant = self._directory.tenants.find(domain.tenant_id)
        user_id = tenant.postmaster if tenant is not None else None
        named = self._directory.users.find(user_id) if user_id is not None else None
        if named is None or named.state is State.DISABLED:
            user_id = self._directory.users.find_oldest(domain.tenant_id)
        if user_id is None:
            return None
        return AddressRoute(
            ObjectId(), domain.tenant_id, user_id, address.display, address.canonical, domain.created_at
        )


def _candidates(address: Address, domain: Domain) -> list[str]:
    domains = [domain.name] if domain.alias_of is None else [domain.name, domain.alias_of]
    under_alias = [f"{address.base}@{name}" for name in domains[1:]]
    return under_alias + list(covering(address.base, domains, domain.tenant_id))


def _first(candidates: Sequence[str], entries: dict[str, Entry], domain: Domain) -> Entry | None:
    """Return the foremost candidate that is there; another tenant's never, whatever its name."""
    for candidate in candidates:
        entry = entries.get(candidate)
        if entry is not None and entry.tenant_id == domain.tenant_id:
            return entry
    return None
