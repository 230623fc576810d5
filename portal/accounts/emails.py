"""Members' addresses: how they are compared, and which look like others."""

from __future__ import annotations

import unicodedata

from mailcore.errors import AddressInvalid
from mailcore.model.address import Address
from mailcore.model.lookalike import lookalike

MAX_CHARACTERS = 254


def read_email(text: str) -> tuple[str, str]:
    """Return an address as its owner writes it, and the form by which members are found.

    Unlike addresses here, dots and labels stay: elsewhere they may tell two people apart.

    Raises:
        AddressInvalid: not an address, or one whose letters are mixed so that they look like others' (UTS 39).
    """
    address = Address.parse(text.strip())
    display = str(address)
    local = unicodedata.normalize("NFC", unicodedata.normalize("NFKC", address.local).casefold())
    canonical = f"{local}@{address.domain}"
    if len(display) > MAX_CHARACTERS or len(canonical) > MAX_CHARACTERS:
        raise AddressInvalid("longer than any address")
    lookalike(canonical)
    return display, canonical


def lookalike_of(canonical: str) -> str:
    """Return the ASCII address that people would read, or the address itself: no two members have the same."""
    return lookalike(canonical) or canonical
