"""`spam_reports`: messages that users moved to or from Junk, until the filter has learned them.

A row is user ‖ mailbox ‖ MODSEQ ‖ number (36 bytes): the same change makes the same rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from bson import ObjectId
from pymongo.database import Database
from pymongo.errors import BulkWriteError

from mailcore.model.ids import UserId
from mailcore.store.guard import Document, deadline
from mailcore.store.owned import OwnedCollection

USER_BYTES: Final = 12


@dataclass(frozen=True, slots=True)
class SpamReport:
    """One message, and what its user takes it for."""

    key: bytes
    message_oid: bytes
    is_spam: bool

    @property
    def user_id(self) -> UserId:
        """Whose message it is."""
        return UserId(ObjectId(self.key[:USER_BYTES]))


class SpamReports:
    """The reports of all users of a shard."""

    def __init__(self, database: Database[Document]) -> None:
        self._collection = OwnedCollection(database["spam_reports"])

    def insert(self, reports: Sequence[SpamReport], expires_at: datetime) -> None:
        """Store reports (majority); what is there already stays."""
        documents = [
            {"_id": one.key, "message": one.message_oid, "spam": one.is_spam, "expires_at": expires_at}
            for one in reports
        ]
        try:
            with deadline():
                self._collection.store_many(documents)
        except BulkWriteError:
            return  # the guard lets only duplicates pass

    def oldest(self, limit: int) -> list[SpamReport]:
        """Return reports of all users, those that expire first."""
        collection = self._collection.across_owners("the filter learns from all users")
        with deadline():
            found = list(collection.find().sort("expires_at", 1).limit(limit))
        return [SpamReport(bytes(one["_id"]), bytes(one["message"]), one["spam"]) for one in found]

    def delete(self, report: SpamReport) -> None:
        """Forget a report."""
        with deadline():
            self._collection.delete_one({"_id": report.key})
