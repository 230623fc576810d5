"""Forwarded addresses and groups: addresses whose mail goes on to others, made, changed and given up."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import filterfalse

from mailcore.errors import AddressCycle, AddressInvalid, AddressNotFound, TooManyMembers, ValueInvalid
from mailcore.model.actor import Actor
from mailcore.model.address import Address
from mailcore.model.event import Details
from mailcore.model.forward_target import is_url, read_target_url
from mailcore.model.ids import TenantId
from mailcore.model.limits import RoutingLimits
from mailcore.model.routing import Entry, ForwardedAddress, Group, onward
from mailcore.model.wildcard import canonical_of, is_wildcard
from mailcore.services.addresses.address_book import AddressBook
from mailcore.services.addresses.addresses import Addresses
from mailcore.services.events.audit import Audit
from mailcore.services.tenants.tenants import clean_name
from mailcore.store.directory import Directory


class OnwardAddresses:
    """What forwarded addresses and groups have in common."""

    def __init__(self, directory: Directory, addresses: Addresses, audit: Audit, limits: RoutingLimits) -> None:
        self._directory = directory
        self._addresses = addresses
        self._audit = audit
        self._limits = limits
        self._book = AddressBook(directory)

    def claimed(self, tenant_id: TenantId, text: str, *, allow_wildcard: bool) -> tuple[str, str]:
        """Return display and canonical form of an address that the tenant may have.

        Raises:
            AddressInvalid, DomainNotFound, NotPermitted, WildcardNotPermitted, AddressTaken: as `Addresses.check_free`.
        """
        if allow_wildcard and is_wildcard(text):
            wildcard = self._addresses.check_wildcard(tenant_id, text)
            return wildcard.display, wildcard.canonical(tenant_id)
        address = self._addresses.check_free(tenant_id, text)
        return address.display, address.canonical

    def insert(self, actor: Actor, kind: str, entry: ForwardedAddress | Group) -> None:
        """Store a new entry.

        Raises:
            AddressTaken: somebody has the address.
            AddressCycle, TooManyMembers, TenantNotFound: as they say.
        """
        self._check_ways(entry)
        with self._audit.of_tenant(actor, f"{kind}.created", entry.tenant_id, _wanted(entry)):
            if not self._directory.addresses.insert(entry):
                raise self._addresses.why_taken(entry.tenant_id, entry.display, entry.canonical)

    def replace(
        self, actor: Actor, kind: str, before: ForwardedAddress | Group, after: ForwardedAddress | Group
    ) -> None:
        """Change an entry.

        Raises:
            AddressNotFound: it is gone.
            AddressTaken: somebody has its new name.
            AddressCycle, TooManyMembers: as they say.
        """
        self._check_ways(after)
        with self._audit.of_tenant(actor, f"{kind}.changed", after.tenant_id, _wanted(after)) as change:
            change.before["to"] = list(onward(before))
            if after.canonical != before.canonical and not self._directory.addresses.rename([after]):
                raise self._addresses.why_taken(after.tenant_id, after.display, after.canonical)
            if not self._directory.addresses.replace(after):
                raise AddressNotFound(f"{after.display} is gone")

    def delete(self, actor: Actor, kind: str, entry: ForwardedAddress | Group) -> None:
        """Give an address up.

        Raises:
            AddressNotFound: it is gone.
        """
        with self._audit.of_tenant(actor, f"{kind}.deleted", entry.tenant_id, {"address": entry.display}):
            if not self._directory.addresses.delete_entry(entry):
                raise AddressNotFound(f"{entry.display} is gone")

    def find(self, tenant_id: TenantId, text: str) -> Entry | None:
        """Return what the tenant has under an address or wildcard, or None.

        Raises:
            AddressInvalid: it is neither.
        """
        entry = self._directory.addresses.find_entry(canonical_of(text, tenant_id))
        return entry if entry is not None and entry.tenant_id == tenant_id else None

    def _check_ways(self, entry: ForwardedAddress | Group) -> None:
        """Follow where mail would go, as `Resolutions` does.

        Raises:
            TooManyMembers: more than the limit.
            AddressCycle: it comes back, or goes through too many others.
        """
        most = self._limits.members if isinstance(entry, Group) else self._limits.targets
        if len(onward(entry)) > most:
            raise TooManyMembers(f"at most {most} addresses")
        named = list(onward(entry))
        passed: set[str] = set()
        for depth in range(self._limits.depth + 1):
            here = _hosted(named)
            if not here:
                return
            looked_up = self._book.look_up(here)
            if any(one.would_be(entry.canonical) for one in looked_up):
                raise AddressCycle(f"mail for {entry.display} would come back to it")
            found = {one.entry.canonical: one.entry for one in looked_up if one.entry is not None}
            named = []
            for canonical, one in found.items():
                if isinstance(one, ForwardedAddress | Group) and canonical not in passed:
                    passed.add(canonical)
                    if depth + 1 >= self._limits.depth:
                        raise AddressCycle(f"at most {self._limits.depth} groups and forwards one behind the other")
                    if one.tenant_id == entry.tenant_id:
                        named += onward(one)
            if len(passed) + len(named) > self._limits.reached:
                raise TooManyMembers(f"at most {self._limits.reached} addresses through all groups")


def clean_addresses(texts: Iterable[str]) -> tuple[str, ...]:
    """Return addresses, here or elsewhere, each once, with the domain as A-labels.

    Raises:
        AddressInvalid: one is none; the message names it.
    """
    cleaned: dict[str, str] = {}
    for text in texts:
        try:
            address = Address.parse(text)
        except AddressInvalid as error:
            raise AddressInvalid(f"{text[:100]!r}: {error}") from error
        cleaned.setdefault(f"{address.local}@{address.domain}".casefold(), f"{address.local}@{address.domain}")
    return tuple(cleaned.values())


def clean_targets(texts: Iterable[str]) -> tuple[str, ...]:
    """Return addresses as `clean_addresses` does, then the URLs among the texts.

    Raises:
        AddressInvalid: one is neither.
    """
    named = [text.strip() for text in texts]
    urls = [text for text in named if is_url(text)]
    try:
        for url in urls:
            read_target_url(url)
    except ValueInvalid as error:
        raise AddressInvalid(str(error)) from error
    return (*clean_addresses(text for text in named if not is_url(text)), *dict.fromkeys(urls))


def clean_title(name: str) -> str:
    """Return what people call an entry; it may be empty.

    Raises:
        ValueInvalid: too long, or with control characters.
    """
    return clean_name(name) if name.strip() else ""


def _hosted(texts: Iterable[str]) -> list[Address]:
    return list({address.canonical: address for address in map(Address.parse, filterfalse(is_url, texts))}.values())


def _wanted(entry: ForwardedAddress | Group) -> Details:
    return {"address": entry.display, "to": list(onward(entry))}
