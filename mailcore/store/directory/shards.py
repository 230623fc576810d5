"""`shards`: which sets of servers hold mail; URIs name passwords, they do not hold them."""

from __future__ import annotations

from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from mailcore.model.tenant import Shard
from mailcore.store.client import Document
from mailcore.store.guard import deadline


class Shards:
    """The few documents that every process reads."""

    def __init__(self, directory: Database[Document]) -> None:
        self._collection = directory["shards"]

    def insert(self, shard: Shard) -> bool:
        """Store a new shard; False if the name is taken."""
        try:
            with deadline():
                self._collection.insert_one(
                    {
                        "name": shard.name,
                        "region": shard.region,
                        "hot_uri": shard.hot_uri,
                        "cold_uri": shard.cold_uri,
                        "is_open": shard.is_open,
                    }
                )
        except DuplicateKeyError:
            return False
        return True

    def update(self, shard: Shard) -> bool:
        """Change URIs and openness of a shard of the same name and region; False if there is none."""
        with deadline():
            result = self._collection.update_one(
                {"name": shard.name, "region": shard.region},
                {"$set": {"hot_uri": shard.hot_uri, "cold_uri": shard.cold_uri, "is_open": shard.is_open}},
            )
        return result.matched_count == 1

    def list_all(self) -> list[Shard]:
        """Return every shard by name."""
        with deadline():
            return [_shard(document) for document in self._collection.find({}).sort("name", 1)]


def _shard(document: Document) -> Shard:
    return Shard(
        name=document["name"],
        region=document["region"],
        hot_uri=document["hot_uri"],
        cold_uri=document["cold_uri"],
        is_open=document["is_open"],
    )
