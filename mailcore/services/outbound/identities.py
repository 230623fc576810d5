"""Who may send as whom: one place for every door."""

from __future__ import annotations

from collections.abc import Iterable

from bson import ObjectId

from mailcore.errors import AddressInvalid, AddressNotFound, SendAsExists, UserNotFound
from mailcore.model.actor import Actor
from mailcore.model.address import Address
from mailcore.model.ids import TenantId, UserId
from mailcore.model.routing import Entry
from mailcore.model.sending import SendAsGrant, matches
from mailcore.model.tenant import AddressRoute, User
from mailcore.services.addresses.address_book import AddressBook, Found
from mailcore.services.events.audit import Audit
from mailcore.services.process.clock import now
from mailcore.store.directory import Directory
from mailcore.store.placement import Placement


class Identities:
    """Says as which addresses a user may send, and grants more."""

    def __init__(self, directory: Directory, placement: Placement, audit: Audit) -> None:
        self._directory = directory
        self._placement = placement
        self._audit = audit
        self._book = AddressBook(directory)

    def foreign(self, user_id: UserId, main: str, addresses: Iterable[str]) -> list[str]:
        """Return those addresses, as they were given, that the user may not send as.

        A user may send as all that reaches it (with any +label, through wildcards and domain aliases), as what it
        was granted, and as what its whitelist names, unless that is in a domain of another tenant. No round trip
        for the main address; one or two for others, and a third for grants.

        Args:
            user_id: who sends.
            main: the user's main address.
            addresses: local-part@domain, as they stand in an envelope or header.

        Raises:
            StoreUnavailable: not known now.
        """
        own = Address.parse(main).canonical
        asked: dict[str, Address | None] = {}
        for text in addresses:
            try:
                parsed = Address.parse(text)
            except AddressInvalid:
                asked[text] = None
                continue
            if parsed.canonical != own:
                asked[text] = parsed
        if not asked:
            return []
        found = self._book.look_up([parsed for parsed in asked.values() if parsed is not None])
        by_address = {one.address: one for one in found}
        tenant_id = self._placement.home(user_id).tenant_id
        granted = self._granted(tenant_id, user_id, [one.entry for one in found])
        foreign = []
        for text, address in asked.items():
            one = by_address.get(address) if address is not None else None
            if one is None or not self._may(user_id, tenant_id, one, granted):
                foreign.append(text)
        return foreign

    def _may(self, user_id: UserId, tenant_id: TenantId, found: Found, granted: set[ObjectId]) -> bool:
        entry = found.entry
        if entry is not None:
            if entry.tenant_id != tenant_id:
                return False
            if isinstance(entry, AddressRoute) and entry.user_id == user_id:
                return True
            if entry.id in granted:
                return True
        whitelist = self._placement.home(user_id).settings.from_whitelist
        text = f"{found.address.local}@{found.address.domain}"
        if not any(matches(pattern, text) for pattern in whitelist):
            return False
        return self._directory.domains.owner_of(found.address.domain) in {None, tenant_id}

    def _granted(self, tenant_id: TenantId, user_id: UserId, entries: Iterable[Entry | None]) -> set[ObjectId]:
        """Return which of others' entries the user was granted."""
        others = [
            entry.id
            for entry in entries
            if entry is not None
            and entry.tenant_id == tenant_id
            and not (isinstance(entry, AddressRoute) and entry.user_id == user_id)
        ]
        return self._directory.send_as.granted(tenant_id, user_id, others) if others else set()

    # -- grants ---------------------------------------------------------------------------------

    def grant(self, actor: Actor, user_id: UserId, address: str) -> SendAsGrant:
        """Let a user send as an address of its tenant: another user's, a group's, a forwarded one.

        Raises:
            UserNotFound: there is no such user.
            AddressInvalid, AddressNotFound: no address of the user's tenant.
            SendAsExists: it may do so already.
        """
        user = self._user(user_id)
        entry = self._entry(user.tenant_id, address)
        grant = SendAsGrant(ObjectId(), user.tenant_id, user_id, entry.id, entry.display, now())
        with self._audit.of_user(actor, "send_as.granted", user_id, {"address": entry.display}):
            if not self._directory.send_as.insert(grant):
                raise SendAsExists(f"{user.address} may send as {entry.display} already")
        return grant

    def revoke(self, actor: Actor, user_id: UserId, address: str) -> None:
        """Take a grant back; mail that was accepted before goes out.

        Raises:
            UserNotFound: there is no such user.
            AddressInvalid, AddressNotFound: it was not granted.
        """
        user = self._user(user_id)
        entry = self._entry(user.tenant_id, address)
        with self._audit.of_user(actor, "send_as.revoked", user_id, {"address": entry.display}):
            if not self._directory.send_as.delete(user.tenant_id, user_id, entry.id):
                raise AddressNotFound(f"{address} was not granted")

    def list_of_user(self, user_id: UserId) -> list[SendAsGrant]:
        """Return what a user was granted, in order of creation.

        Raises:
            UserNotFound: there is no such user.
        """
        return self._directory.send_as.list_of(self._user(user_id).tenant_id, user_id)

    def _user(self, user_id: UserId) -> User:
        user = self._directory.users.find(user_id)
        if user is None:
            raise UserNotFound(user_id)
        return user

    def _entry(self, tenant_id: TenantId, address: str) -> Entry:
        entry = self._directory.addresses.find_entry(Address.parse(address).canonical)
        if entry is None or entry.tenant_id != tenant_id:
            raise AddressNotFound(f"{address} is not an address of this tenant")
        return entry
