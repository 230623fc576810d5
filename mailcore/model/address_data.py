"""What people and applications keep with an address."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from mailcore.errors import ValueInvalid
from mailcore.model.ids import TenantId
from mailcore.model.user_settings import clean_data, clean_tags

_CHECKS: Final[Mapping[str, Any]] = {"tags": clean_tags, "meta_data": clean_data, "internal_data": clean_data}


@dataclass(frozen=True, slots=True)
class AddressData:
    """Means nothing to the mail system.

    Attributes:
        tags: lists go by them; case counts not.
        meta_data: JSON text of applications.
        internal_data: JSON text that the user does not see.
    """

    tags: tuple[str, ...] = ()
    meta_data: str = ""
    internal_data: str = ""

    @classmethod
    def read(cls, stored: Mapping[str, Any] | None) -> AddressData:
        """Return the data of an address's document."""
        if not stored:
            return NO_DATA
        return cls(tuple(stored["tags"]), stored["meta_data"], stored["internal_data"])

    def document(self) -> dict[str, Any]:
        """Return the data as it is stored."""
        return {"tags": list(self.tags), "meta_data": self.meta_data, "internal_data": self.internal_data}

    def changed(self, changes: Mapping[str, Any]) -> AddressData:
        """Return the data with some of it replaced, checked.

        Raises:
            ValueInvalid: the text says which and what is right.
        """
        unknown = changes.keys() - _CHECKS.keys()
        if unknown:
            raise ValueInvalid(f"an address has no {min(unknown)}")
        return replace(self, **{name: _CHECKS[name](value) for name, value in changes.items()})


NO_DATA: Final = AddressData()


@dataclass(frozen=True, slots=True)
class AddressFilter:
    """What listed addresses have in common.

    Attributes:
        tenant_id: whose they are; None looks at all tenants, for the platform's own token.
        address: part of the address, without case.
        forward: part of an address that mail is sent on to.
        any_tags: one of these, without case; `all_tags` every one.
    """

    tenant_id: TenantId | None = None
    address: str = ""
    forward: str = ""
    any_tags: Sequence[str] = ()
    all_tags: Sequence[str] = ()
