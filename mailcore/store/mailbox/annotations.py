"""Annotations: what clients note about a mailbox, or about all of a user's mail (RFC 5464); one document for each.

A row of a document is whose annotation it is (nobody's where it is shared), its name and its value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from bson import ObjectId
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from mailcore.model.ids import MailboxId, UserId
from mailcore.store import keys
from mailcore.store.guard import Document, deadline
from mailcore.store.owned import OwnedCollection

FORMAT: Final = 1
KEY_BYTES: Final = 2 * keys.OWNER_BYTES
WHOLE_USER: Final = MailboxId(ObjectId(b"\0" * 12))
"""Stands for no mailbox: the annotations of the server, as its user sees it."""

Rows = Mapping[tuple[UserId | None, str], bytes]
"""Values by owner (None: shared) and name."""


@dataclass(frozen=True, slots=True)
class AnnotationSet:
    """All annotations of one mailbox, as of one version; version 0 is not stored yet."""

    version: int = 0
    rows: Rows = field(default_factory=dict)


class Annotations:
    """Annotations of all mailboxes of a shard."""

    def __init__(self, database: Database[Document]) -> None:
        self._collection = OwnedCollection(database["annotations"])

    def read(self, user_id: UserId, mailbox_id: MailboxId) -> AnnotationSet:
        """Return what there is; one round trip."""
        with deadline():
            found = self._collection.find_one({"_id": keys.mailbox_key(user_id, mailbox_id)})
        return _annotation_set(found) if found is not None else AnnotationSet()

    def of_user(self, user_id: UserId) -> dict[MailboxId, AnnotationSet]:
        """Return those of all mailboxes of a user, and the user's own under WHOLE_USER; one round trip."""
        with deadline():
            found = list(self._collection.find({"_id": keys.owner_range(user_id.binary, KEY_BYTES)}))
        return {MailboxId(ObjectId(bytes(each["_id"])[keys.OWNER_BYTES :])): _annotation_set(each) for each in found}

    def changes_of_user(self, user_id: UserId) -> int:
        """Return a number that changes with any of a user's annotations, by one each; one small round trip."""
        with deadline():
            found = list(self._collection.find({"_id": keys.owner_range(user_id.binary, KEY_BYTES)}, {"version": 1}))
        return sum(each["version"] for each in found)

    def replace(self, user_id: UserId, mailbox_id: MailboxId, version: int, rows: Rows) -> bool:
        """Put other annotations in place of those of that version; False if somebody else was faster."""
        key = keys.mailbox_key(user_id, mailbox_id)
        document = {
            "_id": key,
            "format": FORMAT,
            "version": version + 1,
            "rows": [{"user": owner, "name": name, "value": value} for (owner, name), value in sorted_rows(rows)],
        }
        with deadline():
            if version:
                return self._collection.replace_one({"_id": key, "version": version}, document).matched_count == 1
            try:
                self._collection.insert_one(document)
            except DuplicateKeyError:
                return False
        return True

    def delete(self, user_id: UserId, mailbox_id: MailboxId) -> None:
        """Remove the annotations of a mailbox that is gone."""
        with deadline():
            self._collection.delete_one({"_id": keys.mailbox_key(user_id, mailbox_id)})


def _annotation_set(found: Document) -> AnnotationSet:
    rows = {
        (UserId(row["user"]) if row["user"] is not None else None, row["name"]): bytes(row["value"])
        for row in found["rows"]
    }
    return AnnotationSet(found["version"], rows)


def sorted_rows(rows: Rows) -> list[tuple[tuple[UserId | None, str], bytes]]:
    """Return annotations by name, shared ones first."""
    return sorted(rows.items(), key=lambda row: (row[0][1], str(row[0][0] or "")))
