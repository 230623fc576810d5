"""`addresses`: whom mail for an address reaches; unique by canonical form."""

from __future__ import annotations

from bson import ObjectId
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from mailcore.model.ids import TenantId, UserId
from mailcore.model.tenant import AddressRoute
from mailcore.store import direct
from mailcore.store.client import Document
from mailcore.store.guard import deadline
from mailcore.store.owned import OwnedCollection


class Addresses:
    """One document for each address."""

    def __init__(self, directory: Database[Document]) -> None:
        self._collection = OwnedCollection(directory["addresses"], ("user", "tenant"), ObjectId)
        self._by_canonical = self._collection.across_owners("the address establishes the owner")

    def insert(self, route: AddressRoute) -> bool:
        """Store a new address; False if its canonical form is taken, whoever has it."""
        try:
            with deadline():
                self._collection.insert_one(
                    {
                        "_id": route.id,
                        "tenant": route.tenant_id,
                        "user": route.user_id,
                        "display": route.display,
                        "canonical": route.canonical,
                        "created_at": route.created_at,
                    }
                )
        except DuplicateKeyError:
            return False
        return True

    def find(self, canonical: str) -> AddressRoute | None:
        """Return whom a canonical address reaches, or None; read from the primary with majority."""
        with deadline():
            document = direct.find_one(self._by_canonical, {"canonical": str(canonical)})
        return None if document is None else _route(document)

    def list_of_user(self, user_id: UserId) -> list[AddressRoute]:
        """Return the user's addresses in order of creation."""
        with deadline():
            return [_route(document) for document in self._collection.find({"user": user_id}).sort("_id", 1)]

    def delete(self, user_id: UserId, canonical: str) -> bool:
        """Remove a user's address; False if the user has none such."""
        with deadline():
            return self._collection.delete_one({"user": user_id, "canonical": canonical}).deleted_count == 1


def _route(document: Document) -> AddressRoute:
    return AddressRoute(
        id=document["_id"],
        tenant_id=TenantId(document["tenant"]),
        user_id=UserId(document["user"]),
        display=document["display"],
        canonical=document["canonical"],
        created_at=document["created_at"],
    )
