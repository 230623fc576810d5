"""A session's wish to hear of many mailboxes of one user, and of their names (RFC 5465)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from bson import ObjectId

from mailcore.model.ids import MailboxId, ModSeq, UserId
from mailcore.model.mailbox import MailboxStatus
from mailcore.store import keys

if TYPE_CHECKING:
    from mailcore.services.mailboxes.notices import Notices


class Stir:
    """A wish to be woken by any change of a user's mailboxes or their names, and at each poll, until `close`."""

    __slots__ = ("_notices", "_wake", "user_id")
    annotation_changes: int | None = None

    def __init__(self, notices: Notices, user_id: UserId, wake: Callable[[], None]) -> None:
        self._notices = notices
        self._wake = wake
        self.user_id = user_id

    def close(self) -> None:
        """Hear no more; closing twice is harmless."""
        self._notices.remove_watch(self)

    def hear(self, _mailbox_id: ObjectId, _modseq: int) -> None:
        """A mailbox changed."""
        self._wake()

    def hear_names(self, _version: int) -> None:
        """The tree of names may have changed."""
        self._wake()

    def hear_annotations(self, changes: int | None = None) -> None:
        """Annotations are not told."""

    def head_keys(self) -> list[bytes]:
        """Compare nothing: whoever is woken reads."""
        return []


class Watch:
    """What one session knows of a user's mailboxes; it is woken for what it does not know, until `close`.

    Attributes:
        known: the counters as the session has them; only these mailboxes are watched.
        changed: those of them that may be newer.
        tree_version: of the names as the session has them.
        names_changed: whether they may be newer.
        annotation_changes: how often annotations had changed as the session has them; None: it does not care.
        annotations_changed: whether they may be newer.
    """

    __slots__ = (
        "_notices", "_wake", "annotation_changes", "annotations_changed", "changed", "known", "names_changed",
        "tree_version", "user_id",
    )  # fmt: skip

    def __init__(self, notices: Notices, user_id: UserId, wake: Callable[[], None]) -> None:
        self._notices = notices
        self._wake = wake
        self.user_id = user_id
        self.known: dict[MailboxId, MailboxStatus] = {}
        self.changed: set[MailboxId] = set()
        self.tree_version = 0
        self.names_changed = False
        self.annotation_changes: int | None = None
        self.annotations_changed = False

    @property
    def pending(self) -> bool:
        """Whether there may be anything that the session does not know."""
        return bool(self.changed) or self.names_changed or self.annotations_changed

    def close(self) -> None:
        """Hear no more; closing twice is harmless."""
        self._notices.remove_watch(self)

    def learn(self, mailbox_id: MailboxId, status: MailboxStatus) -> None:
        """The session knows these counters now."""
        self.known[mailbox_id] = status

    def learn_modseq(self, mailbox_id: MailboxId, modseq: ModSeq) -> None:
        """The session knows the mailbox up to here by other means, but has not counted what is unseen."""
        self.known[mailbox_id] = replace(self.known[mailbox_id], highest_modseq=modseq, unseen=-1)

    def forget(self, mailbox_id: MailboxId) -> None:
        """Watch a mailbox no more."""
        self.known.pop(mailbox_id, None)
        self.changed.discard(mailbox_id)

    # -- by the notices -------------------------------------------------------------------------

    def hear(self, mailbox_id: ObjectId, modseq: int) -> None:
        """A mailbox is at `modseq`; -1: it is gone, which its name's going tells."""
        known = self.known.get(MailboxId(mailbox_id))
        if known is not None and modseq > known.highest_modseq:
            self.changed.add(MailboxId(mailbox_id))
            self._wake()

    def hear_names(self, version: int) -> None:
        """The tree of names is at `version`."""
        if version > self.tree_version:
            self.names_changed = True
            self._wake()

    def hear_annotations(self, changes: int | None = None) -> None:
        """Annotations changed, or had changed so often when somebody looked."""
        if self.annotation_changes is not None and changes != self.annotation_changes:
            self.annotations_changed = True
            self._wake()

    def head_keys(self) -> list[bytes]:
        """Return what the poll has to compare."""
        return [keys.mailbox_key(self.user_id, mailbox_id) for mailbox_id in self.known]
