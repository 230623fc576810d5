"""`:user` and `:detail` of a local part such as ken+sieve (RFC 5233)."""

from __future__ import annotations

from mailcore.sieve.forms import AddressPart, Extension

_SEPARATOR = "+"


def _user(address: str) -> str:
    """Without the detail, if there is any."""
    return address.rpartition("@")[0].partition(_SEPARATOR)[0] if "@" in address else address


def _detail(address: str) -> str | None:
    """What stands behind the first separator; None without one, which matches nothing."""
    _, separator, detail = address.rpartition("@")[0].partition(_SEPARATOR)
    return detail if separator else None


EXTENSION = Extension(
    "subaddress",
    tags={
        "address-part": (
            AddressPart("user", group="address-part", take=_user),
            AddressPart("detail", group="address-part", take=_detail),
        )
    },
)
