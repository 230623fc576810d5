"""Forwarded addresses: without a mailbox; their mail goes on to other addresses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC
from typing import Any

from bson import ObjectId

from mailcore.errors import AddressNotFound, ValueInvalid
from mailcore.model.actor import Actor
from mailcore.model.address_data import NO_DATA, AddressData
from mailcore.model.ids import TenantId
from mailcore.model.routing import ForwardedAddress, ForwardedAutoreply
from mailcore.model.wildcard import canonical_of
from mailcore.services.addresses.onward_addresses import OnwardAddresses, clean_targets, clean_title
from mailcore.services.process.clock import now
from mailcore.store.directory import Directory

KIND = "forwarded"
MAX_SUBJECT_CHARACTERS = 2048
MAX_NAME_CHARACTERS = 128
MAX_TEXT_BYTES = 128 * 1024


class ForwardedAddresses:
    """Creates, finds and changes forwarded addresses."""

    def __init__(self, directory: Directory, onward: OnwardAddresses) -> None:
        self._directory = directory
        self._onward = onward

    def create(
        self,
        actor: Actor,
        tenant_id: TenantId,
        address: str,
        targets: Iterable[str],
        *,
        name: str = "",
        forwards_per_day: int = 0,
        autoreply: ForwardedAutoreply | None = None,
        allow_wildcard: bool = False,
        data: AddressData = NO_DATA,
    ) -> ForwardedAddress:
        """Make an address, or a wildcard, whose mail goes on to `targets`.

        Raises:
            AddressInvalid, DomainNotFound, NotPermitted, WildcardNotPermitted, AddressTaken: as `Addresses.check_free`.
            TooManyMembers, AddressCycle: as they say.
            ValueInvalid: no target, a negative number, or an autoreply that is too long.
        """
        display, canonical = self._onward.claimed(tenant_id, address, allow_wildcard=allow_wildcard)
        entry = ForwardedAddress(
            ObjectId(),
            tenant_id,
            display,
            canonical,
            now(),
            clean_targets(targets),
            clean_title(name),
            forwards_per_day,
            autoreply,
            data=data,
        )
        _check(entry)
        self._onward.insert(actor, KIND, entry)
        return entry

    def get(self, tenant_id: TenantId, address: str) -> ForwardedAddress:
        """Return a forwarded address of the tenant.

        Raises:
            AddressNotFound: the tenant has none such.
        """
        entry = self._onward.find(tenant_id, address)
        if not isinstance(entry, ForwardedAddress):
            raise AddressNotFound(f"{address} is not a forwarded address of this tenant")
        return entry

    def list_of(self, tenant_id: TenantId, after: ObjectId | None = None) -> list[ForwardedAddress]:
        """Return a page of up to 1000 of the tenant's forwarded addresses by id, those after `after`."""
        return self._directory.addresses.list_forwarded(tenant_id, after)

    def update(
        self,
        actor: Actor,
        tenant_id: TenantId,
        address: str,
        *,
        new_address: str | None = None,
        targets: Iterable[str] | None = None,
        name: str | None = None,
        forwards_per_day: int | None = None,
        autoreply: ForwardedAutoreply | None = None,
        is_disabled: bool | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> ForwardedAddress:
        """Change what is given and leave the rest; an autoreply with `is_on` false answers no more.

        Raises:
            AddressNotFound: the tenant has none such.
            AddressInvalid, TooManyMembers, AddressCycle, ValueInvalid: as `create`.
        """
        before = self.get(tenant_id, address)
        display, canonical = self._renamed(before, new_address)
        after = replace(
            before,
            display=display,
            canonical=canonical,
            targets=before.targets if targets is None else clean_targets(targets),
            name=before.name if name is None else clean_title(name),
            forwards_per_day=before.forwards_per_day if forwards_per_day is None else forwards_per_day,
            autoreply=before.autoreply if autoreply is None else autoreply,
            is_disabled=before.is_disabled if is_disabled is None else is_disabled,
            data=before.data.changed(data or {}),
        )
        _check(after)
        self._onward.replace(actor, KIND, before, after)
        return after

    def _renamed(self, before: ForwardedAddress, text: str | None) -> tuple[str, str]:
        if text is None or canonical_of(text, before.tenant_id) == before.canonical:
            return before.display, before.canonical
        return self._onward.claimed(before.tenant_id, text, allow_wildcard="*" in before.canonical)

    def delete(self, actor: Actor, tenant_id: TenantId, address: str) -> None:
        """Give a forwarded address up.

        Raises:
            AddressNotFound: the tenant has none such.
        """
        self._onward.delete(actor, KIND, self.get(tenant_id, address))


def _check(entry: ForwardedAddress) -> None:
    if not entry.targets:
        raise ValueInvalid("a forwarded address needs a target")
    if not 0 <= entry.forwards_per_day < 1 << 31:
        raise ValueInvalid("forwards a day are a number from 0, which is as many as the platform allows")
    reply = entry.autoreply
    if reply is None:
        return
    for what, text in (("subject", reply.subject), ("name", reply.name)):
        if not text.isprintable():
            raise ValueInvalid(f"the {what} of an autoreply is one line")
    if len(reply.subject) > MAX_SUBJECT_CHARACTERS or len(reply.name) > MAX_NAME_CHARACTERS:
        raise ValueInvalid("the subject or the name of the autoreply is too long")
    if max(len(reply.text.encode()), len(reply.html.encode())) > MAX_TEXT_BYTES:
        raise ValueInvalid(f"an autoreply has at most {MAX_TEXT_BYTES} bytes")
    if any(at is not None and at.astimezone(UTC) != at for at in (reply.start, reply.end)):
        raise ValueInvalid("start and end of an autoreply are instants with a time zone")
    if reply.start is not None and reply.end is not None and reply.end <= reply.start:
        raise ValueInvalid("an autoreply ends after it starts")
