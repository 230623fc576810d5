"""What a webmail does with a message that it composed: keep it, send it, send a draft, send a message on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from bson import ObjectId

from mailcore.errors import (
    MailboxChanged,
    MailboxNotFound,
    MailError,
    MailLoop,
    MessageNotDraft,
    MessageNotFound,
    MessageTooLarge,
    NoRecipients,
    UserDisabled,
)
from mailcore.message.addresses import parse_addresses
from mailcore.message.headers import find_first, header_size
from mailcore.message.outgoing import Outgoing
from mailcore.model.actor import Actor
from mailcore.model.flags import DRAFT, FlagOperation, FlagSet
from mailcore.model.ids import Uid, UserId
from mailcore.model.limits import DEFAULT_LIMITS, Spending
from mailcore.model.mailbox import MailboxEntry
from mailcore.model.outbound import OutboundRecipient, QueueId, Reason
from mailcore.model.plan import Forward
from mailcore.model.tenant import State
from mailcore.services.accounts.usage import Usage
from mailcore.services.content.content import ContentStore
from mailcore.services.content.files import Files
from mailcore.services.content.originals import Following, Originals, Reference
from mailcore.services.inbound.arrival import Arrival
from mailcore.services.inbound.forwarding import Forwarding
from mailcore.services.mailboxes.mailboxes import Mailboxes
from mailcore.services.mailboxes.messages import Messages, NewMessage
from mailcore.services.outbound.composed import Background, MessagePlace, NewCopy, NewSending
from mailcore.services.outbound.sent_copies import Filed, SentCopies
from mailcore.services.outbound.submission import Sender, Submission, Submitted, Taken
from mailcore.services.tenants.quotas import Quotas
from mailcore.services.tenants.standing import check_sending
from mailcore.store.mailbox.notes import Note
from mailcore.store.mailbox.view import MailboxView
from mailcore.store.placement import Placement

log = logging.getLogger(__name__)

BY_HTTP: Final = "HTTP"
"""The `with` keyword of the Received field."""
_RECIPIENTS: Final = (b"to", b"cc", b"bcc")


class Sending:
    """Keeps and sends; everything that leaves does so by `Submission`."""

    def __init__(
        self,
        placement: Placement,
        mailboxes: Mailboxes,
        messages: Messages,
        content: ContentStore,
        quotas: Quotas,
        originals: Originals,
        files: Files,
        submission: Submission,
        sent_copies: SentCopies,
        forwarding: Forwarding,
        usage: Usage,
    ) -> None:
        self._placement = placement
        self._mailboxes = mailboxes
        self._messages = messages
        self._content = content
        self._quotas = quotas
        self._originals = originals
        self._files = files
        self._submission = submission
        self._sent_copies = sent_copies
        self._forwarding = forwarding
        self._usage = usage

    # -- keeping --------------------------------------------------------------------------------

    def keep(self, actor: Actor, user_id: UserId, entry: MailboxEntry, new: NewCopy) -> tuple[MessagePlace, bool]:
        """Put a message into a mailbox; return where it is, and whether what it replaces is gone.

        Raises:
            UserDisabled: the user may not change anything.
            MessageTooLarge, OverQuota: it does not fit.
            As `Messages.append` and `Messages.replace`.
        """
        self._check_active(user_id)
        if len(new.raw) > DEFAULT_LIMITS.message_bytes:
            raise MessageTooLarge(len(new.raw))
        message = NewMessage(new.raw, FlagSet(new.flags), new.internal_date)
        appended = None
        if new.replaces is not None:
            old = new.replaces
            replaced = self._messages.replace(user_id, actor, old.mailbox_id, old.uids, entry.name, message)
            appended = replaced.appended if replaced is not None else None
        was_there = appended is not None
        if appended is None:
            appended = self._messages.append(user_id, actor, entry.name, [message])
        place = MessagePlace(appended.mailbox_id, next(iter(appended.uids)))
        self._note(actor, user_id, place, Note(new.meta_data.encode(), None, new.background.pack()))
        return place, was_there

    # -- sending --------------------------------------------------------------------------------

    def send(self, actor: Actor, sender: Sender, new: NewSending) -> Taken:
        """Send a message and file its copy; what it answers is marked, the draft that it was goes.

        Raises:
            UserDisabled: the user may not send.
            NoRecipients: there is nobody to send it to.
            OverQuota: there is no room for its copy, so it is not sent.
            As `Submission.submit`.
        """
        self._check_active(sender.user_id)
        if not new.recipients:
            raise NoRecipients(sender.user_id)
        if not new.is_draft_itself:
            self._quotas.check(sender.user_id, len(new.raw))
        taken = self._submission.submit(actor, sender, self._submitted(sender, new))
        if taken.copy is not None:
            copy = MessagePlace(taken.copy.mailbox_id, taken.copy.uid)
            self._note(actor, sender.user_id, copy, Note(new.meta_data.encode(), None, new.background.pack()))
        elif new.draft is not None and new.is_draft_itself:
            taken = replace(taken, copy=self._moved(actor, sender.user_id, new.draft, new.copy_into))
            new = replace(new, draft=None)
        self._settle(actor, sender.user_id, new)
        return taken

    def send_draft(
        self, actor: Actor, sender: Sender, place: MessagePlace, hold_until: datetime | None, *, delete_files: bool
    ) -> tuple[Taken, int]:
        r"""Send a draft to whom its header names, with today's date; it lies in \Sent then. Return its size as well.

        Sent twice, because an answer got lost, it leaves once.

        Raises:
            MailboxNotFound, MessageNotFound: it is not there.
            MessageNotDraft: it is no draft.
            MessageMalformed: its header can be read in more than one way.
            As `send`.
        """
        view, row = self._find(sender.user_id, place)
        if not int(view.flags[row]) & DRAFT:
            raise MessageNotDraft(place.uid)
        raw = b"".join(self._content.open(sender.user_id, view.message_oid(row)).read())
        note = self._mailboxes.notes(sender.user_id, place.mailbox_id, [place.uid]).get(place.uid, Note())
        background = Background.unpack(note.composed)
        outgoing = Outgoing.read(raw)
        recipients, author = people_of(outgoing)
        entry = self._sent_copies.sent(sender.user_id)
        if entry is None:
            raise MailboxNotFound("\\Sent")
        sending = NewSending(
            raw=outgoing.without((b"date",)).to_bytes(),
            reverse_path=author or sender.address,
            recipients=recipients,
            copy_into=entry,
            hold_until=hold_until,
            meta_data=note.meta_data.decode(),
            background=replace(background, files=()) if delete_files else background,
            draft=place,
            is_draft_itself=True,
        )
        taken = self.send(actor, sender, sending)
        for file_id in background.files if delete_files else ():
            self._delete_file(actor, sender.user_id, file_id)
        return taken, len(raw)

    def forward(
        self, actor: Actor, user_id: UserId, own: str, place: MessagePlace, addresses: Sequence[str]
    ) -> tuple[QueueId, Sequence[str]]:
        """Send a message on as it is, under a reverse-path of ours; return by which entry, and to whom.

        It counts, and is held, as whatever else the user sends.

        Raises:
            UserDisabled: the user may not send.
            SendingStopped: the tenant sends nothing now.
            MailboxNotFound, MessageNotFound: it is not there.
            NoRecipients: nobody to send it to.
            MailLoop: it came through too many servers already.
            RateExceeded: so much may not be sent, or sent on, now.
            StoreUnavailable, StoreFull: not queued, as far as is known.
        """
        self._check_active(user_id)
        home = self._placement.home(user_id)
        check_sending(home)
        view, row = self._find(user_id, place)
        if not addresses:
            raise NoRecipients(user_id)
        targets = tuple(dict.fromkeys(addresses))
        raw = b"".join(self._content.open(user_id, view.message_oid(row)).read())
        reverse_path = parse_addresses(find_first(raw[: header_size(raw)], b"return-path") or b"")
        arrival = Arrival(raw, self._content.prepare(raw), reverse_path[0].address if reverse_path else "", None, actor)
        if arrival.hops > DEFAULT_LIMITS.received_fields:
            raise MailLoop("It came through too many servers already")
        note = self._mailboxes.notes(user_id, place.mailbox_id, [place.uid]).get(place.uid, Note())
        background = Background.unpack(note.composed)
        reference = Reference(place.mailbox_id, place.uid, Following.FORWARD)
        self._originals.mark(actor, user_id, reference)  # ends a dry run before anything is sent
        self._usage.spend(user_id, Spending.FORWARDS, len(targets))
        sender = Sender(user_id, home.tenant_id, own)
        held = self._submission.spend(actor, sender, own.rpartition("@")[2], len(targets))
        forwards = [Forward(address) for address in targets]
        queue_ids = self._forwarding.send(
            arrival, home, own, ObjectId().binary, forwards, b"", is_kept=True, reason=Reason.API, held=held
        )
        known = tuple(dict.fromkeys((*background.forwarded_to, *targets)))[-DEFAULT_LIMITS.forward_targets :]
        packed = replace(background, forwarded_to=known).pack()
        self._note(actor, user_id, place, replace(note, composed=packed))
        return queue_ids[0], targets

    # -- parts ----------------------------------------------------------------------------------

    def _submitted(self, sender: Sender, new: NewSending) -> Submitted:
        reverse_path = self._submission.reverse_path(sender, new.reverse_path)
        recipients = tuple(dict.fromkeys(new.recipients))
        return Submitted(
            raw=new.raw,
            reverse_path=reverse_path,
            recipients=[OutboundRecipient(address) for address in recipients],
            with_protocol=BY_HTTP,
            hold_until=new.hold_until,
            is_utf8=not (reverse_path + "".join(recipients)).isascii(),
            reason=Reason.API,
            copy_into=new.copy_into,
        )

    def _settle(self, actor: Actor, user_id: UserId, new: NewSending) -> None:
        """Do what follows; the message is on its way whatever becomes of it."""
        try:
            if new.background.reference is not None:
                self._originals.mark(actor, user_id, new.background.reference)
        except MailError as error:
            log.warning("sending.not_marked", extra={"user": str(user_id), "reason": type(error).__name__})
        try:
            if new.draft is not None:
                draft = new.draft
                self._messages.expunge(user_id, actor, draft.mailbox_id, draft.uids, only_deleted=False)
        except MailError as error:
            log.warning("sending.draft_left", extra={"user": str(user_id), "reason": type(error).__name__})

    def _moved(self, actor: Actor, user_id: UserId, draft: MessagePlace, into: MailboxEntry) -> Filed | None:
        """Make the draft itself the copy, where there is no room for another."""
        try:
            self._messages.store(user_id, actor, draft.mailbox_id, draft.uids, FlagOperation.REMOVE, FlagSet(DRAFT))
            moved = self._messages.move(user_id, actor, draft.mailbox_id, draft.uids, into.name)
        except MailError as error:
            log.warning("sending.draft_left", extra={"user": str(user_id), "reason": type(error).__name__})
            return None
        uids = list(moved.target)
        return Filed(into.id, Uid(uids[0])) if uids else None

    def _note(self, actor: Actor, user_id: UserId, place: MessagePlace, note: Note) -> None:
        """Keep what belongs to a copy beside it; the message is there without, and that is what counts."""
        if note.is_empty:
            return
        try:
            self._messages.put_note(user_id, actor, place.mailbox_id, place.uid, note)
        except MailError as error:
            log.warning("sending.not_noted", extra={"user": str(user_id), "reason": type(error).__name__})

    def _delete_file(self, actor: Actor, user_id: UserId, file_id: ObjectId) -> None:
        try:
            self._files.delete(actor, user_id, file_id)
        except MailError as error:
            log.info("sending.file_left", extra={"user": str(user_id), "reason": type(error).__name__})

    def _find(self, user_id: UserId, place: MessagePlace) -> tuple[MailboxView, int]:
        try:
            view = self._mailboxes.refresh(user_id, place.mailbox_id)
        except MailboxChanged:
            raise MailboxNotFound(place.mailbox_id) from None
        row = view.row_of(place.uid)
        if row < 0:
            raise MessageNotFound(place.uid)
        return view, row

    def _check_active(self, user_id: UserId) -> None:
        if self._placement.home(user_id).state is not State.ACTIVE:
            raise UserDisabled(user_id)


def people_of(outgoing: Outgoing) -> tuple[list[str], str]:
    """Return to whom a header says that it goes, each once, and the address of its author."""
    named = [
        each.address
        for header_field in outgoing.fields
        if header_field.name in _RECIPIENTS
        for each in parse_addresses(header_field.value)
        if each.address
    ]
    sender = outgoing.first(b"from")
    authors = parse_addresses(sender.value) if sender is not None else []
    return list(dict.fromkeys(named)), authors[0].address if authors else ""
