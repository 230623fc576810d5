"""What users' documents say of targets that mail is sent on to: confirmed, and asked for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

from bson import ObjectId
from pymongo.database import Database

from mailcore.model.ids import UserId
from mailcore.model.onward_target import MOST_ASKED, MOST_CONFIRMED, TargetAsk, ask_document
from mailcore.store.guard import Document, deadline
from mailcore.store.owned import OwnedCollection

CONFIRMED: Final = "onward.confirmed"
ASKS: Final = "onward.asks"
DUE: Final = "onward.due_at"
"""There while a link is to be mailed."""
PAGE: Final = 1000


class StoredTargets:
    """Changes that part of `users`."""

    def __init__(self, directory: Database[Document]) -> None:
        self._collection = OwnedCollection(directory["users"], ("_id", "tenant"), ObjectId)
        self._everybody = self._collection.across_owners("the job that mails links looks at every user's")

    def confirm(
        self, user_id: UserId, keys: Collection[str], ask: TargetAsk | None = None, alike: Collection[ObjectId] = ()
    ) -> bool:
        """Count targets as confirmed; of two with one ask one does. False: no such user, or the ask is gone.

        With the ask those go that are `alike`: for the same target.
        """
        new = sorted(keys)
        known = {"$ifNull": [f"${CONFIRMED}", []]}
        others = {"$filter": {"input": known, "cond": {"$not": [{"$in": ["$$this", {"$literal": new}]}]}}}
        joined = {"$slice": [{"$concatArrays": [others, {"$literal": new}]}, -MOST_CONFIRMED]}
        query: Document = {"_id": user_id}
        update: list[Document] = [{"$set": {CONFIRMED: joined}}]
        if ask is not None:
            query[ASKS] = {"$elemMatch": {"id": ask.id, "auth_version": ask.auth_version}}
            query["auth_version"] = ask.auth_version
            kept = {"$filter": {"input": f"${ASKS}", "cond": {"$not": [{"$in": ["$$this.id", [ask.id, *alike]]}]}}}
            update.append({"$set": {ASKS: kept}})
        with deadline():
            return self._collection.update_one(query, update).matched_count == 1

    def forget(self, user_id: UserId, key: str, ask_ids: Sequence[ObjectId]) -> bool:
        """Count a target as not confirmed, and end what asks for it; False if there is no such user."""
        gone = {CONFIRMED: key, ASKS: {"id": {"$in": list(ask_ids)}}}
        with deadline():
            return self._collection.update_one({"_id": user_id}, {"$pull": gone}).matched_count == 1

    def ask(self, user_id: UserId, before: Sequence[TargetAsk], asks: Sequence[TargetAsk]) -> None:
        """Put asks in place of others of the same user, the latest last; they are to be mailed."""
        gone = [ask.id for ask in (*before, *asks)]
        kept = {"$filter": {"input": {"$ifNull": [f"${ASKS}", []]}, "cond": {"$not": [{"$in": ["$$this.id", gone]}]}}}
        new = {"$literal": [ask_document(ask) for ask in asks]}
        joined = {"$slice": [{"$concatArrays": [kept, new]}, -MOST_ASKED]}
        with deadline():
            self._collection.update_one(
                {"_id": user_id}, [{"$set": {ASKS: joined}}, {"$set": {DUE: {"$literal": asks[-1].asked_at}}}]
            )

    def list_due(self) -> list[UserId]:
        """Return whose links are to be mailed; up to a thousand."""
        with deadline(10):
            found = self._everybody.find({DUE: {"$exists": True}}, {"_id": 1}).limit(PAGE)
            return [UserId(document["_id"]) for document in found]

    def note_mailed(self, user_id: UserId, asks: Sequence[TargetAsk]) -> None:
        """Note that links are queued; what was asked for meanwhile stays due."""
        changes: dict[str, Any] = {}
        filters: list[Document] = []
        for number, ask in enumerate(asks):
            changes[f"{ASKS}.$[a{number}].due"] = False
            filters.append({f"a{number}.id": ask.id, f"a{number}.mails": ask.mails})
        with deadline():
            if changes:
                self._collection.update_one({"_id": user_id}, {"$set": changes}, array_filters=filters)
            self._collection.update_one(
                {"_id": user_id, ASKS: {"$not": {"$elemMatch": {"due": True}}}}, {"$unset": {DUE: ""}}
            )
