"""What one session hears of mailboxes that it has not selected (RFC 5465), and how of the one that it has.

It holds the counters it has told and a reference to the tree of names, and asks for nothing until
it is woken: then once for all counters of an owner, and once for the names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from mailcore.errors import MailError
from mailcore.imap.annotation_changes import annotation_changes
from mailcore.imap.fetching import FetchPlan
from mailcore.imap.name_changes import name_changes, use_changes
from mailcore.imap.status_items import STATUS_ITEMS, Counted
from mailcore.imap.wire.event_groups import (
    FLAG_CHANGE,
    MAILBOX_METADATA_CHANGE,
    MESSAGE_EVENTS,
    METADATA_EVENTS,
    OF_SELECTED,
    SERVER_METADATA_CHANGE,
    EventGroup,
    MailboxFilter,
)
from mailcore.imap.wire.fetch_att import SimpleAtt
from mailcore.imap.wire.responses import Condition, ListResponse, MailboxResponse, Response, StatusResponse
from mailcore.model.ids import MailboxId, MailboxName, ModSeq, UidValidity, UserId
from mailcore.model.limits import DEFAULT_LIMITS
from mailcore.model.mailbox import SEPARATOR, MailboxEntry, MailboxStatus
from mailcore.model.rights import ALL_RIGHTS, Right
from mailcore.services.mailboxes.access import SHARED
from mailcore.services.mailboxes.metadata import SERVER, Digests

if TYPE_CHECKING:
    from mailcore.imap.session import Session
    from mailcore.services.mailboxes.sharing import VisibleMailboxes
    from mailcore.services.mailboxes.watch import Watch

APART_S = 1.0
"""Notices of other mailboxes are at least so far apart, however much happens there."""
_UID = SimpleAtt("UID")
_SHARED_NAME = MailboxName(SHARED + SEPARATOR)
_UNREAD = MailboxStatus(0, 0, 0, 1, UidValidity(0), ModSeq(0))


class TooMuch(Exception):
    """More mailboxes than one session may watch."""


class Notifications:
    """The groups of one NOTIFY; those of NOTIFY NONE are none, and nothing is told at all.

    Names and annotations that the client changes itself are not told to it. Counters are, for nothing
    tells its own message from one that somebody else puts into the same mailbox meanwhile.
    """

    __slots__ = ("_digests", "_groups", "_visible", "_watches", "delayed", "events", "plan", "told_at")

    def __init__(self, groups: Iterable[EventGroup]) -> None:
        self._groups: list[EventGroup] = []
        self._watches: dict[UserId, Watch] = {}
        self._visible: VisibleMailboxes | None = None
        self._digests: dict[UserId, Digests] = {}
        self.events: frozenset[str] = frozenset()
        """Which are told of the selected mailbox."""
        self.delayed = False
        """Whether EXPUNGE waits for a command (SELECTED-DELAYED)."""
        self.plan: FetchPlan | None = None
        """What is fetched of new messages in the selected mailbox; always with the UID."""
        self.told_at = float("-inf")
        """When other mailboxes' news were told last, by the session's clock."""
        for group in groups:
            if group.filter not in OF_SELECTED:
                self._groups.append(group)
                continue
            self.events = group.events
            self.delayed = group.filter is MailboxFilter.SELECTED_DELAYED
            if group.atts:
                self.plan = FetchPlan.of(tuple(dict.fromkeys((_UID, *group.atts))))

    def close(self) -> None:
        """Hear no more."""
        for watch in self._watches.values():
            watch.close()
        self._watches = {}

    @property
    def hears_selected(self) -> bool:
        """Whether anything that others do in the selected mailbox is told."""
        return bool(self.events)

    @property
    def pending(self) -> bool:
        """Whether there may be something to tell of other mailboxes; no round trip."""
        return any(watch.pending for watch in self._watches.values())

    def begin(self, session: Session, *, tell_status: bool) -> Iterator[Response]:
        """Listen, then read: the names, and the counters of all mailboxes once for each owner.

        Raises:
            TooMuch: more mailboxes than may be watched.
        """
        if not self._groups:
            return
        visible, fresh = self._look(session)
        for entry in visible.tree:
            if Right.READ not in _rights(visible, entry) and self._events_of(entry.name, entry.subscribed):
                yield ListResponse(b"LIST", ("\\NoAccess",), entry.name)
        for owner_id, mailbox_ids in fresh.items():
            watch = self._watches[owner_id]
            for mailbox_id, status in session.services.mailboxes.status(owner_id, mailbox_ids).items():
                watch.learn(mailbox_id, status)
                if tell_status and not status.deleted and not _is_selected(session, mailbox_id):
                    yield self._status(session, mailbox_id, status, first=True)
        self._begin_annotations(session)

    def news(self, session: Session, *, own: bool) -> list[Response]:
        """Return what happened elsewhere; `own`: a change of names or annotations by one step is the client's.

        Round trips: one for the names if they changed, more for those shared; one for each owner
        whose mailboxes changed. What cannot be read now is told after the next poll.
        """
        found: list[Response] = []
        self.told_at = session.clock()
        try:
            if any(watch.names_changed for watch in self._watches.values()):
                found += self._news_of_names(session, own=own)
            for watch in self._watches.values():
                if watch.changed:
                    found += self._news_of_counters(session, watch)
                if watch.annotations_changed:
                    found += self._news_of_annotations(session, watch, own=own)
        except TooMuch:
            self.close()
            self._groups = []
            self.events = frozenset()
            found.append(Condition("OK", "That is more than can be watched", b"NOTIFICATIONOVERFLOW"))
        except MailError:
            pass
        return found

    # -- names ----------------------------------------------------------------------------------

    def _news_of_names(self, session: Session, *, own: bool) -> list[Response]:
        before = self._visible
        assert before is not None
        after, fresh = self._look(session)
        for owner_id, mailbox_ids in fresh.items():
            self._begin_with(session, owner_id, mailbox_ids, before)
        self._begin_annotations(session)
        if own and after.tree.version == before.tree.version + 1:
            return []
        return [
            *name_changes(before.tree, after.tree, self._events_of, utf8=session.utf8),
            *use_changes(before.tree, after.tree, self._events_of),
        ]

    def _begin_with(
        self, session: Session, owner_id: UserId, mailbox_ids: list[MailboxId], before: VisibleMailboxes
    ) -> None:
        """Take the counters of mailboxes that were not watched: what is in a new one is news, in others it is not."""
        watch = self._watches[owner_id]
        try:
            statuses = session.services.mailboxes.status(owner_id, mailbox_ids)
        except MailError:
            return  # the poll finds that nothing is known of them
        for mailbox_id, status in statuses.items():
            if before.tree.find_id(mailbox_id) is None:
                watch.learn(mailbox_id, replace(status, exists=0, unseen=0, uid_next=1, highest_modseq=ModSeq(0)))
                watch.changed.add(mailbox_id)
            else:
                watch.learn(mailbox_id, status)

    def _look(self, session: Session) -> tuple[VisibleMailboxes, dict[UserId, list[MailboxId]]]:
        """Read the names; return with them which mailboxes are to be watched and are not yet, by owner."""
        visible = self._read_names(session)
        wanted: dict[UserId, list[MailboxId]] = {}
        for entry in visible.tree:
            if Right.READ in _rights(visible, entry) and MESSAGE_EVENTS & self._events_of(entry.name, entry.subscribed):
                wanted.setdefault(visible.owners.get(entry.id, session.user_id), []).append(entry.id)
        if sum(map(len, wanted.values())) > DEFAULT_LIMITS.watched_mailboxes:
            raise TooMuch
        fresh: dict[UserId, list[MailboxId]] = {}
        for owner_id, watch in self._watches.items():
            mailbox_ids = wanted.get(owner_id, [])
            new = [mailbox_id for mailbox_id in mailbox_ids if mailbox_id not in watch.known]
            for gone in watch.known.keys() - set(mailbox_ids):
                watch.forget(gone)
            if new:
                fresh[owner_id] = new
            for mailbox_id in new:  # what happens while its counters are read is heard of
                watch.learn(mailbox_id, _UNREAD)
        self._visible = visible
        return visible, fresh

    def _read_names(self, session: Session) -> VisibleMailboxes:
        """Watch the user and whoever shares with the user, then read; versions are those from before the reading."""
        mailboxes = session.services.mailboxes
        self._watch(session, session.user_id)
        while True:
            versions = {owner_id: mailboxes.tree_cached(owner_id).version for owner_id in self._watches}
            for watch in self._watches.values():
                watch.names_changed = False
            visible = session.services.sharing.visible(session.user_id, session.actor)
            owners = set(visible.tree.shared_from if self._may_name_shared else ()) - self._watches.keys()
            if not owners:
                break
            for owner_id in owners:
                self._watch(session, owner_id)
        for owner_id, watch in self._watches.items():
            watch.tree_version = visible.tree.version if owner_id == session.user_id else versions[owner_id]
        return visible

    @property
    def _may_name_shared(self) -> bool:
        return any(
            _falls_under(group, _SHARED_NAME, subscribed=True)
            or any(name.startswith(_SHARED_NAME) for name in group.names)
            for group in self._groups
        )

    def _watch(self, session: Session, owner_id: UserId) -> None:
        if owner_id not in self._watches:
            self._watches[owner_id] = session.watch_user(owner_id)

    def _events_of(self, name: MailboxName, subscribed: bool) -> frozenset[str]:
        """Return the events of all groups that a name falls under (RFC 5465 §6)."""
        found: frozenset[str] = frozenset()
        for group in self._groups:
            if _falls_under(group, name, subscribed=subscribed):
                found |= group.events
        return found

    # -- counters -------------------------------------------------------------------------------

    def _news_of_counters(self, session: Session, watch: Watch) -> Iterable[StatusResponse]:
        changed, watch.changed = watch.changed, set()
        selected = session.selected
        if selected is not None and selected.mailbox_id in changed:
            changed.discard(selected.mailbox_id)
            watch.learn_modseq(selected.mailbox_id, selected.view.highest_modseq)
        mailbox_ids = sorted(mailbox_id for mailbox_id in changed if mailbox_id in watch.known)
        try:
            statuses: Mapping[MailboxId, MailboxStatus] = session.services.mailboxes.status(watch.user_id, mailbox_ids)
        except MailError:
            watch.changed |= changed
            raise
        found = []
        for mailbox_id, status in statuses.items():
            known = watch.known[mailbox_id]
            if status.deleted:
                continue
            watch.learn(mailbox_id, status)
            if self._differs(session, mailbox_id, known, status):
                found.append(self._status(session, mailbox_id, status))
        return found

    def _differs(self, session: Session, mailbox_id: MailboxId, known: MailboxStatus, status: MailboxStatus) -> bool:
        """Whether the client hears of it: other counters, and with FlagChange whatever it could see."""
        if (known.exists, known.uid_next, known.uid_validity) != (status.exists, status.uid_next, status.uid_validity):
            return True
        if FLAG_CHANGE not in self._events_of_id(mailbox_id):
            return False
        return known.unseen != status.unseen or (
            session.dialect.condstore and known.highest_modseq != status.highest_modseq
        )

    def _status(
        self, session: Session, mailbox_id: MailboxId, status: MailboxStatus, *, first: bool = False
    ) -> StatusResponse:
        flag_change = FLAG_CHANGE in self._events_of_id(mailbox_id)
        items = ["UIDVALIDITY", "UIDNEXT", "MESSAGES"]
        if flag_change:
            items.append("UNSEEN")
        if session.dialect.condstore or (flag_change and first):
            items.append("HIGHESTMODSEQ")
        counted = Counted(mailbox_id, status, session.limits)
        return StatusResponse(self._entry(mailbox_id).name, [(item, STATUS_ITEMS[item](counted)) for item in items])

    # -- annotations ----------------------------------------------------------------------------

    @property
    def _all_events(self) -> frozenset[str]:
        return frozenset().union(*(group.events for group in self._groups))

    def _begin_annotations(self, session: Session) -> None:
        """Read those of owners that were not watched before, where annotations are told: one round trip each."""
        if METADATA_EVENTS & self._all_events:
            for watch in self._watches.values():
                if watch.annotation_changes is None:
                    self._read_annotations(session, watch)

    def _news_of_annotations(self, session: Session, watch: Watch, *, own: bool) -> list[MailboxResponse]:
        before, known_changes = self._digests.get(watch.user_id, {}), watch.annotation_changes
        self._read_annotations(session, watch)
        if own and known_changes is not None and watch.annotation_changes == known_changes + 1:
            return []
        return annotation_changes(before, self._digests[watch.user_id], self._name_to_tell)

    def _read_annotations(self, session: Session, watch: Watch) -> None:
        """Learn what there is; a change heard of from now on leads to another look.

        Raises:
            TooMuch: more annotations than may be watched.
        """
        watch.annotations_changed = False
        if watch.annotation_changes is None:
            watch.annotation_changes = -1
        try:
            changes, digests = session.services.metadata.digests(session.user_id, watch.user_id)
        except MailError:
            watch.annotations_changed = True
            raise
        if sum(map(len, digests.values())) > DEFAULT_LIMITS.watched_annotations:
            raise TooMuch
        watch.annotation_changes, self._digests[watch.user_id] = changes, digests

    def _name_to_tell(self, mailbox_id: MailboxId) -> str | None:
        """Return what a mailbox is called if its annotations are told; the empty name is the server's."""
        if mailbox_id == SERVER:
            return "" if SERVER_METADATA_CHANGE in self._all_events else None
        assert self._visible is not None
        entry = self._visible.tree.find_id(mailbox_id)
        if entry is None or Right.READ not in _rights(self._visible, entry):
            return None
        return entry.name if MAILBOX_METADATA_CHANGE in self._events_of(entry.name, entry.subscribed) else None

    # -- parts ----------------------------------------------------------------------------------

    def _events_of_id(self, mailbox_id: MailboxId) -> frozenset[str]:
        entry = self._entry(mailbox_id)
        return self._events_of(entry.name, entry.subscribed)

    def _entry(self, mailbox_id: MailboxId) -> MailboxEntry:
        """Return the entry of a watched mailbox: only those of the tree are watched."""
        assert self._visible is not None
        entry = self._visible.tree.find_id(mailbox_id)
        assert entry is not None
        return entry


def _falls_under(group: EventGroup, name: MailboxName, *, subscribed: bool) -> bool:
    if group.filter is MailboxFilter.SUBSCRIBED:
        return subscribed
    if group.filter is MailboxFilter.MAILBOXES:
        return name in group.names
    if group.filter is MailboxFilter.SUBTREE:
        return any(name == top or name.startswith(top + SEPARATOR) for top in group.names)
    return not name.startswith(SHARED + SEPARATOR)  # mail may be delivered into any mailbox, so INBOXES is PERSONAL


def _rights(visible: VisibleMailboxes, entry: MailboxEntry) -> Right:
    return visible.rights.get(entry.id, ALL_RIGHTS)


def _is_selected(session: Session, mailbox_id: MailboxId) -> bool:
    return session.selected is not None and session.selected.mailbox_id == mailbox_id
