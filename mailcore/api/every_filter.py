"""Filters of all users, for who looks after them."""

from __future__ import annotations

import re
from typing import Any, Final

from mailcore.api.call import Call
from mailcore.api.errors import invalid
from mailcore.api.fields import Flag, Listing, LooseInput, Page
from mailcore.api.filters import FilterItem, Word, filter_item
from mailcore.api.operation import Operation, Permission
from mailcore.api.paging import cut, position
from mailcore.model.roles import Action, Resource


class ListedFilter(FilterItem):
    """One filter of a list of everybody's."""

    user: str
    targets: list[str]


class EveryFilter(Listing):
    """A page of filters, by user, each user's in their order."""

    results: list[ListedFilter]


class ListEveryFilter(Page, LooseInput):
    """Those that send on to an address with `forward` in it."""

    forward: Word | None = None
    meta_data: Flag = False


def list_every_filter(call: Call, given: ListEveryFilter) -> dict[str, Any]:
    """Return a page of the filters of all users that the token sees."""
    at = position(given)
    edge = str(at.key) if at.key is not None else None
    if edge is not None and _KEY.fullmatch(edge) is None:
        raise invalid({"next": "is not a cursor of this list; begin without one"})
    listing, forward = call.services.filter_listing, given.forward or ""
    found = listing.find(
        call.tenant_id,
        forward,
        after=None if at.is_backwards else edge,
        before=edge if at.is_backwards else None,
        limit=given.limit + 1,
    )
    page, cursors = cut(found, at, given.limit, lambda one: one.key)
    results = []
    for one in page:
        names = {str(entry.id): entry.name for entry in call.services.mailboxes.tree_cached(one.user_id)}
        item = filter_item(one.rule, names, with_data=given.meta_data)
        results.append(item | {"user": str(one.user_id), "targets": list(one.rule.content.action.targets)})
    return {"total": listing.count(call.tenant_id, forward), **cursors, "results": results}


_KEY: Final = re.compile(r"[0-9a-f]{24}[0-9]{4,}")


OPERATIONS: Final = (
    Operation(
        "GET", "/filters", "listEveryFilter", "List everybody's filters",
        Permission(Resource.FILTERS, Action.READ, of_tenant=True), ListEveryFilter, EveryFilter, list_every_filter,
        is_list=True,
    ),
)  # fmt: skip
