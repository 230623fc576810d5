"""Documents of `addresses`: a user's address, a forwarded address, a group; told apart by the field that is there."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from mailcore.model.address_data import NO_DATA, AddressData
from mailcore.model.ids import TenantId, UserId
from mailcore.model.lookalike import lookalike
from mailcore.model.routing import Entry, ForwardedAddress, ForwardedAutoreply, Group, Posters
from mailcore.model.tenant import AddressRoute
from mailcore.store.guard import Document

TARGETS = "targets"
GROUP = "group"
RESERVED = "is_reserved"
"""Of a deleted user, which can be restored."""


def entry_document(entry: Entry) -> Document:
    """Return an entry as it is stored."""
    document: Document = {
        "_id": entry.id,
        "tenant": entry.tenant_id,
        "display": entry.display,
        "canonical": entry.canonical,
        "created_at": entry.created_at,
    }
    alike = None if entry.canonical.isascii() else lookalike(entry.canonical)
    if alike is not None:
        document["looks_like"] = alike
    if isinstance(entry, AddressRoute):
        return {**document, "user": entry.user_id, **route_content(entry)}
    return {**document, **entry_content(entry)}


def route_content(route: AddressRoute) -> Document:
    """Return what may be changed of a user's address besides the address itself; what is not set is left out."""
    content: Document = {"name": route.name} if route.name else {}
    return content | ({"data": route.data.document()} if route.data != NO_DATA else {})


def entry_content(entry: ForwardedAddress | Group) -> Document:
    """Return what may be changed of an entry."""
    if isinstance(entry, Group):
        group = {"members": list(entry.members), "posters": entry.posters.value, "moderators": list(entry.moderators)}
        return {"name": entry.name, GROUP: group}
    return {
        "name": entry.name,
        TARGETS: list(entry.targets),
        "forwards_per_day": entry.forwards_per_day,
        "autoreply": asdict(entry.autoreply) if entry.autoreply is not None else None,
        "is_disabled": entry.is_disabled,
        "data": entry.data.document(),
    }


def read_entry(document: Document) -> Entry:
    """Return what a document says."""
    shared: dict[str, Any] = {
        "id": document["_id"],
        "tenant_id": TenantId(document["tenant"]),
        "display": document["display"],
        "canonical": document["canonical"],
        "created_at": document["created_at"],
    }
    if GROUP in document:
        group = document[GROUP]
        return Group(
            **shared,
            name=document["name"],
            members=tuple(group["members"]),
            posters=Posters(group["posters"]),
            moderators=tuple(UserId(moderator) for moderator in group["moderators"]),
        )
    if TARGETS in document:
        autoreply = document["autoreply"]
        return ForwardedAddress(
            **shared,
            name=document["name"],
            targets=tuple(document[TARGETS]),
            forwards_per_day=document["forwards_per_day"],
            autoreply=ForwardedAutoreply(**autoreply) if autoreply is not None else None,
            is_disabled=document["is_disabled"],
            data=AddressData.read(document.get("data")),
        )
    return AddressRoute(
        **shared,
        user_id=UserId(document["user"]),
        name=document.get("name", ""),
        data=AddressData.read(document.get("data")),
    )
