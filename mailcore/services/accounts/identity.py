"""Who signed in, through which door and by what."""

from __future__ import annotations

from dataclasses import dataclass

from mailcore.model.access import MASTER, Credential, Protocol
from mailcore.model.factors import Factor
from mailcore.model.ids import TenantId, UserId
from mailcore.model.limits import DEFAULT_USER_LIMITS, UserLimits


@dataclass(frozen=True, slots=True)
class Identity:
    """Who signed in; `Sessions` ends its sessions when `auth_version` or the credential is good no more."""

    user_id: UserId
    tenant_id: TenantId
    address: str
    auth_version: int
    protocol: Protocol
    credential: Credential = MASTER
    """By which password or token it was."""
    limits: UserLimits = DEFAULT_USER_LIMITS
    """What holds for the user."""
    second_step: tuple[Factor, ...] = ()
    """Second factors one of which has yet to be shown; only protocols that ask for it see any here."""
    password_change_needed: bool = False
    """Nothing but a new password may be asked for until there is one."""
