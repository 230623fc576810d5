"""How many users a tenant may have, also when many are added at once.

Who adds a user looks whether there is room, stores the user and takes the turn that it saw before it looked. A turn
that somebody else took meanwhile is looked for anew, now with one's own user counted. If that are too many, those take
their users back for whom no room is left behind others: behind those who took a turn, and those whose ids come first.
Who has room waits for it: so of many who come at once as many stay as have room.
"""

from __future__ import annotations

import random
import time
from typing import Final

from mailcore.errors import TenantNotFound, TooManyUsers
from mailcore.model.ids import TenantId, UserId
from mailcore.model.tenant import Tenant
from mailcore.store.directory import Directory

PATIENCE_S: Final = 5.0
"""So long others are waited for who are to take their users back; whoever died meanwhile is not waited for longer."""
WAIT_S: Final = (0.005, 0.025)
_RANDOM: Final = random.SystemRandom()


class Seats:
    """Room for users of tenants."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def check(self, tenant: Tenant) -> None:
        """Look for room for one more; a round trip where there is a limit.

        Raises:
            TooManyUsers: there is none.
        """
        limit = tenant.limits.users
        if limit is not None and self._directory.users.count_of_tenant(tenant.id) >= limit:
            raise _full(limit)

    def take(self, tenant: Tenant, user_id: UserId) -> None:
        """Keep the seat of a user that is stored; a round trip where there is a limit, more if others take seats too.

        `tenant` is as it was read before `check`.

        Raises:
            TooManyUsers: others came first; the user is to be taken back.
        """
        users, tenants = self._directory.users, self._directory.tenants
        until = time.monotonic() + PATIENCE_S
        fits = True
        while tenant.limits.users is not None:
            if fits and tenants.take_user_turn(tenant.id, tenant.user_turn, user_id):
                return
            tenant = self._read(tenant.id)
            limit = tenant.limits.users
            fits = limit is None or users.count_of_tenant(tenant.id) <= limit
            if fits or limit is None:
                continue
            ahead = users.count_before(tenant.id, user_id, tenants.latest_users(tenant.id))
            if ahead >= limit or time.monotonic() > until:
                raise _full(limit)
            time.sleep(_RANDOM.uniform(*WAIT_S))

    def _read(self, tenant_id: TenantId) -> Tenant:
        tenant = self._directory.tenants.find(tenant_id)
        if tenant is None:
            raise TenantNotFound(tenant_id)
        return tenant


def _full(limit: int) -> TooManyUsers:
    return TooManyUsers(f"the tenant's plan has room for {limit} users")
