"""`send_as`: which users may send as addresses that are not their own."""

from __future__ import annotations

from collections.abc import Sequence

from bson import ObjectId
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from mailcore.model.ids import TenantId, UserId
from mailcore.model.sending import SendAsGrant
from mailcore.store.client import Document
from mailcore.store.guard import deadline
from mailcore.store.owned import OwnedCollection

PAGE = 1000


class SendAs:
    """One document for each user and address."""

    def __init__(self, directory: Database[Document]) -> None:
        self._collection = OwnedCollection(directory["send_as"], "tenant", ObjectId)

    def insert(self, grant: SendAsGrant) -> bool:
        """Store a grant; False if it is there already."""
        try:
            with deadline():
                self._collection.insert_one(
                    {
                        "_id": grant.id,
                        "tenant": grant.tenant_id,
                        "user": grant.user_id,
                        "address_id": grant.address_id,
                        "address": grant.address,
                        "created_at": grant.created_at,
                    }
                )
        except DuplicateKeyError:
            return False
        return True

    def granted(self, tenant_id: TenantId, user_id: UserId, address_ids: Sequence[ObjectId]) -> set[ObjectId]:
        """Return as which of these entries the user may send; one round trip."""
        query = {"tenant": tenant_id, "user": user_id, "address_id": {"$in": list(address_ids)}}
        with deadline():
            return {found["address_id"] for found in self._collection.find(query, {"address_id": 1})}

    def list_of(self, tenant_id: TenantId, user_id: UserId | None = None) -> list[SendAsGrant]:
        """Return up to 1000 of the tenant's grants, or of one user's, in order of creation."""
        query = {"tenant": tenant_id} if user_id is None else {"tenant": tenant_id, "user": user_id}
        with deadline():
            return [_grant(found) for found in self._collection.find(query).sort("_id", 1).limit(PAGE)]

    def delete(self, tenant_id: TenantId, user_id: UserId, address_id: ObjectId) -> bool:
        """Take a grant back; False if there is none."""
        query = {"tenant": tenant_id, "user": user_id, "address_id": address_id}
        with deadline():
            return self._collection.delete_one(query).deleted_count == 1

    def delete_of_user(self, tenant_id: TenantId, user_id: UserId, address_ids: Sequence[ObjectId]) -> None:
        """Take back what a user was granted, and what others were of the user's addresses."""
        about = {"tenant": tenant_id, "$or": [{"user": user_id}, {"address_id": {"$in": list(address_ids)}}]}
        with deadline():
            self._collection.delete_many(about)


def _grant(document: Document) -> SendAsGrant:
    return SendAsGrant(
        document["_id"],
        TenantId(document["tenant"]),
        UserId(document["user"]),
        document["address_id"],
        document["address"],
        document["created_at"],
    )
