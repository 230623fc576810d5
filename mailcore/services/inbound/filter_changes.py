"""Changing rules and scripts: read, change, compare-and-set, and tell every process that there is something new."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from mailcore.errors import FiltersChanged, TenantNotFound, TooManyFilters, UserNotFound
from mailcore.model.filter import FilterSet, RuleOwner, RuleOwnerKind
from mailcore.model.ids import TenantId, UserId
from mailcore.services.accounts.sessions import Sessions
from mailcore.store.directory import Directory
from mailcore.store.directory.told_versions import FILTERS
from mailcore.store.placement import Placement
from mailcore.store.user.filter_sets import FilterChange, FilterSets, TooLarge

ATTEMPTS: Final = 20
Extra = TypeVar("Extra")


class FilterChanges:
    """Where the rules of an owner are, and how they are changed."""

    def __init__(self, directory: Directory, placement: Placement, sessions: Sessions) -> None:
        self._directory = directory
        self._placement = placement
        self._sessions = sessions

    def sets_of(self, owner: RuleOwner) -> FilterSets:
        """Return where an owner's rules are.

        Raises:
            UserNotFound, TenantNotFound: there is no such owner.
        """
        if owner.kind is RuleOwnerKind.USER:
            return self._placement.home(UserId(owner.id)).shard.filters
        self._placement.tenant(TenantId(owner.id))
        return self._directory.tenant_filters

    def read(self, owner: RuleOwner) -> FilterSet:
        """Return an owner's rules and scripts; one round trip.

        Raises:
            UserNotFound, TenantNotFound: there is no such owner.
        """
        return self.sets_of(owner).read(owner.id)

    def change(
        self, owner: RuleOwner, change: Callable[[FilterSet], tuple[FilterChange, Extra]], version: int | None = None
    ) -> Extra:
        """Change rules or scripts by compare-and-set; `change` may be asked again. Six round trips or more.

        Raises:
            FiltersChanged: they are not those of `version` any more, or others kept changing them.
            TooManyFilters: they take too much room.
            UserNotFound, TenantNotFound: there is no such owner.
        """
        sets = self.sets_of(owner)
        for _ in range(ATTEMPTS):
            before = sets.read(owner.id)
            if version is not None and before.version != version:
                raise FiltersChanged(f"they are at version {before.version} now")
            wanted, extra = change(before)
            self._announce(owner)
            try:
                if not sets.replace(owner.id, before.version, wanted):
                    continue
            except TooLarge:
                raise TooManyFilters("all rules together take too much room: shorten some") from None
            self._settle(owner, _after(before, wanted))
            return extra
        raise FiltersChanged("others keep changing them, try again")

    def _announce(self, owner: RuleOwner) -> None:
        if owner.kind is RuleOwnerKind.USER:
            if not self._directory.user_changes.announce_filters(UserId(owner.id)):
                raise UserNotFound(owner.id)
        elif not self._directory.tenants.announce(TenantId(owner.id), FILTERS):
            raise TenantNotFound(owner.id)

    def _settle(self, owner: RuleOwner, after: FilterSet) -> None:
        """Say whether there is anything to look for, forget what this process knows, and tell the others."""
        if owner.kind is RuleOwnerKind.USER:
            user_id = UserId(owner.id)
            self._directory.user_changes.settle_filters(user_id, after.version, acts=after.acts)
            self._placement.forget(user_id)
            self._sessions.user_changed(user_id)
        else:
            tenant_id = TenantId(owner.id)
            self._directory.tenants.settle(tenant_id, FILTERS, after.version, acts=after.acts)
            self._placement.forget_tenant(tenant_id)
            self._sessions.tenant_changed(tenant_id)


def _after(before: FilterSet, change: FilterChange) -> FilterSet:
    return FilterSet(
        before.version + 1,
        before.rules if change.rules is None else tuple(change.rules),
        before.scripts if change.scripts is None else tuple(change.scripts),
    )
