"""fsck: proves a mailbox sound, and rebuilds what does not fit together."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from mailcore.errors import MailboxBusy, MailboxNotFound, StoreDamaged
from mailcore.model.flags import KEYWORD_SHIFT
from mailcore.model.ids import MailboxId, UidValidity, UserId
from mailcore.model.limits import DEFAULT_LIMITS
from mailcore.model.mailbox import MailboxEntry
from mailcore.store.mailbox.columns import Columns
from mailcore.store.mailbox.head import DELETED, Head, HeadState, new_head
from mailcore.store.mailbox.log_entry import appended_count, decode_entry
from mailcore.store.mailbox.packed import Array
from mailcore.store.mailbox.replay import count_unseen
from mailcore.store.mailbox.segments import NewPart, SegmentRef, new_parts, pack_table, split, unpack_segment
from mailcore.store.mailbox.tree import TreeChange
from mailcore.store.mailbox.view import MailboxView
from mailcore.store.shard import ShardStores

log = logging.getLogger(__name__)

CHECKED_AT_ONCE: Final = 500
ATTEMPTS: Final = 20
"""So often a rebuild begins anew when others change the mailbox meanwhile."""
UNKNOWN_CHANGES: Final = 1 << 32
"""More changes than a mailbox whose head is lost can have had since: no MODSEQ is given twice."""

PresentMessages = Callable[[Sequence[bytes]], "set[bytes]"]
"""Tells which of some message ids have a stored message."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is not as it must be."""

    kind: str
    """A dotted name: what is wrong."""
    detail: str = ""


def check_mailbox(
    stores: ShardStores, user_id: UserId, mailbox_id: MailboxId, present: PresentMessages | None = None
) -> list[Problem]:
    """Return what is wrong with a mailbox; nothing, if it is sound.

    Read while others write, a mailbox may look wrong for a moment: then look again.
    """
    try:
        head = stores.heads.read(user_id, mailbox_id)
    except StoreDamaged as error:
        return [Problem("head.damaged", str(error))]
    if head is None:
        return [Problem("head.missing")]
    problems = list(_check_segments(stores, user_id, mailbox_id, head))
    if problems:
        return problems
    try:
        view = _view(stores, user_id, mailbox_id, head)
    except (LookupError, StoreDamaged) as error:
        return [Problem("log.damaged", str(error))]
    problems += _check_counters(head, view)
    if present is not None:
        for start in range(0, view.exists, CHECKED_AT_ONCE):
            oids = [view.message_oid(row) for row in range(start, min(view.exists, start + CHECKED_AT_ONCE))]
            problems += [Problem("message.missing", oid.hex()) for oid in sorted(set(oids) - present(oids))]
    return problems


def check_user(
    stores: ShardStores, user_id: UserId, present: PresentMessages | None = None
) -> dict[MailboxId, list[Problem]]:
    """Return what is wrong with any mailbox of a user, and with the tree that names them."""
    problems: dict[MailboxId, list[Problem]] = {}
    tree = stores.trees.read(user_id)
    entries = {entry.id: entry for entry in tree} if tree is not None else {}
    for mailbox_id, entry in entries.items():
        problems[mailbox_id] = check_mailbox(stores, user_id, mailbox_id, present)
        status = stores.heads.status(user_id, [mailbox_id]).get(mailbox_id)
        if status is not None and status.deleted:
            problems[mailbox_id].append(Problem("tree.names_deleted", entry.name))
        if status is not None and status.uid_validity != entry.uid_validity:
            problems[mailbox_id].append(Problem("tree.uid_validity", entry.name))
    for mailbox_id, state in stores.heads.list_mailboxes(user_id):
        if mailbox_id not in entries and state != DELETED:
            problems[mailbox_id] = [Problem("head.not_in_tree")]
    return {mailbox_id: found for mailbox_id, found in problems.items() if found}


def _check_segments(stores: ShardStores, user_id: UserId, mailbox_id: MailboxId, head: Head) -> Iterator[Problem]:
    last = 0
    for ref in head.segments:
        try:
            (rows,) = stores.segments.load(user_id, mailbox_id, [ref])
        except (LookupError, StoreDamaged) as error:
            yield Problem("segment.unreadable", str(error))
            continue
        name = ref.rows_id.hex()
        if (len(rows), int(rows.uids[0]), int(rows.uids[-1])) != (ref.count, ref.first_uid, ref.last_uid):
            yield Problem("segment.table", name)
        if int(rows.uids[0]) <= last or (rows.uids[1:] <= rows.uids[:-1]).any():
            yield Problem("segment.uids", name)
        if int(rows.modseqs.max()) > head.state.log_base_modseq:
            yield Problem("segment.modseq", name)
        last = int(rows.uids[-1])
    if last >= head.log_base_uid:
        yield Problem("head.log_base_uid", str(head.log_base_uid))
    if len(head.folded_uids) != min(head.state.log_base_modseq, len(head.folded_uids), DEFAULT_LIMITS.recent_keys):
        yield Problem("head.folded_uids", str(len(head.folded_uids)))


def _check_counters(head: Head, view: MailboxView) -> Iterator[Problem]:
    state = head.state
    for name, folded, counted in (
        ("exists", view.exists, state.exists),
        ("unseen", view.unseen, state.unseen),
        ("size_bytes", view.size_bytes, state.size_bytes),
        ("uid_next", view.uid_next, state.uid_next),
        ("log_bytes", sum(map(len, state.log)), state.log_bytes),
    ):
        if folded != counted:
            yield Problem(f"head.{name}", f"{counted} instead of {folded}")
    if view.exists and int(np.bitwise_or.reduce(view.flags)) >> KEYWORD_SHIFT >= 1 << len(state.keywords):
        yield Problem("head.keywords", str(len(state.keywords)))


def _view(stores: ShardStores, user_id: UserId, mailbox_id: MailboxId, head: Head) -> MailboxView:
    entries = stores.row_blocks.resolve(user_id, mailbox_id, [decode_entry(stored) for stored in head.state.log])
    rows = Columns.concatenate(list(stores.segments.load(user_id, mailbox_id, head.segments)))
    return _based(user_id, mailbox_id, head, rows, head.log_base_uid).applied(entries)


def _based(user_id: UserId, mailbox_id: MailboxId, head: Head, rows: Columns, uid_next: int) -> MailboxView:
    return MailboxView.of_columns(
        user_id,
        mailbox_id,
        rows,
        uid_validity=head.state.uid_validity,
        uid_next=uid_next,
        modseq=head.state.log_base_modseq,
        flag_sequence=0,
        keywords=head.state.keywords,
    )


# -- rebuild ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild saved."""

    exists: int
    new_uid_validity: bool
    """UIDs could not be proven, so that clients have to forget what they knew."""


def rebuild_mailbox(
    stores: ShardStores, user_id: UserId, mailbox_id: MailboxId, present: PresentMessages | None = None
) -> Rebuilt:
    """Make a mailbox sound from what survives of head, log and segments; rows without message are left out.

    Counters are counted anew. A head that is lost, or a log that cannot be read, costs the
    UIDVALIDITY. Messages that no row names any more are found by `unnamed_messages`.

    Raises:
        MailboxNotFound: the user's tree does not name the mailbox.
        MailboxBusy: others changed it each time; nothing is rebuilt, and the sweep takes what was written for it.
    """
    for _ in range(ATTEMPTS):
        rebuilt = _rebuild_once(stores, user_id, mailbox_id, present)
        if rebuilt is not None:
            return rebuilt
    raise MailboxBusy(mailbox_id)


def _rebuild_once(
    stores: ShardStores, user_id: UserId, mailbox_id: MailboxId, present: PresentMessages | None
) -> Rebuilt | None:
    """Rebuild, unless somebody changes the mailbox meanwhile."""
    tree = stores.trees.read(user_id)
    entry = tree.find_id(mailbox_id) if tree is not None else None
    if entry is None:
        raise MailboxNotFound(mailbox_id)
    head, seen = _read_head(stores, user_id, mailbox_id)
    if head is not None:
        rows, certain = _rows_of_head(stores, user_id, mailbox_id, head)
    else:
        rows, certain = _rows_of_parts(stores, user_id, mailbox_id), False
    if present is not None:
        rows = rows.take(_present_rows(rows, present))
    if not certain:
        entry = _new_uid_validity(stores, user_id, entry)
    document, parts = _rebuilt_head(user_id, mailbox_id, head, rows, entry.uid_validity)
    stores.segments.insert(user_id, mailbox_id, parts)
    if not stores.heads.replace(user_id, mailbox_id, document, seen):
        return None
    log.warning(
        "mailbox.rebuilt",
        extra={"user_id": str(user_id), "mailbox_id": str(mailbox_id), "exists": len(rows), "certain": certain},
    )
    return Rebuilt(len(rows), not certain)


def unnamed_messages(stores: ShardStores, user_id: UserId, stored: Iterator[bytes]) -> list[bytes]:
    """Return which stored messages no row of any mailbox, live or expunged, names."""
    named = set(named_messages(stores, user_id))
    for block in stores.purge.of_user(user_id):
        named.update(map(bytes, block.rows.message_oids))
    return [oid for oid in stored if oid not in named]


def named_messages(stores: ShardStores, user_id: UserId) -> Iterator[bytes]:
    """Return every message id that a segment or log of a user names, even if its row is expunged in the log."""
    for mailbox_id, head in stores.heads.each(user_id):
        for rows in stores.segments.load(user_id, mailbox_id, head.segments):
            yield from map(bytes, rows.message_oids)
        entries = [decode_entry(stored) for stored in head.state.log]
        for entry in stores.row_blocks.resolve(user_id, mailbox_id, entries):
            if entry.appended:
                yield from map(bytes, entry.rows()["message_oid"])


def _read_head(stores: ShardStores, user_id: UserId, mailbox_id: MailboxId) -> tuple[Head | None, HeadState | None]:
    """Return a head, None if it is damaged; and what is there to be replaced."""
    try:
        head = stores.heads.read(user_id, mailbox_id)
    except StoreDamaged:
        return None, stores.heads.state_of(user_id, mailbox_id)
    return head, head.state if head is not None else None


def _rows_of_head(stores: ShardStores, user_id: UserId, mailbox_id: MailboxId, head: Head) -> tuple[Columns, bool]:
    """Return the rows that the head's segments and log still give, and whether their UIDs are certain."""
    parts: list[Columns] = []
    for ref in head.segments:
        try:
            parts += stores.segments.load(user_id, mailbox_id, [ref])
        except (LookupError, StoreDamaged) as error:
            log.warning("mailbox.segment.lost", extra={"mailbox_id": str(mailbox_id), "segment": str(error)})
    rows = Columns.concatenate(parts)
    base_uid, certain = _base_uid(head, rows)
    view = _based(user_id, mailbox_id, head, rows, base_uid)
    for stored in head.state.log:
        try:
            entry = decode_entry(stored)
        except StoreDamaged as error:
            log.warning("mailbox.log.lost", extra={"mailbox_id": str(mailbox_id), "entry": str(error)})
            return view.columns(), False
        try:
            view = view.applied(stores.row_blocks.resolve(user_id, mailbox_id, [entry]))
        except (LookupError, StoreDamaged) as error:  # the UIDs of what it added are given, and gone
            log.warning("mailbox.log.lost", extra={"mailbox_id": str(mailbox_id), "entry": str(error)})
            view = _based(user_id, mailbox_id, head, view.columns(), view.uid_next + entry.appended)
    return view.columns(), certain


def _base_uid(head: Head, rows: Columns) -> tuple[int, bool]:
    """Return the first UID of the log, and whether that is certain."""
    last = int(rows.uids.max(initial=0))
    if head.log_base_uid > last:
        return head.log_base_uid, True
    by_end = head.state.uid_next - sum(appended_count(stored) for stored in head.state.log)
    return (by_end, True) if by_end > last else (last + 1, False)


def _rows_of_parts(stores: ShardStores, user_id: UserId, mailbox_id: MailboxId) -> Columns:
    """Return rows from whatever parts of segments lie about: of each UID the newest, without those that vanished."""
    parts = stores.segments.list_parts(user_id, mailbox_id)
    newest_flags = {part.rows_id: part.id for part in parts if not part.holds_rows}
    found: list[Columns] = []
    for part in parts:
        flags_id = newest_flags.get(part.id)
        if not part.holds_rows or flags_id is None:
            continue
        rows = stores.segments.read_part(user_id, mailbox_id, part.id)
        flags = stores.segments.read_part(user_id, mailbox_id, flags_id)
        if rows is not None and flags is not None:
            try:
                found.append(unpack_segment(SegmentRef(part.id, flags_id, -1, 0, 0), rows, flags))
            except StoreDamaged as error:
                log.warning("mailbox.segment.lost", extra={"mailbox_id": str(mailbox_id), "segment": str(error)})
    every = Columns.concatenate(found[::-1])  # newest first, for `unique` keeps the first
    _, first = np.unique(every.uids, return_index=True)
    rows_left = every.take(first)
    vanished = stores.vanished.since(user_id, mailbox_id, 0)
    return rows_left.take(np.array([uid not in vanished for uid in rows_left.uids.tolist()], np.bool_))


def _present_rows(rows: Columns, present: PresentMessages) -> Array:
    kept = np.ones(len(rows), np.bool_)
    for start in range(0, len(rows), CHECKED_AT_ONCE):
        oids = [bytes(oid) for oid in rows.message_oids[start : start + CHECKED_AT_ONCE]]
        there = present(oids)
        kept[start : start + len(oids)] = [oid in there for oid in oids]
    return kept


def _new_uid_validity(stores: ShardStores, user_id: UserId, entry: MailboxEntry) -> MailboxEntry:
    for _ in range(ATTEMPTS):
        tree = stores.trees.read(user_id)
        if tree is None or tree.find_id(entry.id) is None:
            raise MailboxNotFound(entry.id)
        changed = replace(entry, uid_validity=UidValidity(tree.next_uid_validity))
        entries = [changed if each.id == entry.id else each for each in tree]
        if stores.trees.replace(user_id, tree, TreeChange(tree.next_uid_validity + 1, entries, tree.subscribed_names)):
            return changed
    raise MailboxBusy(entry.id)


def _rebuilt_head(
    user_id: UserId, mailbox_id: MailboxId, head: Head | None, rows: Columns, uid_validity: int
) -> tuple[dict[str, object], list[NewPart]]:
    highest = head.state.highest_modseq if head is not None else int(rows.modseqs.max(initial=0)) + UNKNOWN_CHANGES
    uid_next = max(head.state.uid_next if head is not None else 1, int(rows.uids.max(initial=0)) + 1)
    rows = replace(rows, modseqs=np.full(len(rows), highest + 1, np.uint64))  # clients shall look at all flags again
    table = []
    parts: list[NewPart] = []
    for piece in split(rows, DEFAULT_LIMITS.segment_rows):
        ref, made = new_parts(piece)
        table.append(ref)
        parts += made
    keywords = _keywords(head.state.keywords if head is not None else (), rows)
    document = new_head(user_id, mailbox_id, uid_validity) | {
        "uid_next": uid_next,
        "highest_modseq": highest + 1,
        "flag_sequence": (head.state.flag_sequence if head is not None else 0) + 1,
        "exists": len(rows),
        "unseen": count_unseen(rows.flags),
        "size_bytes": int(rows.sizes.sum(dtype=np.uint64)),
        "generation": (head.state.generation if head is not None else 0) + 1,
        "collection_epoch": (head.state.collection_epoch if head is not None else 0) + 1,
        "vanished_floor": highest + 1,
        "log_base_modseq": highest + 1,
        "log_base_uid": uid_next,
        "keywords": keywords,
        "segments": pack_table(table),
    }
    return document, parts


def _keywords(known: tuple[str, ...], rows: Columns) -> list[str]:
    """Return the list of keywords; bits whose names are lost get one."""
    used = int(np.bitwise_or.reduce(rows.flags)) >> KEYWORD_SHIFT if len(rows) else 0
    return [*known, *(f"Recovered{number}" for number in range(len(known) + 1, used.bit_length() + 1))]
