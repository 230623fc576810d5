"""What one connection knows: its state (RFC 9051 §3), who is signed in, what the client has enabled."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass, replace
from enum import Flag, auto
from typing import TYPE_CHECKING

from mailcore.errors import MailboxChanged, NotPermitted
from mailcore.imap.dialect import PLAIN, Dialect
from mailcore.imap.selected import SelectedMailbox
from mailcore.imap.wire.modseq import shown
from mailcore.imap.wire.responses import Completion, Condition, Response
from mailcore.model.actions import Peer, Wake
from mailcore.model.actor import Door
from mailcore.model.ids import MailboxId, MailboxName, UserId
from mailcore.model.rights import Right
from mailcore.services.accounts.door_session import DoorSession

if TYPE_CHECKING:
    from mailcore.imap.notifications import Notifications
    from mailcore.services import MailServices
    from mailcore.services.mailboxes.access import Place
    from mailcore.services.mailboxes.notices import Subscription
    from mailcore.services.mailboxes.watch import Watch


class State(Flag):
    """States of RFC 9051 §3; a command's row names those in which it is valid."""

    NOT_AUTHENTICATED = auto()
    AUTHENTICATED = auto()
    SELECTED = auto()


ANY_STATE = State.NOT_AUTHENTICATED | State.AUTHENTICATED | State.SELECTED
SIGNED_IN = State.AUTHENTICATED | State.SELECTED


@dataclass(frozen=True, slots=True)
class Continue:
    """Yielded by a handler that needs the client's next line, which it is sent.

    Attributes:
        text: stands behind "+ ".
        awaits_news: the client is told of changes while it is silent (IDLE).
    """

    text: bytes = b""
    awaits_news: bool = False


class StreamBroken(Exception):
    """Output cannot be completed in the middle of a literal; only closing tells the client."""


Replies = Generator[Response | Continue, bytes, Completion]
"""A handler: yields responses, is sent the lines it asks for, returns how it ended."""


class Session(DoorSession):
    """The state of one connection; handlers read and change it."""

    __slots__ = (
        "_subscription", "client_id", "clock", "compressed", "dialect", "enabled", "notifications", "selected", "tag",
        "utf8",
    )  # fmt: skip

    def __init__(
        self, services: MailServices, peer: Peer, wake: Wake, *, plaintext_allowed: bool, offers_tls: bool
    ) -> None:
        """Begin not authenticated; `wake` is called when the selected mailbox may have changed, too."""
        super().__init__(services, peer, wake, Door.IMAP, plaintext_allowed=plaintext_allowed, offers_tls=offers_tls)
        self.clock = time.monotonic
        """Seconds; only differences mean something."""
        self.selected: SelectedMailbox | None = None
        self.utf8 = False
        self.enabled: set[str] = set()
        self.dialect: Dialect = PLAIN
        self.tag = ""
        """Of the command that is being carried out."""
        self.client_id: dict[str, str] = {}
        self.compressed = False
        self.notifications: Notifications | None = None
        """What NOTIFY asked for; None until it is used for the first time."""
        self._subscription: Subscription | None = None

    @property
    def state(self) -> State:
        """Where the connection is in RFC 9051 §3; logout ends it at once."""
        if self.identity is None:
            return State.NOT_AUTHENTICATED
        return State.AUTHENTICATED if self.selected is None else State.SELECTED

    @property
    def owner_id(self) -> UserId:
        """Whose mailbox is selected: not always the user's own."""
        return self.mailbox.owner_id

    @property
    def mailbox(self) -> SelectedMailbox:
        """The selected mailbox; the command table lets nobody come here without."""
        assert self.selected is not None
        return self.selected

    @property
    def writable_mailbox(self) -> SelectedMailbox:
        """The selected mailbox, to be changed.

        Raises:
            NotPermitted: it was selected by EXAMINE.
        """
        if self.mailbox.read_only:
            raise NotPermitted("selected read-only")
        return self.mailbox

    # -- others' mailboxes ----------------------------------------------------------------------

    def place(self, name: MailboxName) -> Place:
        """Return whose mailbox a name means; no round trip for the user's own.

        Raises:
            MailboxNotFound: the name is a shared one, and nobody of the tenant has that address.
        """
        return self.services.mailboxes.access.place(self.user_id, name)

    def check_rights(self) -> None:
        """See that the selected mailbox may still be read; no round trip for the user's own, else one.

        Raises:
            MailboxNotFound, NotPermitted: its owner has taken the right away.
        """
        if self.selected is not None and self.selected.owner_id != self.user_id:
            access = self.services.mailboxes.access
            access.require(self.selected.owner_id, self.actor, self.selected.mailbox_id, Right.READ)

    def rights(self, owner_id: UserId, mailbox_id: MailboxId) -> Right:
        """Return what the user may do with a mailbox that may be read; no round trip for the user's own, else one.

        Raises:
            MailboxNotFound, NotPermitted: it may not be read.
        """
        return self.services.mailboxes.access.require(owner_id, self.actor, mailbox_id, Right.READ)

    # -- transitions ----------------------------------------------------------------------------

    def select(self, mailbox: SelectedMailbox) -> None:
        """Enter the selected state."""
        self.selected = mailbox
        if self.notifications is not None and self.notifications.hears_selected:
            self.watch()

    def unselect(self) -> None:
        """Leave the selected state; nothing more is heard of the mailbox."""
        self.selected = None
        if self._subscription is not None:
            self._subscription.close()
            self._subscription = None

    def notify(self, notifications: Notifications) -> None:
        """Be told so from now on (RFC 5465); what was asked for before is dropped."""
        if self.notifications is not None:
            self.notifications.close()
        self.notifications = notifications
        if self.selected is not None and notifications.hears_selected:
            self.watch()

    def watch_user(self, owner_id: UserId) -> Watch:
        """Have the connection woken by changes of a user's mailboxes and of their names, until the watch is closed."""
        return self.services.notices.watch(owner_id, self._wake)

    @property
    def hears_selected(self) -> bool:
        """Whether what others do in the selected mailbox is told: always, unless NOTIFY said otherwise."""
        return self.notifications is None or self.notifications.hears_selected

    def forget(self) -> None:
        """Drop what was said before TLS (RFC 9051 §6.2.1), or everything when the connection ends."""
        self.unselect()
        if self.notifications is not None:
            self.notifications.close()
            self.notifications = None
        self.leave()
        self.client_id = {}
        self.enabled = set()
        self.dialect = PLAIN
        self.utf8 = False

    def use_condstore(self) -> list[Response]:
        """Tell MODSEQ from now on; at its first use the selected mailbox's is told (RFC 7162 §3.1)."""
        if self.dialect.condstore:
            return []
        self.dialect = replace(self.dialect, condstore=True)
        if self.selected is None:
            return []
        return [Condition("OK", "Highest", b"HIGHESTMODSEQ %d" % shown(self.selected.told_modseq))]

    # -- the selected mailbox's changes ---------------------------------------------------------

    def watch(self) -> None:
        """Have the connection woken by changes of the selected mailbox, as long as it is selected."""
        if self._subscription is None:
            self._subscription = self.services.notices.subscribe(self.owner_id, self.mailbox.mailbox_id, self._wake)

    def take_news(self) -> None:
        """Adopt the newest state of the selected mailbox that this process knows; no round trip."""
        if self.selected is not None:
            self.selected.adopt(self.services.mailboxes.cached(self.selected.owner_id, self.selected.mailbox_id))
            self._has_seen(self.selected)

    def refresh(self) -> None:
        """Adopt the selected mailbox's state as the primary has it; one round trip.

        Raises:
            MailboxChanged: it was deleted or replaced.
        """
        mailbox = self.mailbox
        view = self.services.mailboxes.refresh(mailbox.owner_id, mailbox.mailbox_id)
        if view.uid_validity != mailbox.view.uid_validity:
            raise MailboxChanged(mailbox.mailbox_id)
        mailbox.adopt(view)
        self._has_seen(mailbox)

    def hear_news(self) -> None:
        """Adopt what the connection was woken for; a round trip only if this process does not know it yet.

        Raises:
            MailboxChanged: the mailbox was deleted or replaced.
        """
        before = self.mailbox.view
        self.take_news()
        told = self._subscription.told if self._subscription is not None else 0
        if self.mailbox.view is before or self.mailbox.view.highest_modseq < told:
            self.refresh()

    def _has_seen(self, mailbox: SelectedMailbox) -> None:
        if self._subscription is not None:
            self._subscription.seen = mailbox.view.highest_modseq
