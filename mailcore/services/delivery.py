"""Delivery of incoming mail: who receives it, and one committed copy for each recipient.

Order (each step acknowledged by the majority before the next): references, blobs, message, the push on
the mailbox's head, which is the commit, then the notice, then the answer. A crash leaves only what a
sweep proves unreferenced.
"""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from bson import ObjectId

from mailcore import fault
from mailcore.errors import (
    AddressInvalid,
    AddressNotFound,
    MailboxChanged,
    MailboxMoving,
    MailboxNotFound,
    MailError,
    OverQuota,
    UserDisabled,
)
from mailcore.model.actor import Actor
from mailcore.model.changes import Cause
from mailcore.model.content import NewRowContent
from mailcore.model.ids import MailboxId, MailboxName, TenantId, UserId
from mailcore.model.mailbox import INBOX
from mailcore.model.row import NewRow
from mailcore.model.tenant import State
from mailcore.services.addresses import Addresses
from mailcore.services.content import ContentStore, Copy
from mailcore.services.mailboxes import Mailboxes
from mailcore.services.messages import Messages
from mailcore.services.prepared import PreparedMessage
from mailcore.services.quotas import Quotas
from mailcore.store.directory import Directory
from mailcore.store.placement import Home, Placement

log = logging.getLogger(__name__)

MOVING_WAIT_S = 2.0
MOVING_POLL_S = 0.1
REPEATS = 8
"""So often a repeated delivery may find that the one before it was cut off."""


@dataclass(frozen=True, slots=True)
class Recipient:
    """Who receives mail for an address."""

    user_id: UserId
    tenant_id: TenantId
    address: str
    home: Home = field(repr=False)


@dataclass(frozen=True, slots=True)
class DeliveryTarget:
    """A recipient and the trace headers of its copy (RFC 5321 §4.4), whole lines."""

    recipient: Recipient
    trace: bytes = b""
    mailbox_name: MailboxName = INBOX


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """What became of one recipient's copy: committed if `error` is None."""

    recipient: Recipient
    mailbox_name: MailboxName
    error: MailError | None = None


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One recipient's copy on its way."""

    target: DeliveryTarget
    prepared: PreparedMessage
    key: bytes
    """Commits once, however often the same delivery is repeated."""
    ident: str | None

    def message_oid(self, repeat: int) -> bytes | None:
        """Return the id of the copy; a repeat of the delivery has the same, so it finds what went before."""
        if self.ident is None:
            return None
        recipient = self.target.recipient
        what = "\0".join((self.ident, recipient.address.casefold(), str(repeat))).encode() + self.prepared.raw_sha256
        return hmac.digest(recipient.user_id.binary, what, "sha256")[:12]


class Delivery:
    """Takes messages in."""

    def __init__(
        self,
        addresses: Addresses,
        directory: Directory,
        placement: Placement,
        content: ContentStore,
        mailboxes: Mailboxes,
        messages: Messages,
        quotas: Quotas,
    ) -> None:
        self._addresses = addresses
        self._directory = directory
        self._placement = placement
        self._content = content
        self._mailboxes = mailboxes
        self._messages = messages
        self._quotas = quotas

    def resolve(self, address: str) -> Recipient:
        """Return who receives mail for an address; never from a cache, at least if it is nobody.

        Raises:
            AddressNotFound: nobody does.
            UserDisabled: the user or the tenant takes no mail.
            OverQuota: `since` tells how long already.
            StoreUnavailable: not known now; nothing is to be told of the address.
        """
        try:
            route = self._addresses.find(address)
        except AddressInvalid:
            route = None
        if route is None:
            raise AddressNotFound(address)
        home = self._placement.home(route.user_id)
        if home.state is State.DISABLED:
            raise UserDisabled(route.user_id)
        recipient = Recipient(route.user_id, home.tenant_id, address, home)
        self._check_quota(recipient, 0)
        return recipient

    def deliver(
        self, raw: bytes, targets: Sequence[DeliveryTarget], ident: str | None, actor: Actor
    ) -> Iterator[DeliveryResult]:
        """Give each recipient its copy and yield what became of it, in their order, each after its commit.

        Round trips: one insert for each shard, one push for each recipient; with attachments two to four more
        for each tenant.

        Args:
            raw: the message as it arrived, without trace headers of this hop.
            targets: the recipients; what fails for one changes nothing for the others.
            ident: the sending agent's queue id; the same message repeated under it is delivered once.
            actor: the sending agent.
        """
        prepared = self._content.prepare(raw)
        attempts: list[_Attempt] = []
        outcomes: list[NewRowContent | MailError] = []
        copies: dict[int, Copy] = {}
        for target in targets:
            attempt = self._attempt(target, prepared, ident)
            attempts.append(attempt)
            try:
                self._check_quota(target.recipient, len(raw))
                copies[len(outcomes)] = Copy(target.recipient.home, attempt.prepared, attempt.message_oid(0))
            except MailError as error:
                outcomes.append(error)
            else:
                outcomes.append(_UNTRIED)
        for index, outcome in zip(copies, self._content.put_many(list(copies.values())), strict=True):
            outcomes[index] = outcome
        for attempt, outcome in zip(attempts, outcomes, strict=True):
            result = self._finish(attempt, outcome, actor)
            fault.hit("delivery.before_reply")
            yield result

    def _attempt(self, target: DeliveryTarget, prepared: PreparedMessage, ident: str | None) -> _Attempt:
        attempt = _Attempt(target, prepared.with_prefix(target.trace), ObjectId().binary, ident)
        key = attempt.message_oid(0)
        return attempt if key is None else _Attempt(target, attempt.prepared, key, ident)

    def _finish(self, attempt: _Attempt, outcome: NewRowContent | MailError, actor: Actor) -> DeliveryResult:
        """Commit what was stored, and tell what became of it."""
        recipient = attempt.target.recipient
        try:
            if isinstance(outcome, MailError):
                raise outcome
            if outcome.existed:
                repeated = self._put_again(attempt)
                if repeated is None:
                    return DeliveryResult(recipient, INBOX)
                outcome = repeated
            name = self._commit(attempt, outcome, actor)
        except MailError as error:
            return DeliveryResult(recipient, attempt.target.mailbox_name, error)
        return DeliveryResult(recipient, name)

    def _put_again(self, attempt: _Attempt) -> NewRowContent | None:
        """Store a repeat of a delivery under the next id; None if an earlier one is in the mailbox.

        A message that is there already is never used again: it may be about to be collected.
        """
        user_id, home = attempt.target.recipient.user_id, attempt.target.recipient.home
        view = self._mailboxes.open(user_id, INBOX)
        delivered = {oid.tobytes() for oid in view.message_oids}
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

    def _commit(self, attempt: _Attempt, content: NewRowContent, actor: Actor) -> MailboxName:
        """Push the row; into INBOX if the mailbox is gone, after a wait if the user is being moved."""
        user_id = attempt.target.recipient.user_id
        name = attempt.target.mailbox_name
        give_up_at = time.monotonic() + MOVING_WAIT_S
        home = attempt.target.recipient.home
        while True:
            try:
                now_at = self._placement.home(user_id)
                if now_at.shard.name != home.shard.name:  # moved since the content was stored
                    home = now_at
                    content = self._content.put(home, attempt.prepared)
                mailbox_id, name = self._mailbox(user_id, name)
                self._messages.commit_rows(user_id, mailbox_id, [_row(content)], Cause.DELIVERY, actor, attempt.key)
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
                return name

    def _mailbox(self, user_id: UserId, name: MailboxName) -> tuple[MailboxId, MailboxName]:
        """Return the mailbox of that name, else INBOX; no round trip if this process knows the user's tree."""
        tree = self._mailboxes.tree_cached(user_id)
        entry = tree.find(name) or tree.find(INBOX)
        if entry is None:
            raise MailboxNotFound(user_id, INBOX)
        return entry.id, entry.name

    def _check_quota(self, recipient: Recipient, size_bytes: int) -> None:
        """Raises: OverQuota with the time of the first refusal since mail last fitted."""
        user_id = recipient.user_id
        try:
            self._quotas.check(user_id, size_bytes)
        except OverQuota as error:
            since = self._directory.users.mark_over_quota(user_id, datetime.now(UTC))
            self._placement.forget(user_id)
            raise OverQuota(*error.details, since=since) from error
        if recipient.home.over_quota_since is not None and size_bytes:
            self._directory.users.clear_over_quota(user_id)
            self._placement.forget(user_id)


_UNTRIED = MailError("not tried")


def _row(content: NewRowContent) -> NewRow:
    now = int(time.time())
    return NewRow(
        message_oid=content.message_oid,
        flags=0,
        size_bytes=content.size_bytes,
        internal_date=now,
        saved_date=now,
        header_date=content.header_date,
        thread=content.thread,
        message_id_hash=content.message_id_hash,
    )
