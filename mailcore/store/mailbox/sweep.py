"""Sweeping away what crashes left of a user: heads no tree names, segments and row blocks no head names."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from mailcore.model.actor import SYSTEM
from mailcore.model.changes import Cause
from mailcore.model.ids import MailboxId, UserId
from mailcore.store.mailbox.fold import Fold
from mailcore.store.mailbox.head import DELETED, OPEN
from mailcore.store.mailbox.log_entry import Stamp, clear_entry, decode_entry
from mailcore.store.mailbox.row_blocks import pieces_of
from mailcore.store.shard import ShardStores

ORPHAN_AFTER: Final = timedelta(days=1)
"""Longer than anything under way can last; what nothing names after that was left by a crash."""
HEAD_ORPHAN_AFTER: Final = timedelta(hours=1)


@dataclass(slots=True)
class Swept:
    """What a sweep removed."""

    heads: int = 0
    parts: int = 0


def sweep_user(stores: ShardStores, user_id: UserId, now: datetime | None = None) -> Swept:
    """Remove what crashes left of a user: heads no tree names, segments and row blocks no head names.

    A mailbox that no tree names is deleted like any other, so that what was delivered into it
    in its last moment can be restored.
    """
    now = now or datetime.now(UTC)
    swept = Swept()
    tree = stores.trees.read(user_id)
    named = {entry.id for entry in tree} if tree is not None else set()
    for mailbox_id, state in stores.heads.list_mailboxes(user_id):
        if mailbox_id not in named and state == OPEN and mailbox_id.generation_time < now - HEAD_ORPHAN_AFTER:
            stamp = Stamp.of(Cause.DELETE_MAILBOX, SYSTEM, int(now.timestamp() * 1000))
            stores.heads.delete(user_id, mailbox_id, clear_entry(stamp, b"delete:" + mailbox_id.binary), "")
            state = DELETED
        if state == DELETED:
            Fold(stores, user_id, mailbox_id, lambda: "").run()
            if mailbox_id.generation_time < now - ORPHAN_AFTER:
                swept.heads += stores.heads.discard_deleted(user_id, mailbox_id)
        swept.parts += _sweep_parts(stores, user_id, mailbox_id, now - ORPHAN_AFTER)
    return swept


def _sweep_parts(stores: ShardStores, user_id: UserId, mailbox_id: MailboxId, before: datetime) -> int:
    parts = [part.id for part in stores.segments.list_parts(user_id, mailbox_id) if part.created_at < before]
    blocks = [block for block, at in stores.row_blocks.list_blocks(user_id, mailbox_id) if at < before]
    if not parts and not blocks:
        return 0
    head = stores.heads.read(user_id, mailbox_id)  # after the parts: what it names may be younger, never older
    named: set[bytes] = set()
    if head is not None:
        named.update(part for ref in head.segments for part in (ref.rows_id, ref.flags_id))
        named.update(part for _, replaced in head.old_segments for part in replaced)
        named.update(piece for entry in map(decode_entry, head.state.log) for piece in pieces_of(entry))
    parts = [part for part in parts if part not in named]
    blocks = [block for block in blocks if block not in named]
    stores.segments.delete(user_id, mailbox_id, parts)
    stores.row_blocks.delete(user_id, mailbox_id, blocks)
    return len(parts) + len(blocks)
