"""The cache of views: the newest of each mailbox, within its memory, fed by notices where they fit."""

from __future__ import annotations

from bson import ObjectId

from mailcore.model.actor import ActorKind, Door
from mailcore.model.changes import Cause
from mailcore.model.ids import MailboxId, UserId
from mailcore.model.row import NewRow
from mailcore.model.uid_set import UidSet
from mailcore.store.mailbox.columns import EMPTY
from mailcore.store.mailbox.log_entry import (
    LogEntry,
    Stamp,
    append_entry,
    clear_entry,
    encode_entry,
    expunge_entry,
    flags_entry,
)
from mailcore.store.mailbox.packed import pack_rows
from mailcore.store.mailbox.view import MailboxView
from mailcore.store.mailbox.view_cache import ViewCache

STAMP = Stamp(Cause.STORE, ActorKind.USER, Door.IMAP, "x", 1)
USER = UserId(ObjectId())


def append(count: int = 1, flags: int = 0) -> LogEntry:
    return append_entry(STAMP, b"k", pack_rows([NewRow(bytes(12), flags, 1, 2, 3, 4, 5)] * count))


def make_view(count: int, keywords: tuple[str, ...] = ()) -> MailboxView:
    empty = MailboxView.of_columns(
        USER, MailboxId(ObjectId()), EMPTY, uid_validity=1, uid_next=1, modseq=0, flag_sequence=0, keywords=keywords
    )
    return empty.applied([append(count)])


def test_the_least_recently_used_go_when_memory_is_full() -> None:
    views = [make_view(1000) for _ in range(4)]
    cache = ViewCache(limit_bytes=views[0].memory_bytes * 2 + 100)
    cache.put(views[0])
    cache.put(views[1])
    assert cache.get(USER, views[0].mailbox_id) is views[0]
    cache.put(views[2])
    assert cache.get(USER, views[1].mailbox_id) is None
    assert cache.get(USER, views[0].mailbox_id) is views[0]
    assert cache.used_bytes == views[0].memory_bytes + views[2].memory_bytes


def test_one_view_larger_than_the_limit_is_kept_until_the_next() -> None:
    cache = ViewCache(limit_bytes=1)
    big, small = make_view(1000), make_view(1)
    cache.put(big)
    assert cache.get(USER, big.mailbox_id) is big
    cache.put(small)
    assert cache.get(USER, big.mailbox_id) is None
    cache.forget(USER, small.mailbox_id)
    assert cache.used_bytes == 0


def test_an_older_view_does_not_replace_a_newer_one() -> None:
    cache = ViewCache()
    old = make_view(1)
    new = cache.put(old.applied([append()]))
    assert cache.put(old) is new
    assert cache.get(USER, old.mailbox_id) is new


def test_the_next_entry_is_applied_and_no_other() -> None:
    cache = ViewCache()
    view = cache.put(make_view(2))
    entry = encode_entry(append())
    assert cache.apply(USER, view.mailbox_id, view.highest_modseq + 2, entry) is None
    assert cache.apply(USER, view.mailbox_id, view.highest_modseq, entry) is None
    newer = cache.apply(USER, view.mailbox_id, view.highest_modseq + 1, entry)
    assert newer is not None
    assert newer.exists == 3
    assert cache.get(USER, view.mailbox_id) is newer
    gone = encode_entry(expunge_entry(STAMP, b"k", UidSet.of([1])))
    left = cache.apply(USER, view.mailbox_id, newer.highest_modseq + 1, gone)
    assert left is not None
    assert left.uids.tolist() == [2, 3]


def test_what_an_entry_alone_does_not_say_is_left_to_the_head() -> None:
    cache = ViewCache()
    view = cache.put(make_view(2, ("Known",)))
    for entry in (
        flags_entry(STAMP, b"k", UidSet.of([1]), 1 << 9, 0),
        append(1, 1 << 9),
        clear_entry(STAMP, b"k"),
    ):
        assert cache.apply(USER, view.mailbox_id, view.highest_modseq + 1, encode_entry(entry)) is None
    known = flags_entry(STAMP, b"k", UidSet.of([1]), 1 << 8, 0)
    assert cache.apply(USER, view.mailbox_id, view.highest_modseq + 1, encode_entry(known)) is not None


def test_a_notice_that_is_damaged_is_passed_over() -> None:
    cache = ViewCache()
    view = cache.put(make_view(1))
    whole = encode_entry(append())
    for end in range(len(whole)):
        assert cache.apply(USER, view.mailbox_id, view.highest_modseq + 1, whole[:end]) is None
    assert cache.get(USER, view.mailbox_id) is view
