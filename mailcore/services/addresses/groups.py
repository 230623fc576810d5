"""Groups: one address for many, here and elsewhere; who may post, and who decides about posts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from bson import ObjectId

from mailcore.errors import AddressNotFound, UserNotFound
from mailcore.model.actor import Actor
from mailcore.model.ids import TenantId, UserId
from mailcore.model.routing import Group, Posters
from mailcore.services.addresses.onward_addresses import OnwardAddresses, clean_addresses, clean_title
from mailcore.services.process.clock import now
from mailcore.store.directory import Directory

KIND = "group"


class Groups:
    """Creates, finds and changes groups."""

    def __init__(self, directory: Directory, onward: OnwardAddresses) -> None:
        self._directory = directory
        self._onward = onward

    def create(
        self,
        actor: Actor,
        tenant_id: TenantId,
        address: str,
        members: Iterable[str] = (),
        *,
        name: str = "",
        posters: Posters = Posters.ANYONE,
        moderators: Iterable[UserId] = (),
    ) -> Group:
        """Make a group; members may be groups and addresses elsewhere.

        Raises:
            AddressInvalid, DomainNotFound, NotPermitted, WildcardNotPermitted, AddressTaken: as `Addresses.check_free`.
            TooManyMembers, AddressCycle: as they say.
            UserNotFound: a moderator is no user of the tenant.
            ValueInvalid: the name is too long.
        """
        display, canonical = self._onward.claimed(tenant_id, address, allow_wildcard=False)
        group = Group(
            ObjectId(),
            tenant_id,
            display,
            canonical,
            now(),
            clean_addresses(members),
            clean_title(name),
            posters,
            self._checked(tenant_id, moderators),
        )
        self._onward.insert(actor, KIND, group)
        return group

    def get(self, tenant_id: TenantId, address: str) -> Group:
        """Return a group of the tenant.

        Raises:
            AddressNotFound: the tenant has none at that address.
        """
        entry = self._onward.find(tenant_id, address)
        if not isinstance(entry, Group):
            raise AddressNotFound(f"{address} is not a group of this tenant")
        return entry

    def list_of(self, tenant_id: TenantId, after: ObjectId | None = None) -> list[Group]:
        """Return a page of up to 1000 of the tenant's groups by id, those after `after`."""
        return self._directory.addresses.list_groups(tenant_id, after)

    def list_moderated(self, tenant_id: TenantId, user_id: UserId) -> list[str]:
        """Return the canonical addresses of the tenant's groups that a user moderates; one round trip."""
        return self._directory.addresses.list_moderated(tenant_id, user_id)

    def update(
        self,
        actor: Actor,
        tenant_id: TenantId,
        address: str,
        *,
        name: str | None = None,
        members: Iterable[str] | None = None,
        posters: Posters | None = None,
        moderators: Iterable[UserId] | None = None,
    ) -> Group:
        """Change what is given and leave the rest.

        Raises:
            AddressNotFound: the tenant has no such group.
            AddressInvalid, TooManyMembers, AddressCycle, UserNotFound, ValueInvalid: as `create`.
        """
        before = self.get(tenant_id, address)
        after = replace(
            before,
            name=before.name if name is None else clean_title(name),
            members=before.members if members is None else clean_addresses(members),
            posters=before.posters if posters is None else posters,
            moderators=before.moderators if moderators is None else self._checked(tenant_id, moderators),
        )
        self._onward.replace(actor, KIND, before, after)
        return after

    def delete(self, actor: Actor, tenant_id: TenantId, address: str) -> None:
        """Give a group up; its members stay what they are.

        Raises:
            AddressNotFound: the tenant has no such group.
        """
        self._onward.delete(actor, KIND, self.get(tenant_id, address))

    def _checked(self, tenant_id: TenantId, moderators: Iterable[UserId]) -> tuple[UserId, ...]:
        checked = dict.fromkeys(moderators)
        for user_id in checked:
            user = self._directory.users.find(user_id)
            if user is None or user.tenant_id != tenant_id:
                raise UserNotFound(user_id)
        return tuple(checked)
