"""Changing which mailboxes a user has: names, special uses, subscriptions."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from random import SystemRandom
from typing import Final, TypeVar

from bson import ObjectId

from mailcore.errors import (
    MailboxBusy,
    MailboxExists,
    MailError,
    NotPermitted,
    TooManyMailboxes,
)
from mailcore.model.actor import Actor
from mailcore.model.changes import Cause
from mailcore.model.event import Details
from mailcore.model.ids import MailboxId, MailboxName, UidValidity, UserId
from mailcore.model.limits import DEFAULT_LIMITS, within
from mailcore.model.mailbox import (
    DEFAULT_MAILBOXES,
    INBOX,
    SEPARATOR,
    Acl,
    MailboxEntry,
    MailboxTree,
    SpecialUse,
    parse_mailbox_name,
)
from mailcore.model.rights import Right
from mailcore.services.events.audit import Audit
from mailcore.services.mailboxes.access import check_own_name, is_own
from mailcore.services.mailboxes.mailbox_reader import MailboxReader
from mailcore.services.mailboxes.notices import Notices
from mailcore.services.mailboxes.tree_changes import renamed, with_options, with_special_use, with_subscription, without
from mailcore.services.process.offload import InlineOffload, Offload
from mailcore.store.mailbox.fold import Fold
from mailcore.store.mailbox.log_entry import Stamp, clear_entry
from mailcore.store.mailbox.tree import TreeChange
from mailcore.store.mailbox.view_cache import ViewCache
from mailcore.store.placement import Placement

log = logging.getLogger(__name__)

TREE_ATTEMPTS: Final = 20

Now = Callable[[], float]
Extra = TypeVar("Extra")
_RANDOM = SystemRandom()


class Mailboxes(MailboxReader):
    """The door to mailboxes: reading them, and changing which there are."""

    def __init__(
        self,
        placement: Placement,
        views: ViewCache,
        notices: Notices,
        audit: Audit,
        offload: Offload | None = None,
        now: Now = time.time,
    ) -> None:
        super().__init__(placement, views, offload or InlineOffload())
        self._notices = notices
        self._audit = audit
        self._now = now
        self._move_inbox: Callable[[UserId, Actor, MailboxId, MailboxName], None]

    def create(
        self,
        user_id: UserId,
        actor: Actor,
        name: str,
        special_use: SpecialUse | None = None,
        *,
        subscribed: bool = False,
        hidden: bool = False,
        retention_ms: int = 0,
        encrypts: bool = False,
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
        wanted = check_own_name(parse_mailbox_name(name.removesuffix(SEPARATOR)))
        if actor.dry_run:
            self._check_new(user_id, actor, self.tree(user_id), wanted)
        details: Details = {"mailbox": wanted}
        if hidden or retention_ms or encrypts:
            details = {**details, "hidden": hidden, "retention_ms": retention_ms, "encrypts": encrypts}
        with self._audit.of_user(actor, "mailbox.created", user_id, details) as change:
            entry = _new(wanted, special_use, subscribed=subscribed)
            entry = replace(entry, hidden=hidden, retention_ms=retention_ms, encrypts=encrypts)
            mailbox_id = self._create(user_id, actor, entry)
            change.after["mailbox_id"] = str(mailbox_id)
        return mailbox_id

    def _check_new(self, user_id: UserId, actor: Actor, tree: MailboxTree, wanted: MailboxName, others: int = 0) -> Acl:
        """Return the rights that others have on a new mailbox, which is made after so many others.

        Raises:
            MailboxExists, TooManyMailboxes, NotPermitted: as `create`.
        """
        acl = self.access.acl_of_new(user_id, actor, tree, wanted)
        if tree.find(wanted) is not None:
            raise MailboxExists(wanted)
        limit = self._placement.home(user_id).limits.mailboxes
        if len(tree.entries) + others >= within(limit, DEFAULT_LIMITS.mailboxes):
            raise TooManyMailboxes(len(tree.entries))
        return acl

    def _create(self, user_id: UserId, actor: Actor, wanted: MailboxEntry) -> MailboxId:
        """Make a mailbox; its id, UIDVALIDITY and rights are given here."""
        for _ in range(TREE_ATTEMPTS):
            tree = self.tree(user_id)
            acl = self._check_new(user_id, actor, tree, wanted.name)
            added = self._add(user_id, tree, [replace(wanted, acl=acl)])
            if added:
                return added[0].id
            self._wait_a_little()
        raise MailboxBusy(user_id)

    def _add(self, user_id: UserId, tree: MailboxTree, wanted: Sequence[MailboxEntry]) -> list[MailboxEntry]:
        """Make mailboxes together, their heads first; return none if somebody else changed the tree meanwhile."""
        stores = self._stores(user_id)
        entries = [
            replace(
                each,
                id=MailboxId(ObjectId()),
                uid_validity=UidValidity(tree.next_uid_validity + place),
                subscribed=each.subscribed or each.name in tree.subscribed_names,
            )
            for place, each in enumerate(wanted)
        ]
        stores.heads.create(user_id, {entry.id: entry.uid_validity for entry in entries})
        names = tree.subscribed_names - {entry.name for entry in entries}
        change = TreeChange(tree.next_uid_validity + len(entries), (*tree.entries, *entries), names)
        changed = stores.trees.replace(user_id, tree, change)
        if changed is None:
            for entry in entries:
                stores.heads.discard_empty(user_id, entry.id)
            return []
        self._adopt(user_id, changed)
        return entries

    def create_defaults(self, user_id: UserId, actor: Actor) -> None:
        """Give a user a tree with INBOX and the usual mailboxes; what is there already stays.

        The clock is read once here, for the first UIDVALIDITY: a user made again gets other ones. Four round trips,
        and two for the audit trail.

        Raises:
            TooManyMailboxes: the limit allows fewer.
        """
        defaults = [_new(parse_mailbox_name(name), use, subscribed=True) for name, use in DEFAULT_MAILBOXES]
        with self._audit.of_user(actor, "mailbox.defaults", user_id):
            self._stores(user_id).trees.create(user_id, max(1, int(self._now()) & 0x7FFFFFFF))
            for _ in range(TREE_ATTEMPTS):
                tree = self.tree(user_id)
                missing = [each for each in defaults if tree.find(each.name) is None]
                rights = [self._check_new(user_id, actor, tree, each.name, n) for n, each in enumerate(missing)]
                wanted = [replace(each, acl=acl) for each, acl in zip(missing, rights, strict=True)]
                if not wanted or self._add(user_id, tree, wanted):
                    return
                self._wait_a_little()
            raise MailboxBusy(user_id)

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

        self._rehearse(user_id, actor, change)
        with self._audit.of_user(actor, "mailbox.deleted", user_id, {"mailbox": wanted}) as told:
            _, entry = self.change_tree(user_id, change)
            told.after["mailbox_id"] = str(entry.id)
            self._delete_head(user_id, entry, actor)

    def _delete_head(self, user_id: UserId, entry: MailboxEntry, actor: Actor) -> None:
        stores = self._stores(user_id)
        stamp = Stamp.of(Cause.DELETE_MAILBOX, actor, int(self._now() * 1000))
        cleared = clear_entry(stamp, b"delete:" + entry.id.binary)
        deleted_at = stores.heads.delete(user_id, entry.id, cleared, entry.name)
        self._views.forget(user_id, entry.id)
        if deleted_at is not None:
            self._notices.publish(user_id, entry.id, deleted_at, None)
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
            changed = renamed(tree, source, target)
            for entry in changed.entries:
                if tree.find(entry.name) is None:
                    check_own_name(entry.name)
            return changed, None

        if actor.dry_run and source == INBOX:
            self._check_new(user_id, actor, self.tree(user_id), check_own_name(target))
        elif source != INBOX:
            self._rehearse(user_id, actor, change)
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
        self._rehearse(user_id, actor, change)
        with self._audit.of_user(actor, "mailbox.use_changed", user_id, details):
            self.change_tree(user_id, change)

    def set_options(
        self,
        user_id: UserId,
        actor: Actor,
        name: str,
        *,
        hidden: bool | None = None,
        retention_ms: int | None = None,
        encrypts: bool | None = None,
    ) -> None:
        """Hide a mailbox, say how long it keeps messages, or have what comes in encrypted; None: it stays so.

        Raises:
            MailboxNotFound: there is none of that name.
            MailboxProtected: INBOX cannot be hidden.
            NotPermitted: it is somebody else's tree.
        """
        wanted = parse_mailbox_name(name)

        def change(tree: MailboxTree) -> tuple[TreeChange | None, None]:
            return with_options(tree, wanted, hidden, retention_ms, encrypts), None

        if not is_own(user_id, actor):
            raise NotPermitted("another's mailboxes")
        details: Details = {"mailbox": wanted, "hidden": hidden, "retention_ms": retention_ms, "encrypts": encrypts}
        self._rehearse(user_id, actor, change)
        with self._audit.of_user(actor, "mailbox.options_changed", user_id, details):
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

        def change(tree: MailboxTree) -> tuple[TreeChange | None, None]:
            return with_subscription(tree, name, subscribed=subscribed), None

        self._rehearse(user_id, actor, change)
        with self._audit.of_user(actor, kind, user_id, {"mailbox": name}):
            self.change_tree(user_id, change)

    def note_sharer(self, user_id: UserId, owner_id: UserId) -> None:
        """Note that somebody shares a mailbox with a user, so that LIST looks there; one round trip, three if new."""
        if self._stores(user_id).trees.note_sharer(user_id, owner_id, DEFAULT_LIMITS.sharers):
            self._notices.publish_names(user_id, self.tree(user_id).version)

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
                return self._adopt(user_id, changed), extra
            self._wait_a_little()
        raise MailboxBusy(user_id)

    def _rehearse(self, user_id: UserId, actor: Actor, change: Callable[[MailboxTree], object]) -> None:
        """Let a dry run hear of what the tree as it is does not allow."""
        if actor.dry_run:
            change(self.tree(user_id))

    def _adopt(self, user_id: UserId, changed: MailboxTree) -> MailboxTree:
        """Remember a tree that was just stored, and tell of it."""
        self._notices.publish_names(user_id, changed.version)
        return self._remember(user_id, changed)

    # -- parts ----------------------------------------------------------------------------------

    def use_mover(self, move_inbox: Callable[[UserId, Actor, MailboxId, MailboxName], None]) -> None:
        """Have INBOX emptied by `move_inbox` when it is renamed; the message service brings it."""
        self._move_inbox = move_inbox

    def _rename_inbox(self, user_id: UserId, actor: Actor, target: MailboxName) -> None:
        inbox = self.find(user_id, INBOX, actor, Right.READ | Right.DELETE_MESSAGES | Right.EXPUNGE)
        self.create(user_id, actor, target)
        self._move_inbox(user_id, actor, inbox.id, target)

    @staticmethod
    def _wait_a_little() -> None:
        time.sleep(_RANDOM.uniform(0.001, 0.02))


def _new(name: MailboxName, special_use: SpecialUse | None, *, subscribed: bool) -> MailboxEntry:
    """Return a mailbox that has no place in a tree yet."""
    return MailboxEntry(MailboxId(ObjectId()), name, UidValidity(0), special_use, subscribed)
