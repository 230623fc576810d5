"""How many users a tenant may have, also when many are added at once.

Who adds a user looks whether there is room, stores the user and takes the turn that it saw before it looked. A turn
that somebody else took meanwhile is looked for anew, now with one's own user counted: of two that saw the last
seat one keeps it, and the other takes its user back.
"""

from __future__ import annotations

from mailcore.errors import TenantNotFound, TooManyUsers
from mailcore.model.ids import TenantId
from mailcore.model.tenant import Tenant
from mailcore.store.directory import Directory


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

    def take(self, tenant: Tenant) -> None:
        """Keep the seat of a user that is stored; a round trip where there is a limit, more if others take seats too.

        `tenant` is as it was read before `check`.

        Raises:
            TooManyUsers: others were faster; the user is to be taken back.
        """
        tenants = self._directory.tenants
        while tenant.limits.users is not None and not tenants.take_user_turn(tenant.id, tenant.user_turn):
            tenant = self._read(tenant.id)
            limit = tenant.limits.users
            if limit is not None and self._directory.users.count_of_tenant(tenant.id) > limit:
                raise _full(limit)

    def _read(self, tenant_id: TenantId) -> Tenant:
        tenant = self._directory.tenants.find(tenant_id)
        if tenant is None:
            raise TenantNotFound(tenant_id)
        return tenant


def _full(limit: int) -> TooManyUsers:
    return TooManyUsers(f"the tenant's plan has room for {limit} users")
