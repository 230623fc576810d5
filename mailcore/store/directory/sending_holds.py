"""How a hold of outgoing mail lies in the document of the tenant or user whose mail it is, and how they are found."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from bson import ObjectId
from pymongo.database import Database

from mailcore.model.ids import TenantId, UserId
from mailcore.model.reputation import Counts, HeldSender, HoldCause, SendingHold
from mailcore.store.client import Document
from mailcore.store.guard import deadline
from mailcore.store.owned import OwnedCollection

HOLD: Final = "sending_hold"
FRESH: Final = "sending_fresh"
MOST: Final = 1000


class SendingHolds:
    """The holds of tenants (without a user) and of users."""

    def __init__(self, directory: Database[Document]) -> None:
        self._tenants = OwnedCollection(directory["tenants"], "_id", ObjectId)
        self._users = OwnedCollection(directory["users"], ("_id", "tenant"), ObjectId)

    def begin(self, tenant_id: TenantId, user_id: UserId | None, hold: SendingHold) -> bool:
        """Store a hold; False if there is one, or nobody to hold."""
        fields = {
            "id": hold.id,
            "cause": hold.cause.value,
            "since": hold.since,
            "counts": hold.counts.to_document(),
            "stops": hold.stops,
            "note": hold.note,
            "appeal": hold.appeal,
            "is_told": hold.is_told,
        }
        return self._change(tenant_id, user_id, {HOLD: {"$exists": False}}, {"$set": {HOLD: fields}})

    def end(self, tenant_id: TenantId, user_id: UserId | None, hold_id: ObjectId, fresh_at: datetime) -> bool:
        """Take a hold away; what is counted before `fresh_at` counts no more. False if it is there no longer."""
        update = {"$unset": {HOLD: ""}, "$set": {FRESH: fresh_at}}
        return self._change(tenant_id, user_id, {f"{HOLD}.id": hold_id}, update)

    def set_field(self, tenant_id: TenantId, user_id: UserId | None, hold_id: ObjectId, name: str, value: Any) -> bool:
        """Change the note, the appeal, whether it stops or was told; False if the hold is there no longer."""
        assert name in {"note", "appeal", "stops", "is_told"}
        return self._change(tenant_id, user_id, {f"{HOLD}.id": hold_id}, {"$set": {f"{HOLD}.{name}": value}})

    def list_all(self) -> list[HeldSender]:
        """Return every hold, the oldest first; two round trips."""
        tenants = self._tenants.across_owners("staff look at the holds of everybody")
        users = self._users.across_owners("staff look at the holds of everybody")
        with deadline():
            found = [
                HeldSender(TenantId(document["_id"]), None, held)
                for document in tenants.find({f"{HOLD}.since": {"$exists": True}}, {HOLD: 1})
                if (held := read_hold(document)) is not None
            ]
            found += [_of_user(document) for document in users.find({f"{HOLD}.since": {"$exists": True}}, _FIELDS)]
        return sorted(found, key=lambda one: one.hold.since)

    def list_of_tenant(self, tenant_id: TenantId) -> list[HeldSender]:
        """Return the holds of a tenant and of its users; two round trips."""
        with deadline():
            tenant = self._tenants.find_one({"_id": tenant_id, f"{HOLD}.since": {"$exists": True}}, {HOLD: 1})
            found = self._users.find({"tenant": tenant_id, f"{HOLD}.since": {"$exists": True}}, _FIELDS).limit(MOST)
            users = [_of_user(document) for document in found]
        held = None if tenant is None else read_hold(tenant)
        return users if held is None else [HeldSender(tenant_id, None, held), *users]

    def fresh_starts(self, tenant_id: TenantId, since: datetime) -> dict[UserId | None, datetime]:
        """Return from when on counts count, where that is later than `since`; None: of the tenant. Two round trips."""
        query = {FRESH: {"$gt": since}}
        with deadline():
            tenant = self._tenants.find_one({"_id": tenant_id, **query}, {FRESH: 1})
            users = list(self._users.find({"tenant": tenant_id, **query}, {FRESH: 1}))
        found: dict[UserId | None, datetime] = {UserId(one["_id"]): one[FRESH] for one in users}
        return found if tenant is None else found | {None: tenant[FRESH]}

    def _change(self, tenant_id: TenantId, user_id: UserId | None, query: Document, update: Document) -> bool:
        with deadline():
            if user_id is None:
                return self._tenants.update_one({"_id": tenant_id, **query}, update).matched_count == 1
            return self._users.update_one({"_id": user_id, "tenant": tenant_id, **query}, update).matched_count == 1


_FIELDS: Final = {HOLD: 1, "tenant": 1}


def read_hold(document: Mapping[str, Any]) -> SendingHold | None:
    """Return the hold in a document of `tenants` or `users`."""
    fields = document.get(HOLD)
    if fields is None:
        return None
    return SendingHold(
        fields["id"],
        HoldCause(fields["cause"]),
        fields["since"],
        Counts.of(fields["counts"]),
        fields["stops"],
        fields["note"],
        fields["appeal"],
        fields["is_told"],
    )


def _of_user(document: Mapping[str, Any]) -> HeldSender:
    held = read_hold(document)
    assert held is not None
    return HeldSender(TenantId(document["tenant"]), UserId(document["_id"]), held)
