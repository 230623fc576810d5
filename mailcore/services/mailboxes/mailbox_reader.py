"""Reading mailboxes of a user: the tree of names, their counters, and views of what is in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from mailcore.errors import MailboxChanged, MailboxNotFound, UserNotFound
from mailcore.model import flags
from mailcore.model.actor import Actor
from mailcore.model.ids import MailboxId, ModSeq, UidValidity, UserId
from mailcore.model.mailbox import MailboxEntry, MailboxStatus, MailboxTree, parse_mailbox_name
from mailcore.model.rights import Right
from mailcore.model.uid_set import UidSet
from mailcore.services.mailboxes.access import Access
from mailcore.services.process.offload import Offload
from mailcore.store.mailbox.head import DELETED, MOVING
from mailcore.store.mailbox.loading import load_view, refresh_view
from mailcore.store.mailbox.log_entry import Op, decode_entry
from mailcore.store.mailbox.notes import Note
from mailcore.store.mailbox.view import MailboxView, uid_set_of
from mailcore.store.mailbox.view_cache import ViewCache
from mailcore.store.placement import Placement
from mailcore.store.shard import ShardStores

MAX_TREES: Final = 20_000


class MailboxReader:
    """What can be known of mailboxes; `Mailboxes` adds what changes them.

    Names are checked here (`parse_mailbox_name`), so callers may pass what a client sent.
    """

    def __init__(self, placement: Placement, views: ViewCache, offload: Offload) -> None:
        self._placement = placement
        self._views = views
        self._offload = offload
        self._trees: dict[UserId, MailboxTree] = {}
        self.access = Access(placement, self.tree)

    # -- tree -----------------------------------------------------------------------------------

    def tree(self, user_id: UserId) -> MailboxTree:
        """Return all mailboxes of a user as they are now: one small round trip, two if they changed.

        Raises:
            UserNotFound: there is no such user.
            StoreUnavailable: the shard did not answer.
        """
        known = self._trees.get(user_id)
        found = self._stores(user_id).trees.read(user_id, known)
        if found is None:
            self._trees.pop(user_id, None)
            raise UserNotFound(user_id)
        return self._remember(user_id, found)

    def tree_cached(self, user_id: UserId) -> MailboxTree:
        """Return the tree this process knows, however old; a commit finds out if it is outdated."""
        known = self._trees.get(user_id)
        return known if known is not None else self.tree(user_id)

    def forget_tree(self, user_id: UserId) -> None:
        """Read the user's tree anew next time."""
        self._trees.pop(user_id, None)

    def find(self, user_id: UserId, name: str, actor: Actor | None = None, needed: Right = Right.READ) -> MailboxEntry:
        """Return the mailbox of that name: one round trip.

        Raises:
            MailboxNotFound: there is none, or none that `actor` may know of.
            MailboxNameInvalid: there can be none.
            NotPermitted: `actor` has not the rights needed.
        """
        entry = self.tree(user_id).find(parse_mailbox_name(name))
        if entry is None:
            raise MailboxNotFound(name)
        if actor is not None:
            self.access.require_on(user_id, actor, entry, needed)
        return entry

    # -- what is in them -------------------------------------------------------------------------

    def status(self, user_id: UserId, mailbox_ids: Sequence[MailboxId]) -> dict[MailboxId, MailboxStatus]:
        """Return the counters of several mailboxes: one round trip. One that is gone counts as deleted.

        Raises:
            StoreUnavailable: the shard did not answer.
        """
        found = self._stores(user_id).heads.status(user_id, mailbox_ids)
        gone = MailboxStatus(0, 0, 0, 1, UidValidity(1), ModSeq(0), deleted=True)
        return {mailbox_id: found.get(mailbox_id, gone) for mailbox_id in mailbox_ids}

    def open(self, user_id: UserId, name: str, actor: Actor | None = None) -> MailboxView:
        """Return what is in a mailbox: two round trips, and one for each 64 segments not in memory.

        Raises:
            MailboxNotFound: there is none of that name, or none that `actor` may know of.
            NotPermitted: `actor` may not read it.
            StoreUnavailable: the shard did not answer.
        """
        entry = self.find(user_id, name, actor)
        try:
            return self.refresh(user_id, entry.id)
        except MailboxChanged:
            raise MailboxNotFound(name) from None  # deleted since the tree was read

    def refresh(self, user_id: UserId, mailbox_id: MailboxId) -> MailboxView:
        """Return a mailbox as it is now: one small round trip if it is in memory and little happened.

        Raises:
            MailboxChanged: it was deleted.
            StoreUnavailable: the shard did not answer, or only with an older state.
        """
        stores = self._stores(user_id)
        view = self._views.get(user_id, mailbox_id)
        if view is None:
            return self._load(stores, user_id, mailbox_id)
        try:
            view, state = refresh_view(stores, view, self._offload.pause)
            if state.state == MOVING:
                self._placement.forget(user_id)
                new_home = self._stores(user_id)
                if new_home is not stores:  # the user has moved already
                    self._views.forget(user_id, mailbox_id)
                    return self._load(new_home, user_id, mailbox_id)
        except MailboxChanged:
            self._views.forget(user_id, mailbox_id)
            raise
        return self._views.put(view)

    def refresh_many(self, user_id: UserId, mailbox_ids: Sequence[MailboxId]) -> dict[MailboxId, MailboxView]:
        """Return mailboxes as they are now: one small round trip for all that did not change, and those of `refresh`.

        One that was deleted is left out.

        Raises:
            StoreUnavailable: the shard did not answer.
        """
        cached = ((mailbox_id, self._views.get(user_id, mailbox_id)) for mailbox_id in mailbox_ids)
        known = {mailbox_id: view for mailbox_id, view in cached if view is not None}
        seen = {mailbox_id: int(view.highest_modseq) for mailbox_id, view in known.items()}
        same = self._stores(user_id).heads.unchanged(user_id, seen)
        found = {}
        for mailbox_id in mailbox_ids:
            try:
                found[mailbox_id] = known[mailbox_id] if mailbox_id in same else self.refresh(user_id, mailbox_id)
            except MailboxChanged:
                continue
        return found

    def count_deleted(self, user_id: UserId, mailbox_id: MailboxId, modseq: ModSeq) -> tuple[int, int]:
        r"""Return how many messages are \Deleted, and their bytes: as many round trips as `refresh`.

        None if this process knows the mailbox as of `modseq`.

        Raises:
            MailboxChanged: it was deleted.
        """
        view = self.cached(user_id, mailbox_id)
        if view is None or view.highest_modseq < modseq:
            view = self.refresh(user_id, mailbox_id)
        sizes = view.sizes[(view.flags & np.uint64(flags.DELETED)) != 0]
        return len(sizes), int(sizes.sum(dtype=np.uint64))

    def cached(self, user_id: UserId, mailbox_id: MailboxId) -> MailboxView | None:
        """Return the newest view this process knows, without the database."""
        return self._views.get(user_id, mailbox_id)

    def forget(self, user_id: UserId, mailbox_id: MailboxId) -> None:
        """Read a mailbox whole next time."""
        self._views.forget(user_id, mailbox_id)

    def notes(self, user_id: UserId, mailbox_id: MailboxId, uids: Sequence[int]) -> dict[int, Note]:
        """Return what is kept beside copies of messages, by UID: one round trip, none for no UIDs."""
        return self._stores(user_id).notes.get(user_id, mailbox_id, uids)

    def vanished_since(self, user_id: UserId, mailbox_id: MailboxId, modseq: int) -> UidSet:
        """Return the UIDs expunged after a MODSEQ (QRESYNC, RFC 7162 §3.2.5.2): three small round trips.

        Where that is not known any more, every UID given so far that is not there now: some may
        have gone before, which the RFC allows.

        Raises:
            MailboxChanged: it was deleted.
        """
        stores = self._stores(user_id)
        head = stores.heads.read(user_id, mailbox_id)
        if head is None or head.state.state == DELETED:
            raise MailboxChanged(mailbox_id)
        vanished = stores.vanished.since(user_id, mailbox_id, modseq)
        view = self.refresh(user_id, mailbox_id)
        floor = stores.heads.vanished_floor(user_id, mailbox_id)
        if modseq < floor:
            return uid_set_of(view.uids).complement(view.uid_next - 1)
        try:
            entries = stores.row_blocks.resolve(
                user_id, mailbox_id, [decode_entry(stored) for stored in head.state.log]
            )
        except LookupError:
            return uid_set_of(view.uids).complement(view.uid_next - 1)
        for number, entry in enumerate(entries, head.state.log_base_modseq + 1):
            if number > modseq and entry.op is Op.EXPUNGE:
                vanished |= UidSet.of_ranges((int(low), int(high)) for low, high in entry.ranges())
        return vanished

    # -- parts ----------------------------------------------------------------------------------

    def _load(self, stores: ShardStores, user_id: UserId, mailbox_id: MailboxId) -> MailboxView:
        try:
            return self._views.put(load_view(stores, user_id, mailbox_id, self._offload.pause))
        except MailboxNotFound:
            raise MailboxChanged(mailbox_id) from None

    def _stores(self, user_id: UserId) -> ShardStores:
        return self._placement.home(user_id).shard

    def _remember(self, user_id: UserId, tree: MailboxTree) -> MailboxTree:
        if len(self._trees) >= MAX_TREES:
            self._trees.clear()
        self._trees[user_id] = tree
        return tree
