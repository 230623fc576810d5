"""Reading a mailbox: whole from its head and segments, or just what is new since a view was made."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final

from mailcore.errors import MailboxChanged, MailboxNotFound, StoreDamaged, StoreUnavailable
from mailcore.model.ids import MailboxId, UserId
from mailcore.store.mailbox.columns import Columns
from mailcore.store.mailbox.head import DELETED, Head, HeadState
from mailcore.store.mailbox.log_entry import LogEntry, decode_entry
from mailcore.store.mailbox.view import MailboxView
from mailcore.store.shard import ShardStores

log = logging.getLogger(__name__)

ATTEMPTS: Final = 6


def load_view(
    stores: ShardStores, user_id: UserId, mailbox_id: MailboxId, pause: Callable[[], None] = lambda: None
) -> MailboxView:
    """Return a mailbox as it is now: one round trip for the head, one for each 64 segments.

    Raises:
        MailboxNotFound: it has no head.
        MailboxChanged: it is deleted.
        StoreDamaged: segments are missing although the head names them.
    """
    generation = -1
    for _ in range(ATTEMPTS):
        head = stores.heads.read(user_id, mailbox_id)
        if head is None:
            raise MailboxNotFound(mailbox_id)
        if head.state.state == DELETED:
            raise MailboxChanged(mailbox_id)
        try:
            return _view_of(stores, user_id, mailbox_id, head, pause)
        except LookupError as error:
            missing = str(error)
            if head.state.generation == generation:
                break  # nobody folded meanwhile, and still it is not there
            generation = head.state.generation
    log.error(
        "mailbox.segment.missing",
        extra={"user_id": str(user_id), "mailbox_id": str(mailbox_id), "segment": missing},
    )
    raise StoreDamaged("segment missing", mailbox_id, missing)


def _view_of(
    stores: ShardStores, user_id: UserId, mailbox_id: MailboxId, head: Head, pause: Callable[[], None]
) -> MailboxView:
    entries = stores.row_blocks.resolve(user_id, mailbox_id, [decode_entry(stored) for stored in head.state.log])
    parts: list[Columns] = []
    for part in stores.segments.load(user_id, mailbox_id, head.segments):
        parts.append(part)
        pause()
    state = head.state
    base = MailboxView.of_columns(
        user_id,
        mailbox_id,
        Columns.concatenate(parts),
        uid_validity=state.uid_validity,
        uid_next=head.log_base_uid,
        modseq=state.log_base_modseq,
        flag_sequence=state.flag_sequence - sum(entry.changes_flags for entry in entries),
        keywords=state.keywords,
        generation=state.generation,
    )
    return compared(base.applied(entries), state) if entries else compared(base, state)


def refresh_view(
    stores: ShardStores, view: MailboxView, pause: Callable[[], None] = lambda: None
) -> tuple[MailboxView, HeadState]:
    """Return the newest view and the head it was made from: one small read if little happened.

    A head older than the view is read again, for what was told to a client must not be taken back.

    Raises:
        MailboxChanged: the mailbox is deleted or gone.
        StoreUnavailable: the database keeps answering with an older state.
    """
    user_id, mailbox_id = view.user_id, view.mailbox_id
    for _ in range(ATTEMPTS):
        state = stores.heads.refresh(user_id, mailbox_id, view.highest_modseq, view.log_base_modseq)
        if state is None or state.state == DELETED or state.uid_validity != view.uid_validity:
            raise MailboxChanged(mailbox_id)
        if state.highest_modseq < view.highest_modseq:
            continue
        if state.log_base_modseq > view.highest_modseq:
            return load_view(stores, user_id, mailbox_id, pause), state
        view = view.rebased(state.keywords, state.generation, state.log_base_modseq)
        try:
            entries = resolved(stores, view, state.log)
        except LookupError:
            return load_view(stores, user_id, mailbox_id, pause), state
        return compared(view.applied(entries) if entries else view, state), state
    raise StoreUnavailable("head is older than what was seen", mailbox_id)


def resolved(stores: ShardStores, view: MailboxView, stored: Sequence[bytes]) -> list[LogEntry]:
    """Return stored entries decoded, with what their row blocks hold."""
    return stores.row_blocks.resolve(view.user_id, view.mailbox_id, [decode_entry(entry) for entry in stored])


def compared(view: MailboxView, state: HeadState) -> MailboxView:
    """Return the view; say in the log if its counters are not those of the head it was made from."""
    folded = (view.highest_modseq, view.uid_next, view.flag_sequence, view.exists, view.unseen, view.size_bytes)
    counted = (
        state.highest_modseq, state.uid_next, state.flag_sequence, state.exists, state.unseen, state.size_bytes
    )  # fmt: skip
    if folded != counted:
        log.error(
            "mailbox.counters_differ",
            extra={
                "user_id": str(view.user_id),
                "mailbox_id": str(view.mailbox_id),
                "folded": list(map(int, folded)),
                "head": list(map(int, counted)),
            },
        )
    return view
