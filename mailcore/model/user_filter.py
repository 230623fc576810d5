"""Which users a list shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mailcore.model.ids import TenantId


@dataclass(frozen=True, slots=True)
class UserFilter:
    """What listed users have in common.

    Attributes:
        tenant_id: whose they are; None looks at all tenants, for the platform's own token.
        address: part of the main address, without case.
        is_shared: only shared mailboxes, or none of them; None: whatever they are.
        name_too: `address` is looked for in the person's name as well.
        forward: part of an address that mail is sent on to.
        any_tags: one of these, without case; `all_tags` every one.
    """

    tenant_id: TenantId | None = None
    address: str = ""
    forward: str = ""
    any_tags: Sequence[str] = ()
    all_tags: Sequence[str] = ()
    is_shared: bool | None = None
    name_too: bool = False
