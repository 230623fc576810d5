"""Addresses as people write several of them into one field."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from mailcore.errors import AddressInvalid
from mailcore.model.ids import TenantId, UserId
from mailcore.services import MailServices
from mailcore.services.addresses.onward_addresses import clean_addresses

_APART: Final = re.compile(r"[\s,;]+")


def several(text: str) -> list[str]:
    """Return the addresses of a field, however they are set apart."""
    return [part for part in _APART.split(text) if part]


def first_malformed(addresses: Iterable[str]) -> str | None:
    """Return the first that is no address, None if all are."""
    for address in addresses:
        try:
            clean_addresses([address])
        except AddressInvalid:
            return address
    return None


def user_ids(mail: MailServices, tenant_id: TenantId, text: str) -> tuple[list[UserId], list[str]]:
    """Return which users of the tenant these addresses reach, and those that reach none; a round trip for each."""
    found: list[UserId] = []
    unknown: list[str] = []
    for address in several(text):
        try:
            route = mail.addresses.find(address)
        except AddressInvalid:
            route = None
        if route is None or route.tenant_id != tenant_id:
            unknown.append(address)
        else:
            found.append(route.user_id)
    return found, unknown
