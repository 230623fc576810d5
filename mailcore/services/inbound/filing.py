"""Files one copy of an incoming message: at most once for each delivery, into the mailbox that is meant or INBOX."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bson import ObjectId

from mailcore.errors import MailboxChanged, MailboxMoving, MailboxNotFound, MailError
from mailcore.model.actor import Actor
from mailcore.model.changes import Cause
from mailcore.model.ids import MailboxId, UserId
from mailcore.model.mailbox import INBOX, MailboxEntry, MailboxTree, SpecialUse
from mailcore.model.plan import Destination, Filing
from mailcore.services.addresses.recipient import Recipient
from mailcore.services.content.content import ContentStore
from mailcore.services.content.prepared import PreparedMessage
from mailcore.services.content.storing import Copy, NewRowContent
from mailcore.services.inbound.arrival import Arrival
from mailcore.services.mailboxes.mailboxes import Mailboxes
from mailcore.services.mailboxes.messages import Messages
from mailcore.store.placement import Placement

log = logging.getLogger(__name__)

MOVING_WAIT_S = 2.0
MOVING_POLL_S = 0.1
REPEATS = 8
"""So often a repeated delivery may find that the one before it was cut off."""


@dataclass(frozen=True, slots=True)
class FilingAttempt:
    """One copy for one recipient on its way."""

    recipient: Recipient
    prepared: PreparedMessage
    filing: Filing
    key: bytes
    """Commits once, however often the same delivery is repeated."""
    arrival: Arrival
    number: int
    """Of the recipient's copies, from 0."""

    def message_oid(self, repeat: int) -> bytes | None:
        """Return the id of the copy; a repeat of the delivery has the same, so it finds what went before."""
        return self.arrival.copy_id(self.recipient, repeat, self.number)

    def as_copy(self) -> Copy:
        """Return what is to be stored at first."""
        return Copy(self.recipient.home, self.prepared, self.key if self.arrival.ident is not None else None)


class Filer:
    """Commits copies whose content is stored."""

    def __init__(self, placement: Placement, content: ContentStore, mailboxes: Mailboxes, messages: Messages) -> None:
        self._placement = placement
        self._content = content
        self._mailboxes = mailboxes
        self._messages = messages

    def encrypts(self, user_id: UserId, filing: Filing) -> bool:
        """Whether a copy goes to a mailbox that asks for encryption, as far as this process knows the user's tree."""
        entry = _find(self._mailboxes.tree_cached(user_id), filing.destinations)
        return entry is not None and entry.encrypts

    def file(self, attempt: FilingAttempt, outcome: NewRowContent | MailError, actor: Actor) -> None:
        """Commit one copy that was stored, unless an earlier try did.

        Raises:
            MailboxMoving: the user is being moved for longer than it is waited for.
            StoreUnavailable, StoreFull: outcome unknown; the same delivery again is safe.
        """
        if isinstance(outcome, MailError):
            raise outcome
        if outcome.existed:
            repeated = self._put_again(attempt)
            if repeated is None:
                return
            outcome = repeated
        self._commit(attempt, outcome, actor)

    def _put_again(self, attempt: FilingAttempt) -> NewRowContent | None:
        """Store a repeat of a delivery under the next id; None if an earlier one is in the mailbox.

        A message that is there already is never used again: it may be about to be collected.
        """
        user_id, home = attempt.recipient.user_id, attempt.recipient.home
        delivered = self._delivered(user_id, attempt.filing)
        for repeat in range(REPEATS):
            oid = attempt.message_oid(repeat)
            if oid in delivered:
                return None
            if repeat == 0:
                continue
            outcome = self._content.put(home, attempt.prepared, oid)
            if not outcome.existed:
                return outcome
        return self._content.put(home, attempt.prepared)

    def _delivered(self, user_id: UserId, filing: Filing) -> set[bytes]:
        """Return the messages where an earlier try may have put its copy: the mailbox as named now, and INBOX."""
        tree = self._mailboxes.tree(user_id)
        places = {entry.id for entry in (_find(tree, filing.destinations), tree.find(INBOX)) if entry is not None}
        views = [self._mailboxes.refresh(user_id, mailbox_id) for mailbox_id in places]
        return {oid.tobytes() for view in views for oid in view.message_oids}

    def _commit(self, attempt: FilingAttempt, content: NewRowContent, actor: Actor) -> None:
        """Push the row; into INBOX if the mailbox is gone, after a wait if the user is being moved."""
        user_id, filing = attempt.recipient.user_id, attempt.filing
        give_up_at = time.monotonic() + MOVING_WAIT_S
        home = attempt.recipient.home
        while True:
            try:
                now_at = self._placement.home(user_id)
                if now_at.shard.name != home.shard.name:  # moved since the content was stored
                    home = now_at
                    content = self._content.put(home, attempt.prepared)
                mailbox_id = self._mailbox(user_id, filing, actor)
                self._messages.commit_rows(
                    user_id,
                    mailbox_id,
                    [content.row(filing.flags.system, int(time.time()))],
                    Cause.DELIVERY,
                    actor,
                    attempt.key,
                    keywords=[filing.flags.keywords] if filing.flags.keywords else None,
                    as_many_keywords_as_fit=True,
                    after=content.ahead,
                )
            except MailboxMoving:
                if time.monotonic() >= give_up_at:
                    raise
                time.sleep(MOVING_POLL_S)
                self._placement.forget(user_id)
            except (MailboxChanged, MailboxNotFound):
                if time.monotonic() >= give_up_at:
                    raise
                self._mailboxes.forget_tree(user_id)
            else:
                return

    def _mailbox(self, user_id: UserId, filing: Filing, actor: Actor) -> MailboxId:
        """Return the mailbox a copy goes to, else INBOX; no round trip if this process knows the user's tree."""
        entry = _find(self._mailboxes.tree_cached(user_id), filing.destinations)
        if entry is None:
            tree = self._mailboxes.tree(user_id)  # what this process knows may be old
            entry = _find(tree, filing.destinations)
            name = filing.destinations[-1]
            if entry is None and filing.creates and isinstance(name, str):
                try:
                    return self._mailboxes.create(user_id, actor, name, subscribed=True)
                except MailError as error:  # no such name, too many, or somebody was faster: then it is INBOX
                    log.info("delivery.not_created", extra={"user": str(user_id), "reason": type(error).__name__})
            entry = entry or tree.find(INBOX)
        if entry is None:
            raise MailboxNotFound(user_id, INBOX)
        return entry.id


def _find(tree: MailboxTree, destinations: Sequence[Destination]) -> MailboxEntry | None:
    """Return the first mailbox that is meant and there."""
    for destination in destinations:
        if isinstance(destination, SpecialUse):
            entry = tree.find_special(destination)
        elif isinstance(destination, ObjectId):
            entry = tree.find_id(destination)
        else:
            entry = tree.find(destination)
        if entry is not None:
            return entry
    return None
