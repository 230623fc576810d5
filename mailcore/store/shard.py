"""One shard: its two databases and a repository for each collection in them."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from pymongo.database import Database

from mailcore.store.client import Document
from mailcore.store.indexes import ensure_indexes


@dataclass(frozen=True, slots=True)
class ShardStores:
    """Everything that is stored of the users of one shard."""

    name: str
    hot: Database[Document]
    cold: Database[Document]
    trees: Any
    heads: Any
    segments: Any
    row_blocks: Any
    vanished: Any
    notes: Any
    message_ids: Any
    blocks: Any
    purge: Any
    messages: Any
    blobs: Any
    blob_refs: Any
    chunks: Any

    @classmethod
    def of(cls, name: str, hot: Database[Document], cold: Database[Document]) -> ShardStores:
        """Build the repositories; nothing is sent yet."""

        def build(module: str, kind: str, *databases: Database[Document]) -> Any:
            try:
                found = getattr(importlib.import_module(f"mailcore.store.{module}"), kind)
            except (ImportError, AttributeError):
                return None
            return found(*databases)

        return cls(
            name,
            hot,
            cold,
            trees=build("mailbox.tree", "MailboxTrees", hot),
            heads=build("mailbox.heads", "Heads", hot),
            segments=build("mailbox.segments", "Segments", hot),
            row_blocks=build("mailbox.row_blocks", "RowBlocks", hot),
            vanished=build("mailbox.vanished", "Vanished", hot),
            notes=build("mailbox.notes", "Notes", hot),
            message_ids=build("mailbox.message_ids", "MessageIds", hot),
            blocks=build("mailbox.blocks", "Blocks", hot),
            purge=build("mailbox.purge", "Purge", hot),
            messages=build("message.messages", "Messages", hot),
            blobs=build("message.blobs", "Blobs", hot),
            blob_refs=build("message.blob_refs", "BlobRefs", hot),
            chunks=build("message.chunks", "Chunks", hot, cold),
        )

    def ensure_indexes(self) -> None:
        """Create missing collections and indexes on both sets."""
        ensure_indexes(self.hot, self.cold)
