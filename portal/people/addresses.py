"""Addresses as people write several of them into one field."""

from __future__ import annotations

import re
from typing import Final

from mailcore.errors import AddressInvalid
from mailcore.model.ids import TenantId, UserId
from mailcore.services import MailServices

_APART: Final = re.compile(r"[\s,;]+")


def several(text: str) -> list[str]:
    """Return the addresses of a field, however they are set apart."""
    return [part for part in _APART.split(text) if part]


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
