"""`filters` on a shard and `tenant_filters` in the directory: one document of rules and scripts for each owner.

Every change is one compare-and-set on the document's version, so order and limits hold whoever writes at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import bson
from bson import ObjectId
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from mailcore.model.filter import (
    Condition,
    FilterSet,
    Match,
    Part,
    Query,
    Rule,
    RuleAction,
    RuleContent,
    RuleReply,
    StoredScript,
)
from mailcore.model.flags import FlagSet
from mailcore.model.ids import MailboxId, MailboxName
from mailcore.store import keys
from mailcore.store.guard import Document, deadline
from mailcore.store.owned import OwnedCollection

MAX_BYTES: Final = 6 << 20
"""Of the rules of one owner; MongoDB takes documents of 16 MiB."""
_ONLY_ACTIVE: Final = {"rules": 1, "version": 1, "scripts": {"$elemMatch": {"active": True}}}


class TooLarge(Exception):
    """The rules do not fit into a document."""


@dataclass(frozen=True, slots=True)
class FilterChange:
    """Rules or scripts as they shall be; None leaves them as they are."""

    rules: Sequence[Rule] | None = None
    scripts: Sequence[StoredScript] | None = None


class FilterSets:
    """Rules and scripts of all owners of one database."""

    def __init__(self, database: Database[Document], name: str) -> None:
        self._collection = OwnedCollection(database[name])

    def read(self, owner_id: ObjectId) -> FilterSet:
        """Return everything an owner has; one round trip."""
        with deadline():
            found = self._collection.find_one({"_id": keys.user_key(owner_id)})
        return FilterSet() if found is None else _filter_set(found)

    def read_acting(self, owner_id: ObjectId) -> FilterSet:
        """Return the same without the scripts that are not active; one round trip."""
        with deadline():
            found = self._collection.find_one({"_id": keys.user_key(owner_id)}, _ONLY_ACTIVE)
        return FilterSet() if found is None else _filter_set(found)

    def read_rules(self, owner_ids: Sequence[ObjectId]) -> dict[ObjectId, FilterSet]:
        """Return the rules of many owners, without their scripts, by owner; one round trip."""
        if not owner_ids:
            return {}
        wanted = [keys.user_key(owner_id) for owner_id in owner_ids]
        with deadline(10):
            found = self._collection.find_all({"_id": {"$in": wanted}}, {"scripts": 0}, most=len(wanted))
        return {ObjectId(document["_id"]): _filter_set(document) for document in found}

    def replace(self, owner_id: ObjectId, version: int, change: FilterChange) -> bool:
        """Put a change in place of the version that was read; False if somebody else was faster.

        Raises:
            TooLarge: the rules take too much room.
        """
        fields: dict[str, Any] = {}
        if change.rules is not None:
            fields["rules"] = [rule_document(rule) for rule in change.rules]
            if len(bson.encode(fields)) > MAX_BYTES:
                raise TooLarge
        if change.scripts is not None:
            fields["scripts"] = [_script_document(script) for script in change.scripts]
        key = keys.user_key(owner_id)
        try:
            with deadline():
                if version == 0:
                    self._collection.insert_one({"_id": key, "version": 1, "rules": [], "scripts": [], **fields})
                    return True
                update = {"$set": fields, "$inc": {"version": 1}}
                return self._collection.update_one({"_id": key, "version": version}, update).matched_count == 1
        except DuplicateKeyError:
            return False


# -- documents ----------------------------------------------------------------------------------


def _filter_set(found: Document) -> FilterSet:
    scripts = (
        StoredScript(each["name"], each["text"], each["changed_at"], each.get("active", False), each.get("asks", False))
        for each in found.get("scripts", ())
    )
    return FilterSet(found["version"], tuple(map(read_rule, found.get("rules", ()))), tuple(scripts))


def _script_document(script: StoredScript) -> Document:
    document: Document = {"name": script.name, "text": script.text, "changed_at": script.changed_at}
    return document | ({"active": True} if script.is_active else {}) | ({"asks": True} if script.asks else {})


def rule_document(rule: Rule) -> Document:
    """Return a rule as it is stored."""
    content = rule.content
    document = {
        "id": rule.id,
        "created_at": rule.created_at,
        "name": content.name,
        "disabled": content.is_disabled,
        "stops": content.stops,
        "meta_data": content.meta_data,
        "asks": content.asks or None,
        "query": _query_document(content.query),
        "action": _action_document(content.action),
    }
    return _said(document)


def _said(document: Document) -> Document:
    """Leave out what is as it is where nothing is said."""
    return {name: value for name, value in document.items() if value is not None and value not in ("", [], {})}


def _query_document(query: Query) -> Document:
    plain = (
        "sender", "recipients", "subject", "list_id", "text", "has_attachments", "larger_than", "smaller_than",
        "score_over", "score_under", "is_spam",
    )  # fmt: skip
    conditions = [
        {
            "part": each.part.value,
            "match": each.match.value,
            "value": each.value,
            "header": each.header,
            "negated": each.negated,
        }
        for each in query.conditions
    ]
    document = {name: getattr(query, name) for name in plain}
    return _said(document | {"conditions": conditions, "any_of": query.any_of or None})


def _action_document(action: RuleAction) -> Document:
    plain = ("seen", "flagged", "delete", "spam", "mailbox_id", "mailbox_name")
    document: Document = {name: getattr(action, name) for name in plain}
    document["targets"] = list(action.targets)
    document["flags"] = action.flags.system or None
    document["keywords"] = list(action.flags.keywords)
    if action.reply is not None:
        reply = action.reply
        document["reply"] = {"text": reply.text, "subject": reply.subject, "every_s": reply.every_s}
    return _said(document)


def read_rule(found: Document) -> Rule:
    """Return the rule that `rule_document` was given."""
    content = RuleContent(
        _query(found.get("query", {})),
        _action(found.get("action", {})),
        found.get("name", ""),
        found.get("disabled", False),
        found.get("stops", False),
        found.get("meta_data", ""),
        found.get("asks", False),
    )
    return Rule(found["id"], content, found["created_at"])


def _query(found: Document) -> Query:
    conditions = tuple(
        Condition(Part(each["part"]), Match(each["match"]), each["value"], each["header"], each["negated"])
        for each in found.get("conditions", ())
    )
    return Query(**{**found, "conditions": conditions})


def _action(found: Document) -> RuleAction:
    mailbox_id, mailbox_name, reply = found.get("mailbox_id"), found.get("mailbox_name"), found.get("reply")
    return RuleAction(
        seen=found.get("seen"),
        flagged=found.get("flagged"),
        delete=found.get("delete"),
        spam=found.get("spam"),
        mailbox_id=None if mailbox_id is None else MailboxId(mailbox_id),
        targets=tuple(found.get("targets", ())),
        mailbox_name=None if mailbox_name is None else MailboxName(mailbox_name),
        flags=FlagSet(found.get("flags", 0), tuple(found.get("keywords", ()))),
        reply=None if reply is None else RuleReply(**reply),
    )
