"""Lists of a tenant's people: users with what their mail takes, a page at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from mailcore.model.ids import TenantId, UserId
from mailcore.model.tenant import User
from mailcore.model.user_filter import UserFilter
from mailcore.store.directory import Directory
from mailcore.store.placement import Placement


@dataclass(frozen=True, slots=True)
class Person:
    """A user as a list shows it."""

    user: User
    used_bytes: int


@dataclass(frozen=True, slots=True)
class PeoplePage:
    """Some users in order of id, and how many there are in all."""

    people: Sequence[Person]
    total: int
    has_more: bool
    """Beyond the last one, in the direction that was asked for."""


class People:
    """Lists users for those who look after them."""

    def __init__(self, directory: Directory, placement: Placement) -> None:
        self._directory = directory
        self._placement = placement

    def page(
        self,
        tenant_id: TenantId,
        text: str = "",
        *,
        is_shared: bool = False,
        after: UserId | None = None,
        before: UserId | None = None,
        limit: int = 50,
    ) -> PeoplePage:
        """Return users whose address or name has `text`: two round trips, and one for each shard they are on."""
        wanted = UserFilter(tenant_id=tenant_id, address=text, name_too=True, is_shared=is_shared)
        found = self._directory.user_search.find(wanted, after=after, before=before, limit=limit + 1)
        users = found[:limit] if before is None else found[:limit][::-1]
        used = self.used_bytes(users)
        people = [Person(user, used.get(user.id, 0)) for user in users]
        return PeoplePage(people, self._directory.user_search.count(wanted), has_more=len(found) > limit)

    def by_id(self, tenant_id: TenantId, user_ids: Sequence[UserId]) -> dict[UserId, User]:
        """Return those of these users that the tenant has; one round trip for each thousand."""
        found = self._directory.sign_in_changes.states(user_ids)
        return {one: state.user for one, state in found.items() if state.user.tenant_id == tenant_id}

    def count(self, tenant_id: TenantId) -> int:
        """Return how many users a tenant has, shared mailboxes among them; one round trip."""
        return self._directory.users.count_of_tenant(tenant_id)

    def used_bytes(self, users: Sequence[User]) -> dict[UserId, int]:
        """Return what the mail of each takes now; one round trip for each shard they are on."""
        by_shard: dict[str, list[UserId]] = defaultdict(list)
        for user in users:
            by_shard[user.shard].append(user.id)
        found: dict[UserId, int] = {}
        for shard, ids in by_shard.items():
            found |= self._placement.shard(shard).sizes.of_users(ids)
        return found
