"""Mailboxes of a user: the tree of names, their counters, and views of what is in them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import SystemRandom
from typing import Final, TypeVar

import numpy as np
from bson import ObjectId

from mailcore.errors import (
    MailboxBusy,
    MailboxChanged,
    MailboxExists,
    MailboxNotFound,
    MailError,
    NotPermitted,
    TooManyMailboxes,
    UserNotFound,
)
from mailcore.model import flags
from mailcore.model.actor import Actor
from mailcore.model.changes import Cause
from mailcore.model.ids import MailboxId, MailboxName, ModSeq, UidValidity, UserId
from mailcore.model.limits import DEFAULT_LIMITS
from mailcore.model.mailbox import (
    DEFAULT_MAILBOXES,
    INBOX,
    SEPARATOR,
    MailboxEntry,
    MailboxStatus,
    MailboxTree,
    SpecialUse,
    parse_mailbox_name,
)
from mailcore.model.rights import Right
from mailcore.model.uid_set import UidSet
from mailcore.services.access import Access, is_own
from mailcore.services.audit import Audit
from mailcore.services.offload import InlineOffload, Offload
from mailcore.services.tree_changes import renamed, with_special_use, with_subscription, without
from mailcore.store.mailbox.fold import Fold
from mailcore.store.mailbox.head import DELETED, MOVING
from mailcore.store.mailbox.loading import load_view, refresh_view
from mailcore.store.mailbox.log_entry import Op, Stamp, clear_entry, decode_entry
from mailcore.store.mailbox.segments import SegmentRef
from mailcore.store.mailbox.tree import TreeChange
from mailcore.store.mailbox.view import MailboxView, uid_set_of
from mailcore.store.mailbox.view_cache import ViewCache
from mailcore.store.placement import Placement
from mailcore.store.shard import ShardStores

log = logging.getLogger(__name__)

TREE_ATTEMPTS: Final = 20
MAX_TREES: Final = 20_000

Now = Callable[[], float]
Extra = TypeVar("Extra")
_RANDOM = SystemRandom()


@dataclass(frozen=True, slots=True)
class SegmentMap:
    """Which sealed and unsealed segments hold which UIDs; for caches that go by segment."""

    segments: tuple[SegmentRef, ...]
    folded_until: ModSeq
    """Rows added later are in no segment yet."""


class Mailboxes:
    """The door to mailboxes.

    Names are checked here (`parse_mailbox_name`), so callers may pass what a client sent.
    """

    def __init__(
        self,
        placement: Placement,
        views: ViewCache,
        audit: Audit,
        offload: Offload | None = None,
        now: Now = time.time,
    ) -> None:
        self._placement = placement
        self._views = views
        self._audit = audit
        self._offload = offload or InlineOffload()
        self._now = now
        self._trees: dict[UserId, MailboxTree] = {}
        self.access = Access(placement, self.tree)
        self._move_inbox: Callable[[UserId, Actor, MailboxId, MailboxName], None]

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

    def create(
        self,
        user_id: UserId,
        actor: Actor,
        name: str,
        special_use: SpecialUse | None = None,
        *,
        subscribed: bool = False,
    ) -> MailboxId:
        """Make a mailbox: three round trips, and two for the audit trail.

        One separator at the end of the name is ignored (RFC 9051 §6.3.4).
        The head is made first, so a crash leaves at most an empty head that no tree names.

        Raises:
            MailboxExists: there is one of that name.
            MailboxNameInvalid: there can be none.
            TooManyMailboxes: the user has as many as the limit allows.
            NotPermitted: it is somebody else's tree, and the parent does not let the actor create below it.
        """
        wanted = parse_mailbox_name(name.removesuffix(SEPARATOR))
        with self._audit.of_user(actor, "mailbox.created", user_id, {"mailbox": wanted}) as change:
            mailbox_id = self._create(user_id, actor, wanted, special_use, subscribed=subscribed)
            change.after["mailbox_id"] = str(mailbox_id)
        return mailbox_id

    def _create(
        self, user_id: UserId, actor: Actor, wanted: MailboxName, special_use: SpecialUse | None, *, subscribed: bool
    ) -> MailboxId:
        stores = self._stores(user_id)
        for _ in range(TREE_ATTEMPTS):
            tree = self.tree(user_id)
            acl = self.access.acl_of_new(user_id, actor, tree, wanted)
            if tree.find(wanted) is not None:
                raise MailboxExists(wanted)
            if len(tree.entries) >= DEFAULT_LIMITS.mailboxes:
                raise TooManyMailboxes(len(tree.entries))
            mailbox_id = MailboxId(ObjectId())
            entry = MailboxEntry(
                mailbox_id,
                wanted,
                UidValidity(tree.next_uid_validity),
                special_use,
                subscribed or wanted in tree.subscribed_names,
                acl,
            )
            stores.heads.create(user_id, mailbox_id, entry.uid_validity)
            change = TreeChange(tree.next_uid_validity + 1, (*tree.entries, entry), tree.subscribed_names - {wanted})
            changed = stores.trees.replace(user_id, tree, change)
            if changed is not None:
                self._remember(user_id, changed)
                return mailbox_id
            stores.heads.discard_empty(user_id, mailbox_id)
            self._wait_a_little()
        raise MailboxBusy(user_id)

    def create_defaults(self, user_id: UserId, actor: Actor) -> None:
        """Give a user a tree with INBOX and the usual mailboxes; what is there already stays.

        The clock is read once here, for the first UIDVALIDITY: a user made again gets other ones.
        """
        with self._audit.of_user(actor, "mailbox.defaults", user_id):
            self._stores(user_id).trees.create(user_id, max(1, int(self._now()) & 0x7FFFFFFF))
            for name, special_use in DEFAULT_MAILBOXES:
                try:
                    self._create(user_id, actor, parse_mailbox_name(name), special_use, subscribed=True)
                except MailboxExists:
                    continue

    def delete(self, user_id: UserId, actor: Actor, name: str) -> None:
        """Remove a mailbox, not those below it (RFC 9051 §6.3.5); its messages can be restored from `purge`.

        Raises:
            MailboxNotFound: there is none of that name.
            MailboxProtected: INBOX, or one with a special use.
        """
        wanted = parse_mailbox_name(name)

        def change(tree: MailboxTree) -> tuple[TreeChange, MailboxEntry]:
            self.access.require_on(user_id, actor, tree.find(wanted), Right.DELETE_MAILBOX)
            return without(tree, wanted)

        with self._audit.of_user(actor, "mailbox.deleted", user_id, {"mailbox": wanted}) as told:
            _, entry = self.change_tree(user_id, change)
            told.after["mailbox_id"] = str(entry.id)
            self._delete_head(user_id, entry, actor)

    def _delete_head(self, user_id: UserId, entry: MailboxEntry, actor: Actor) -> None:
        stores = self._stores(user_id)
        stamp = Stamp.of(Cause.DELETE_MAILBOX, actor, int(self._now() * 1000))
        stores.heads.delete(user_id, entry.id, clear_entry(stamp, b"delete:" + entry.id.binary), entry.name)
        self._views.forget(user_id, entry.id)
        try:
            stores.annotations.delete(user_id, entry.id)
            Fold(stores, user_id, entry.id, lambda: entry.name, pause=self._offload.pause).run()
        except MailError as error:  # it is deleted; the sweep folds it
            log.warning("mailbox.fold.failed", extra={"mailbox_id": str(entry.id), "reason": repr(error)})

    def rename(self, user_id: UserId, actor: Actor, old: str, new: str) -> None:
        """Give a mailbox, and all below it, another name (RFC 9051 §6.3.6).

        Renaming INBOX moves its messages to a new mailbox and leaves INBOX and what is below it.

        Raises:
            MailboxNotFound: neither a mailbox of the old name nor one below it.
            MailboxExists: a new name is taken.
            MailboxNameInvalid: a new name is none, or lies below the old one.
        """
        source, target = parse_mailbox_name(old), parse_mailbox_name(new.removesuffix(SEPARATOR))

        def change(tree: MailboxTree) -> tuple[TreeChange, None]:
            if not is_own(user_id, actor):
                for entry in (tree.find(source), *tree.below(source)):
                    self.access.require_on(user_id, actor, entry, Right.DELETE_MAILBOX)
                self.access.acl_of_new(user_id, actor, tree, target)
            return renamed(tree, source, target), None

        with self._audit.of_user(actor, "mailbox.renamed", user_id, {"mailbox": source, "to": target}):
            if source == INBOX:
                self._rename_inbox(user_id, actor, target)
            else:
                self.change_tree(user_id, change)

    def set_special_use(self, user_id: UserId, actor: Actor, name: str, special_use: SpecialUse | None) -> None:
        """Say what a mailbox is for (RFC 6154 §4); a use belongs to one mailbox and is taken from the one that had it.

        Raises:
            MailboxNotFound: there is none of that name.
            MailboxProtected: INBOX has its use by its name.
            NotPermitted: it is somebody else's tree.
        """
        wanted = parse_mailbox_name(name)

        def change(tree: MailboxTree) -> tuple[TreeChange | None, None]:
            return with_special_use(tree, wanted, special_use), None

        if not is_own(user_id, actor):
            raise NotPermitted("another's special uses")
        details = {"mailbox": wanted, "use": special_use.value if special_use else None}
        with self._audit.of_user(actor, "mailbox.use_changed", user_id, details):
            self.change_tree(user_id, change)

    def subscribe(self, user_id: UserId, actor: Actor, name: str) -> None:
        """Add a name to the subscribed ones, whether a mailbox has it or not (RFC 9051 §6.3.7).

        Raises:
            MailboxNameInvalid: it can be no mailbox's.
        """
        self._set_subscribed(user_id, actor, parse_mailbox_name(name), subscribed=True)

    def unsubscribe(self, user_id: UserId, actor: Actor, name: str) -> None:
        """Take a name from the subscribed ones; harmless if it is not among them."""
        self._set_subscribed(user_id, actor, parse_mailbox_name(name), subscribed=False)

    def _set_subscribed(self, user_id: UserId, actor: Actor, name: MailboxName, *, subscribed: bool) -> None:
        kind = "mailbox.subscribed" if subscribed else "mailbox.unsubscribed"
        with self._audit.of_user(actor, kind, user_id, {"mailbox": name}):
            self.change_tree(user_id, lambda tree: (with_subscription(tree, name, subscribed=subscribed), None))

    def note_sharer(self, user_id: UserId, owner_id: UserId) -> None:
        """Note that somebody shares a mailbox with a user, so that LIST looks there; one round trip."""
        self._stores(user_id).trees.note_sharer(user_id, owner_id, DEFAULT_LIMITS.sharers)

    def change_tree(
        self, user_id: UserId, change: Callable[[MailboxTree], tuple[TreeChange | None, Extra]]
    ) -> tuple[MailboxTree, Extra]:
        """Change the tree by compare-and-set; `change` returns None if it is as wanted already."""
        stores = self._stores(user_id)
        for _ in range(TREE_ATTEMPTS):
            tree = self.tree(user_id)
            wanted, extra = change(tree)
            if wanted is None:
                return tree, extra
            changed = stores.trees.replace(user_id, tree, wanted)
            if changed is not None:
                return self._remember(user_id, changed), extra
            self._wait_a_little()
        raise MailboxBusy(user_id)

    # -- reading --------------------------------------------------------------------------------

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

    def count_deleted(self, user_id: UserId, mailbox_id: MailboxId) -> tuple[int, int]:
        r"""Return how many messages are \Deleted, and their bytes: as many round trips as `refresh`.

        Raises:
            MailboxChanged: it was deleted.
        """
        view = self.refresh(user_id, mailbox_id)
        sizes = view.sizes[(view.flags & np.uint64(flags.DELETED)) != 0]
        return len(sizes), int(sizes.sum(dtype=np.uint64))

    def cached(self, user_id: UserId, mailbox_id: MailboxId) -> MailboxView | None:
        """Return the newest view this process knows, without the database."""
        return self._views.get(user_id, mailbox_id)

    def forget(self, user_id: UserId, mailbox_id: MailboxId) -> None:
        """Read a mailbox whole next time."""
        self._views.forget(user_id, mailbox_id)

    def segments(self, user_id: UserId, mailbox_id: MailboxId) -> SegmentMap:
        """Return which segments a mailbox has: one round trip.

        Raises:
            MailboxChanged: it was deleted.
        """
        head = self._stores(user_id).heads.read(user_id, mailbox_id)
        if head is None or head.state.state == DELETED:
            raise MailboxChanged(mailbox_id)
        return SegmentMap(head.segments, ModSeq(head.state.log_base_modseq))

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

    def use_mover(self, move_inbox: Callable[[UserId, Actor, MailboxId, MailboxName], None]) -> None:
        """Have INBOX emptied by `move_inbox` when it is renamed; the message service brings it."""
        self._move_inbox = move_inbox

    def _rename_inbox(self, user_id: UserId, actor: Actor, target: MailboxName) -> None:
        inbox = self.find(user_id, INBOX, actor, Right.READ | Right.DELETE_MESSAGES | Right.EXPUNGE)
        self.create(user_id, actor, target)
        self._move_inbox(user_id, actor, inbox.id, target)

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

    @staticmethod
    def _wait_a_little() -> None:
        time.sleep(_RANDOM.uniform(0.001, 0.02))
