"""`mta_sts`: policies of domains elsewhere, for as long as they said; nothing of it belongs to a tenant."""

from __future__ import annotations

from pymongo.database import Database

from mailcore.store.client import Document
from mailcore.store.guard import deadline


class MtaSts:
    """One document for each domain."""

    def __init__(self, directory: Database[Document]) -> None:
        self._collection = directory["mta_sts"]

    def find(self, domain: str) -> Document | None:
        """Return what is known of a domain and not over yet, by the database's clock."""
        query = {"_id": str(domain), "$expr": {"$gt": ["$expires_at", "$$NOW"]}}
        with deadline():
            return self._collection.find_one(query)

    def put(self, domain: str, policy_id: str, text: str, max_age_s: int) -> None:
        """Keep a policy for so long from now on."""
        fields = {
            "policy_id": {"$literal": str(policy_id)},
            "text": {"$literal": str(text)},
            "expires_at": {"$add": ["$$NOW", max_age_s * 1000]},
        }
        with deadline():
            self._collection.update_one({"_id": str(domain)}, [{"$set": fields}], upsert=True)
