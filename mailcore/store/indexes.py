"""Collections with their storage options, and the few indexes beside `_id`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pymongo import ASCENDING, IndexModel
from pymongo.database import Database
from pymongo.errors import OperationFailure

from mailcore.store.client import Document
from mailcore.store.guard import deadline

INDEX_DEADLINE_S = 60.0
NAMESPACE_EXISTS = 48

EVENTS: Sequence[IndexModel] = (
    IndexModel([("at", ASCENDING)], name="at", expireAfterSeconds=30 * 24 * 3600, sparse=True),
    IndexModel([("expires_at", ASCENDING)], name="expires_at", expireAfterSeconds=0, sparse=True),
    IndexModel([("waiting_since", ASCENDING)], name="waiting_since", sparse=True),
    IndexModel(
        [("tenant", ASCENDING), ("number", ASCENDING)],
        name="number",
        unique=True,
        partialFilterExpression={"number": {"$exists": True}},
    ),
)
"""Changes of mail are kept for 30 days after `at`, all others until `expires_at`."""
HOT: dict[str, Sequence[IndexModel]] = {
    "mailbox_trees": (IndexModel([("mailboxes.retention_ms", ASCENDING)], name="retention", sparse=True),),
    "mailboxes": (),
    "segments": (),
    "row_blocks": (),
    "messages": (),
    "vanished": (),
    "notes": (
        IndexModel(
            [("expires_at", ASCENDING)], name="expires_at", partialFilterExpression={"expires_at": {"$type": "date"}}
        ),
    ),
    "annotations": (),
    "message_ids": (),
    "blocks": (),
    "blobs": (IndexModel([("demote_at", ASCENDING)], name="demote_at", sparse=True),),
    "blob_refs": (),
    "purge": (IndexModel([("expunged_at", ASCENDING)], name="expunged_at"),),
    "events": EVENTS,
    "streams": (),
    "outbound": (
        IndexModel([("next_at", ASCENDING)], name="next_at", sparse=True),
        IndexModel([("tenant", ASCENDING), ("created_at", ASCENDING), ("_id", ASCENDING)], name="tenant_in_order"),
        IndexModel([("forget_at", ASCENDING)], name="forget_at", expireAfterSeconds=0, sparse=True),
        IndexModel(
            [("held", ASCENDING), ("tenant", ASCENDING)],
            name="held",
            partialFilterExpression={"held": {"$exists": True}},
        ),
        IndexModel(
            [("group", ASCENDING), ("created_at", ASCENDING)],
            name="group",
            partialFilterExpression={"group": {"$exists": True}, "state": "held"},
        ),
    ),
    "files": (),
    "audit_pieces": (IndexModel([("expires_at", ASCENDING)], name="expires_at", expireAfterSeconds=0),),
    "suppressions": (IndexModel([("expires_at", ASCENDING)], name="expires_at", expireAfterSeconds=0),),
    "trace": (
        IndexModel([("keys", ASCENDING), ("_id", ASCENDING)], name="keys"),
        IndexModel([("expires_at", ASCENDING)], name="expires_at", expireAfterSeconds=0),
    ),
    "sending_counts": (
        IndexModel([("at", ASCENDING)], name="at", expireAfterSeconds=9 * 24 * 3600),
        IndexModel([("trouble_at", ASCENDING)], name="trouble_at", sparse=True),
    ),
    "tallies": (
        IndexModel([("changed_at", ASCENDING), ("_id", ASCENDING)], name="changed_at"),
        IndexModel([("expires_at", ASCENDING)], name="expires_at", expireAfterSeconds=0),
    ),
    "rollups": (IndexModel([("expires_at", ASCENDING)], name="expires_at", expireAfterSeconds=0),),
    "complaints": (IndexModel([("expires_at", ASCENDING)], name="expires_at", expireAfterSeconds=0),),
    "spam_reports": (IndexModel([("expires_at", ASCENDING)], name="expires_at", expireAfterSeconds=0),),
    "filters": (),
    "correspondents": (IndexModel([("expires_at", ASCENDING)], name="expires_at", expireAfterSeconds=0),),
    "auth_log": (IndexModel([("expires_at", ASCENDING)], name="expires_at", expireAfterSeconds=0),),
    "autoreplies": (IndexModel([("expires_at", ASCENDING)], name="expires_at", expireAfterSeconds=0, sparse=True),),
}
CHUNKS: dict[str, Sequence[IndexModel]] = {"chunks": ()}
COLD: dict[str, Sequence[IndexModel]] = {
    **CHUNKS,
    "export_pieces": (IndexModel([("expires_at", ASCENDING)], name="expires_at", expireAfterSeconds=0),),
}
DIRECTORY: dict[str, Sequence[IndexModel]] = {
    "shards": (IndexModel([("name", ASCENDING)], name="name", unique=True),),
    "tenants": (
        IndexModel([("name_key", ASCENDING)], name="name_key", unique=True),
        IndexModel([("sending_hold.since", ASCENDING)], name="sending_hold", sparse=True),
    ),
    "domains": (
        IndexModel([("name", ASCENDING)], name="name", unique=True),
        IndexModel([("tenant", ASCENDING), ("_id", ASCENDING)], name="tenant"),
        IndexModel([("mx_looked_at", ASCENDING)], name="mx_looked_at"),
    ),
    "addresses": (
        IndexModel([("canonical", ASCENDING)], name="canonical", unique=True),
        IndexModel([("looks_like", ASCENDING)], name="looks_like", sparse=True),
        IndexModel([("user", ASCENDING), ("_id", ASCENDING)], name="user"),
        IndexModel([("group.moderators", ASCENDING)], name="moderators", sparse=True),
        IndexModel([("tenant", ASCENDING), ("_id", ASCENDING)], name="tenant"),
    ),
    "users": (
        IndexModel([("tenant", ASCENDING), ("_id", ASCENDING)], name="tenant"),
        IndexModel([("address", ASCENDING)], name="address"),
        IndexModel([("second_factors.passkeys.id", ASCENDING)], name="passkey", unique=True, sparse=True),
        IndexModel([("settings.expires_after_s", ASCENDING)], name="expires_after_s", sparse=True),
        IndexModel([("sending_hold.since", ASCENDING)], name="sending_hold", sparse=True),
        IndexModel([("onward.due_at", ASCENDING)], name="onward_due", sparse=True),
    ),
    "deleted_users": (
        IndexModel([("tenant", ASCENDING), ("_id", ASCENDING)], name="tenant"),
        IndexModel([("erase_after", ASCENDING)], name="erase_after"),
    ),
    "mta_sts": (IndexModel([("expires_at", ASCENDING)], name="expires_at", expireAfterSeconds=0),),
    "nonces": (
        IndexModel([("user", ASCENDING)], name="user"),
        IndexModel([("expires_at", ASCENDING)], name="expires_at", expireAfterSeconds=0),
    ),
    "api_requests": (IndexModel([("expires_at", ASCENDING)], name="expires_at", expireAfterSeconds=0),),
    "acme_accounts": (),
    "acme_orders": (
        IndexModel([("names", ASCENDING)], name="names"),
        IndexModel([("tenant", ASCENDING), ("domain", ASCENDING)], name="tenant_domain"),
    ),
    "acme_challenges": (IndexModel([("expires_at", ASCENDING)], name="expires_at", expireAfterSeconds=0),),
    "send_as": (
        IndexModel([("address_id", ASCENDING), ("user", ASCENDING)], name="address", unique=True),
        IndexModel([("tenant", ASCENDING), ("user", ASCENDING)], name="tenant"),
    ),
    "dkim_keys": (
        IndexModel([("domain_id", ASCENDING), ("selector", ASCENDING)], name="selector", unique=True),
        IndexModel([("tenant", ASCENDING), ("domain", ASCENDING)], name="tenant"),
    ),
    "certs": (IndexModel([("server_names", ASCENDING)], name="server_names"),),
    "settings": (),
    "site_settings": (),
    "audits": (
        IndexModel([("next_at", ASCENDING)], name="next_at"),
        IndexModel([("expires_at", ASCENDING)], name="expires_at", expireAfterSeconds=0),
    ),
    "mail_exports": (IndexModel([("next_at", ASCENDING)], name="next_at"),),
    "rollups": (IndexModel([("expires_at", ASCENDING)], name="expires_at", expireAfterSeconds=0),),
    "webhooks": (
        IndexModel([("tenant", ASCENDING), ("_id", ASCENDING)], name="tenant"),
        IndexModel([("next_at", ASCENDING)], name="next_at"),
    ),
    "tenant_filters": (),
    "domain_access": (
        IndexModel([("tenant", ASCENDING), ("tag", ASCENDING), ("domain", ASCENDING)], name="listed", unique=True),
    ),
    "events": EVENTS,
    "streams": (),
    "api_tokens": (
        IndexModel([("digest", ASCENDING)], name="digest", unique=True),
        IndexModel([("user", ASCENDING), ("_id", ASCENDING)], name="user"),
        IndexModel([("tenant", ASCENDING), ("_id", ASCENDING)], name="tenant"),
        IndexModel([("expires_at", ASCENDING)], name="expires_at", expireAfterSeconds=24 * 3600),
    ),
    "sign_in_changes": (IndexModel([("at", ASCENDING)], name="at", expireAfterSeconds=24 * 3600),),
}


def ensure_indexes(hot: Database[Document], cold: Database[Document]) -> None:
    """Create what a shard lacks: compressed collections on the hot set, plain chunks on both."""
    _ensure(hot, HOT, "zstd")
    _ensure(hot, CHUNKS, "none")  # chunks wait here while the cold set is away
    _ensure(cold, COLD, "none")


def ensure_directory_indexes(directory: Database[Document]) -> None:
    """Create what the directory lacks; the unique indexes are what keeps an address from having two owners."""
    _ensure(directory, DIRECTORY, "zstd")


def _ensure(database: Database[Document], wanted: dict[str, Sequence[IndexModel]], compressor: str) -> None:
    options: dict[str, Any] = {"storageEngine": {"wiredTiger": {"configString": f"block_compressor={compressor}"}}}
    with deadline(INDEX_DEADLINE_S):
        present = set(database.list_collection_names())
        for name, indexes in wanted.items():
            if name not in present:
                try:
                    database.create_collection(name, check_exists=False, **options)
                except OperationFailure as error:
                    if error.code != NAMESPACE_EXISTS:
                        raise
            if indexes:
                database[name].create_indexes(list(indexes))
