"""Mailbox trees: one document for each user with names, special uses, subscriptions, and the UIDVALIDITY counter.

Every change is one compare-and-set on the tree's version. A new mailbox takes its UIDVALIDITY from
the tree's own counter, which begins at a value stored when the tree is made and only counts up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bson import ObjectId
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from mailcore.model.ids import MailboxId, MailboxName, UidValidity, UserId
from mailcore.model.mailbox import MailboxEntry, MailboxTree, SpecialUse, sorted_entries
from mailcore.model.rights import parse_rights, stored_letters
from mailcore.store import keys
from mailcore.store.guard import Document, deadline
from mailcore.store.owned import OwnedCollection

FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class TreeChange:
    """A tree as it shall be."""

    next_uid_validity: int
    entries: Iterable[MailboxEntry]
    subscribed_names: Iterable[MailboxName]


class MailboxTrees:
    """Trees of all users of a shard."""

    def __init__(self, database: Database[Document]) -> None:
        self._collection = OwnedCollection(database["mailbox_trees"])

    def create(self, user_id: UserId, first_uid_validity: int) -> bool:
        """Make an empty tree; return False if the user has one."""
        document = {
            "_id": keys.user_key(user_id),
            "format": FORMAT,
            "version": 1,
            "next_uid_validity": first_uid_validity,
            "mailboxes": [],
            "subscribed_names": [],
        }
        try:
            with deadline():
                self._collection.insert_one(document)
        except DuplicateKeyError:
            return False
        return True

    def read(self, user_id: UserId, known: MailboxTree | None = None) -> MailboxTree | None:
        """Return a user's tree, None if there is none; `known` itself if it is still the newest.

        One round trip, two if it changed; what changed little is not sent.
        """
        key = keys.user_key(user_id)
        if known is not None:
            with deadline():
                version = self._collection.find_one({"_id": key}, {"version": 1, "_id": 0})
            if version is not None and version["version"] == known.version:
                return known
        with deadline():
            found = self._collection.find_one({"_id": key})
        return _tree(found) if found is not None else None

    def versions(self, owners: Sequence[bytes]) -> dict[bytes, int]:
        """Return the versions of the trees of many users, by their keys, in one read."""
        if not owners:
            return {}
        with deadline():
            found = list(
                self._collection.find({"_id": {"$in": list(owners)}}, {"version": 1}, batch_size=len(owners) + 1)
            )
        return {bytes(tree["_id"]): tree["version"] for tree in found}

    def users_with_retention(self) -> list[UserId]:
        """Return every user of the shard with a mailbox that does not keep its messages for ever."""
        collection = self._collection.across_owners("what is expired is looked for among all users")
        with deadline(60):
            found = list(collection.find({"mailboxes.retention_ms": {"$gt": 0}}, {"_id": 1}))
        return [UserId(ObjectId(bytes(tree["_id"]))) for tree in found]

    def replace(self, user_id: UserId, tree: MailboxTree, change: TreeChange) -> MailboxTree | None:
        """Put a changed tree in place of the one that was read; None if somebody else was faster."""
        entries = sorted_entries(change.entries)
        names = frozenset(change.subscribed_names)
        with deadline():
            result = self._collection.update_one(
                {"_id": keys.user_key(user_id), "version": tree.version},
                {
                    "$set": {
                        "mailboxes": [_entry_document(entry) for entry in entries],
                        "subscribed_names": sorted(names),
                        "next_uid_validity": change.next_uid_validity,
                    },
                    "$inc": {"version": 1},
                },
            )
        if not result.matched_count:
            return None
        return MailboxTree(tree.version + 1, change.next_uid_validity, entries, names, tree.shared_from)

    def note_sharer(self, user_id: UserId, owner_id: UserId, most: int) -> bool:
        """Note that somebody shares a mailbox with a user; False if that is noted, or too many are."""
        with deadline():
            result = self._collection.update_one(
                {"_id": keys.user_key(user_id), "shared_from": {"$ne": owner_id}, f"shared_from.{most - 1}": None},
                {"$push": {"shared_from": owner_id}, "$inc": {"version": 1}},
            )
        return bool(result.modified_count)


def _entry_document(entry: MailboxEntry) -> dict[str, Any]:
    document: dict[str, Any] = {"id": entry.id, "name": entry.name, "uid_validity": entry.uid_validity}
    if entry.special_use is not None:
        document["special_use"] = entry.special_use.value
    if entry.subscribed:
        document["subscribed"] = True
    if entry.acl:
        document["acl"] = [{"user": user_id, "rights": stored_letters(rights)} for user_id, rights in entry.acl]
    if entry.hidden:
        document["hidden"] = True
    if entry.retention_ms:
        document["retention_ms"] = entry.retention_ms
    if entry.encrypts:
        document["encrypts"] = True
    return document


def _tree(found: Document) -> MailboxTree:
    entries = (
        MailboxEntry(
            MailboxId(ObjectId(entry["id"])),
            MailboxName(entry["name"]),
            UidValidity(entry["uid_validity"]),
            SpecialUse(entry["special_use"]) if "special_use" in entry else None,
            entry.get("subscribed", False),
            tuple((UserId(given["user"]), parse_rights(given["rights"])) for given in entry.get("acl", ())),
            entry.get("hidden", False),
            entry.get("retention_ms", 0),
            entry.get("encrypts", False),
        )
        for entry in found["mailboxes"]
    )
    return MailboxTree(
        found["version"],
        found["next_uid_validity"],
        sorted_entries(entries),
        frozenset(MailboxName(name) for name in found["subscribed_names"]),
        tuple(UserId(owner_id) for owner_id in found.get("shared_from", ())),
    )
