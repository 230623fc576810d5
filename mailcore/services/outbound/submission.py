"""Taking a message over from who is signed in: checked, completed, signed, queued, and filed in Sent."""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime

from bson import ObjectId

from mailcore import fault
from mailcore.errors import MailError, RateExceeded, SenderNotOwned
from mailcore.message.encoded_words import decode_header
from mailcore.message.outgoing import REMOVED_FIELDS, Outgoing, parse_mailboxes
from mailcore.model.actor import Actor
from mailcore.model.address import domain_name
from mailcore.model.ids import TenantId, UserId
from mailcore.model.mailbox import MailboxEntry
from mailcore.model.outbound import SENDING_HOLD, NewOutbound, OutboundRecipient, QueueId, Reason, ReturnContent
from mailcore.model.reputation import Fate
from mailcore.services.accounts.usage import Usage
from mailcore.services.events.audit import Audit, Planned
from mailcore.services.events.journal import Direction, Journal, JournalEntry
from mailcore.services.inbound.correspondents import Correspondents
from mailcore.services.outbound.dkim import Dkim
from mailcore.services.outbound.identities import Identities
from mailcore.services.outbound.origin_marks import OriginMarks
from mailcore.services.outbound.queueing import Queueing, queue_id_of
from mailcore.services.outbound.reputation import Reputation
from mailcore.services.outbound.sender_check import checked_header
from mailcore.services.outbound.sent_copies import Filed, SentCopies
from mailcore.services.process.clock import now
from mailcore.services.tenants.standing import check_sending
from mailcore.store.placement import Placement

log = logging.getLogger(__name__)

SUBJECT_CHARACTERS = 200
TELL_AGAIN_S = 3600.0

_MESSAGE_ID = re.compile(r"<[\x21-\x3b=\x3f-\x7e]{1,250}>")
_KEPT_IN_SENT = REMOVED_FIELDS - {b"bcc", b"resent-bcc"}


@dataclass(frozen=True, slots=True)
class Sender:
    """Who submits."""

    user_id: UserId
    tenant_id: TenantId
    address: str
    """The main one."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """A message as its sender handed it in, with what the envelope says.

    Attributes:
        reverse_path: "" is the null one.
        with_protocol: the `with` keyword of the Received field, by which door it came.
        hold_until: it leaves no earlier.
        copy_into: the mailbox of its copy; None for Sent, where the user wants one.
    """

    raw: bytes = field(repr=False)
    reverse_path: str
    recipients: Sequence[OutboundRecipient]
    with_protocol: str
    return_content: ReturnContent | None = None
    envelope_id: str | None = None
    hold_until: datetime | None = None
    hold_for_s: int = 0
    is_utf8: bool = False
    reason: Reason = Reason.SUBMISSION
    copy_into: MailboxEntry | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of it: it is stored with a majority and will be sent or reported."""

    queue_id: QueueId
    message_id: str
    copy: Filed | None
    """None where none is filed, or none could be."""
    held: str | None = None

    @property
    def is_in_sent(self) -> bool:
        """Whether a copy is filed."""
        return self.copy is not None


class Submission:
    """Takes messages to be sent; the one way out for every door where people sign in."""

    def __init__(
        self,
        placement: Placement,
        identities: Identities,
        dkim: Dkim,
        queueing: Queueing,
        sent_copies: SentCopies,
        usage: Usage,
        journal: Journal,
        audit: Audit,
        marks: OriginMarks,
        correspondents: Correspondents,
        reputation: Reputation,
        hostname: str,
    ) -> None:
        self._reputation = reputation
        self._correspondents = correspondents
        self._marks = marks
        self._placement = placement
        self._identities = identities
        self._dkim = dkim
        self._queueing = queueing
        self._sent_copies = sent_copies
        self._usage = usage
        self._journal = journal
        self._audit = audit
        self._told_of_burst: dict[UserId, float] = {}
        self._hostname = hostname

    def reverse_path(self, sender: Sender, reverse_path: str) -> str:
        """Return the reverse-path to be used for one that was asked for; as `Identities.foreign`.

        Raises:
            SenderNotOwned: it is not the sender's, and the tenant has such mail refused.
            SendingStopped: the tenant sends nothing now.
        """
        check_sending(self._placement.home(sender.user_id))
        if not reverse_path or not self._identities.foreign(sender.user_id, sender.address, [reverse_path]):
            return reverse_path
        if self._placement.tenant(sender.tenant_id).foreign_sender.value == "refuse":
            raise SenderNotOwned(reverse_path, "MAIL FROM")
        return sender.address

    def submit(self, actor: Actor, sender: Sender, submitted: Submitted) -> Taken:
        """Take a message over; the same message with the same envelope again is the same entry, sent once.

        The entry (majority) is the commit, the copy in Sent follows it: who dies between them lets the client
        try again, which finds the entry and files the copy. One round trip for the signature, one for the entry,
        two for the copy, and those of `Identities.foreign` and `Usage.spend_on_sending`.

        Raises:
            MessageMalformed: the header can be read in more than one way.
            SenderNotOwned: it claims to be from somebody else.
            RateExceeded: so much may not be sent now.
            SendingStopped: the tenant sends nothing now.
            JournalUnavailable: the tenant wants a report of it, which cannot be made now.
            StoreUnavailable, StoreFull: not taken as far as is known; the same call again is safe.
            Planned: the actor only wants to know what would be done.
        """
        check_sending(self._placement.home(sender.user_id))
        policy = self._placement.tenant(sender.tenant_id).foreign_sender
        outgoing = Outgoing.read(submitted.raw)
        outgoing = checked_header(outgoing, self._identities, sender.user_id, sender.address, policy)
        if actor.dry_run:
            raise Planned("mail.submission", {"recipients": len(submitted.recipients)})
        key = _key(submitted, outgoing)
        queue_id = queue_id_of(sender.user_id, key)
        outgoing = self._completed(outgoing, sender, queue_id)
        message_id = _message_id(outgoing)
        domain = _from_domain(outgoing) or sender.address.rpartition("@")[2]
        held = self.spend(actor, sender, domain, len(submitted.recipients))
        public = outgoing.without(REMOVED_FIELDS)
        self._record(actor, sender, submitted, public, queue_id)
        self._queueing.enqueue(
            NewOutbound(
                user_id=sender.user_id,
                tenant_id=sender.tenant_id,
                reverse_path=submitted.reverse_path,
                forward_paths=tuple(submitted.recipients),
                message=self._signed(public, sender, submitted, queue_id),
                reason=submitted.reason,
                key=key,
                not_before=submitted.hold_until,
                delay_s=max(submitted.hold_for_s, self._placement.home(sender.user_id).settings.undo_s),
                held=held,
                return_content=submitted.return_content,
                envelope_id=submitted.envelope_id,
                is_utf8=submitted.is_utf8,
                header_message_id=message_id,
                subject=_subject(outgoing),
            ),
            actor,
        )
        fault.hit("submission.after_enqueue")
        copy = self._file(actor, sender, submitted, outgoing, queue_id)
        self._correspondents.note(sender.user_id, outgoing)
        fault.hit("submission.before_reply")
        return Taken(queue_id, message_id, copy, held)

    def _completed(self, outgoing: Outgoing, sender: Sender, queue_id: QueueId) -> Outgoing:
        """Return the message with Date and Message-ID (RFC 6409 §8.2, §8.3), and without what is not the sender's."""
        outgoing = outgoing.without(_KEPT_IN_SENT)
        added = b""
        if outgoing.first(b"date") is None:
            added += b"Date: " + format_datetime(now()).encode() + b"\r\n"
        if outgoing.first(b"message-id") is None:
            domain = domain_name(sender.address.rpartition("@")[2])
            added += f"Message-ID: <{queue_id}@{domain}>\r\n".encode()
        return outgoing.with_fields(added) if added else outgoing

    def _signed(self, public: Outgoing, sender: Sender, submitted: Submitted, queue_id: QueueId) -> bytes:
        """Return the bytes that go out; nobody learns from which address it was submitted."""
        received = f"Received: by {self._hostname} with {submitted.with_protocol} id {queue_id};\r\n\t"
        above = received.encode() + format_datetime(now()).encode() + b"\r\n"
        message = above + self._marks.field(sender.user_id, queue_id) + public.to_bytes()
        for domain in (_from_domain(public), submitted.reverse_path.rpartition("@")[2]):
            signatures = self._dkim.sign(sender.tenant_id, domain, message) if domain else b""
            if signatures:
                return signatures + message
        return message

    def _record(self, actor: Actor, sender: Sender, submitted: Submitted, public: Outgoing, queue_id: QueueId) -> None:
        """Report the message to the tenant's journal, where there is one, before it is taken."""
        if self._journal.archive_of(sender.tenant_id) is None:
            return
        paths = tuple(path.address for path in submitted.recipients)
        self._journal.record(
            actor,
            JournalEntry(
                sender.tenant_id, Direction.OUTGOING, submitted.reverse_path, paths, public.to_bytes(), queue_id
            ),
        )

    def spend(self, actor: Actor, sender: Sender, domain: str, recipients: int) -> str | None:
        """Count what somebody is about to send; return why it is held back, None if it may go.

        Of a burst an event tells, once an hour for each user and process.

        Raises:
            RateExceeded: so much may not be sent now.
        """
        try:
            held = self._usage.spend_on_sending(sender.user_id, sender.tenant_id, domain, recipients)
        except RateExceeded:
            self._reputation.note(sender.tenant_id, sender.user_id, Fate.LIMITED)
            raise
        if held is not None:
            self._reputation.note(sender.tenant_id, sender.user_id, Fate.BURST)
            log.warning("submission.burst", extra={"user": str(sender.user_id), "recipients": recipients})
            at = time.monotonic()
            if at >= self._told_of_burst.get(sender.user_id, 0.0):
                self._told_of_burst[sender.user_id] = at + TELL_AGAIN_S
                self._audit.happened(actor, "submission.burst", sender.user_id, {"recipients": recipients})
        if held is None and self._placement.home(sender.user_id).sending_hold is not None:
            return SENDING_HOLD
        return held

    def _file(
        self, actor: Actor, sender: Sender, submitted: Submitted, outgoing: Outgoing, queue_id: QueueId
    ) -> Filed | None:
        """File the copy; the message is on its way whatever becomes of it."""
        try:
            return self._sent_copies.file(actor, sender.user_id, outgoing.to_bytes(), queue_id, submitted.copy_into)
        except MailError as error:
            log.warning(
                "submission.not_filed",
                extra={"queue_id": queue_id, "error": type(error).__name__, "details": error.details},
            )
            return None


def _key(submitted: Submitted, outgoing: Outgoing) -> bytes:
    """Return what makes a repeat the same message: its bytes and envelope, if it has a Message-ID of its own.

    Without one nobody can tell a second message from a repeat.
    """
    if outgoing.first(b"message-id") is None:
        return b"submitted" + ObjectId().binary + secrets.token_bytes(8)
    digest = hashlib.sha256(submitted.raw)
    for text in (submitted.reverse_path, *sorted(path.address for path in submitted.recipients)):
        digest.update(b"\0" + text.encode("utf-8", "surrogatepass"))
    return b"submitted" + digest.digest()


def _message_id(outgoing: Outgoing) -> str:
    """Return the Message-ID as it may be shown; "" if it is malformed."""
    field = outgoing.first(b"message-id")
    value = field.value.decode("ascii", "replace") if field is not None else ""
    return value if _MESSAGE_ID.fullmatch(value) else ""


def _subject(outgoing: Outgoing) -> str:
    """Return how the Subject begins, as text that can be stored: UTF-7 may say half a character."""
    field = outgoing.first(b"subject")
    text = decode_header(field.value)[:SUBJECT_CHARACTERS] if field is not None else ""
    return text.encode("utf-8", "replace").decode()


def _from_domain(outgoing: Outgoing) -> str:
    """Return the domain of the first mailbox in From."""
    field = outgoing.first(b"from")
    mailboxes = parse_mailboxes(field.value) if field is not None else None
    return mailboxes[0].address.rpartition("@")[2] if mailboxes else ""
