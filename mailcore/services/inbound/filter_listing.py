"""The rules of all users, of a tenant or of the platform, for who looks after them; read only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bson import ObjectId

from mailcore.model.filter import FilterSet, Rule
from mailcore.model.ids import TenantId, UserId
from mailcore.store.placement import Placement

PAGE = 500


@dataclass(frozen=True, slots=True)
class RuleOfUser:
    """One rule, whose it is, and its place among its owner's, from 0."""

    user_id: UserId
    place: int
    rule: Rule

    @property
    def key(self) -> str:
        """What the list is ordered by."""
        return f"{self.user_id}{self.place:04d}"


class FilterListing:
    """Lists rules by user, each user's in their order."""

    def __init__(self, placement: Placement) -> None:
        self._placement = placement

    def find(
        self, tenant_id: TenantId | None, forward: str, *, after: str | None, before: str | None, limit: int
    ) -> list[RuleOfUser]:
        """Return rules behind a key, or before one, nearest first; those that send on to `forward`, if it is given.

        Round trips: one for each page of users that have rules, and one for each shard that holds some of them.
        """
        found: list[RuleOfUser] = []
        backwards = before is not None
        edge = before if backwards else after
        for rule in self._each(tenant_id, _user_of(edge), backwards=backwards):
            if edge is not None and (rule.key >= edge if backwards else rule.key <= edge):
                continue
            if _fits(rule, forward):
                found.append(rule)
                if len(found) == limit:
                    break
        return found

    def count(self, tenant_id: TenantId | None, forward: str) -> int:
        """Return how many there are; reads them all."""
        return sum(_fits(rule, forward) for rule in self._each(tenant_id, None, backwards=False))

    def _each(self, tenant_id: TenantId | None, edge: ObjectId | None, *, backwards: bool) -> Iterator[RuleOfUser]:
        """Yield rules from a user on, that user's too."""
        users, is_first = self._placement.directory.users, True
        while True:
            page = users.list_with_filters(tenant_id, edge, backwards=backwards, inclusive=is_first, limit=PAGE)
            of_shards: dict[str, list[UserId]] = {}
            for user_id, shard in page:
                of_shards.setdefault(shard, []).append(user_id)
            sets: dict[ObjectId, FilterSet] = {}
            for shard, user_ids in of_shards.items():
                sets.update(self._placement.shard(shard).filters.read_rules(user_ids))
            for user_id, _ in page:
                rules = list(enumerate(sets[user_id].rules)) if user_id in sets else []
                for place, rule in reversed(rules) if backwards else rules:
                    yield RuleOfUser(user_id, place, rule)
            if len(page) < PAGE:
                return
            edge, is_first = page[-1][0], False


def _user_of(key: str | None) -> ObjectId | None:
    return ObjectId(key[:24]) if key is not None else None


def _fits(rule: RuleOfUser, forward: str) -> bool:
    wanted = forward.casefold()
    return not wanted or any(wanted in target.casefold() for target in rule.rule.content.action.targets)
