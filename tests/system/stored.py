"""Everything the databases hold of one user and tenant, read past all services."""

from __future__ import annotations

import hashlib
from collections import Counter

import bson

from mailcore.services import MailServices
from mailcore.store.keys import owner_range
from tests.builders import MadeUser

LONGEST_KEY = 96
NOTED = {"auth_log", "trace", "tallies", "sending_counts"}
Stored = dict[tuple[str, bytes], bytes]
"""Collection and key of each document, and a digest of it."""


def stored(services: MailServices, user: MadeUser) -> Stored:
    """Every document on the user's shard whose key begins with the user or the tenant, in both sets.

    But for what processes note and count: they write it some seconds later, whatever else goes on.
    """
    shard = services.placement.home(user.user_id).shard
    found: Stored = {}
    for owner in (user.user_id.binary, user.tenant_id.binary):
        ranges = [{"_id": owner_range(owner, size)} for size in range(len(owner), LONGEST_KEY)]
        for database, kind in ((shard.hot, "hot"), (shard.cold, "cold")):
            for name in set(database.list_collection_names()) - NOTED:
                for document in database[name].find({"$or": ranges}):
                    found[f"{kind}.{name}", document["_id"]] = hashlib.sha256(bson.encode(document)).digest()
    return found


def counted(found: Stored) -> Counter[str]:
    """How many documents there are in each collection."""
    return Counter(name for name, _ in found)
