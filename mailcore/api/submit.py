"""Sending: a message composed here, a draft, and a message sent on as it is."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field

from mailcore.api.call import Call
from mailcore.api.composition import (
    ComposedInput,
    EmailAddress,
    MessageIn,
    People,
    PersonIn,
    own_address,
    wanted,
)
from mailcore.api.errors import ApiError, invalid
from mailcore.api.fields import Fields, Flag, Input, InputPart, Meta, Moment, Number, Oid, Output
from mailcore.api.mailboxes import find_mailbox
from mailcore.api.message import find_message
from mailcore.api.operation import Operation, Permission
from mailcore.errors import MailboxNotFound
from mailcore.message.headers import header_size
from mailcore.message.outgoing import Outgoing
from mailcore.model.flags import DRAFT, SEEN
from mailcore.model.forward_target import is_url, read_target_url
from mailcore.model.mailbox import MailboxEntry, SpecialUse
from mailcore.model.octets import Octets
from mailcore.model.roles import Action, Resource
from mailcore.services.content.composing import Wanted
from mailcore.services.outbound.composed import Background, MessagePlace, NewCopy, NewSending
from mailcore.services.outbound.sending import people_of
from mailcore.services.outbound.submission import Sender
from mailcore.services.process.clock import now

LONGEST_WAIT: Final = timedelta(days=366)


class EnvelopeIn(InputPart):
    """Who sends to whom, if not those of the header."""

    sender: PersonIn | None = Field(default=None, alias="from")
    to: People = ()


class Submit(ComposedInput):
    """A message to be sent; with `isDraft` it is kept as a draft, with `uploadOnly` it is filed and not sent."""

    model_config = ConfigDict(extra="ignore")

    mailbox: Oid | None = None
    meta: Meta | None = None
    is_draft: Flag = False
    draft: MessageIn | None = None
    send_time: Moment | None = None
    upload_only: Flag = False
    envelope: EnvelopeIn | None = None


class SubmitDraft(Input):
    """When to send it, and whether its storage files are not needed any longer."""

    delete_files: Flag = False
    send_time: Moment | None = None


class ForwardMessage(Input):
    """To whom a message goes: `addresses`, else the user's forwarding targets, or the one of them in that place."""

    target: Number | None = None
    addresses: Annotated[tuple[EmailAddress, ...], Field(max_length=100)] = ()


class SentMessage(Fields):
    """Where the copy is, and by which entry of the queue the message leaves."""

    mailbox: str | None
    id: int | None
    queue_id: str | None = None
    size: int | None = None


class Submitted(Output):
    """The message is on its way; `overQuota`: there was no room for a copy."""

    message: SentMessage
    over_quota: bool | None = None


class SubmittedDraft(Output):
    """The draft is on its way, and lies with what was sent."""

    queue_id: str
    message: SentMessage | None = None


class Target(Fields):
    """To whom a message was sent on."""

    seq: str
    type: str
    value: str


class Forwarded(Output):
    """It is on its way."""

    queue_id: str | None = None
    forwarded: list[Target]


def submit(call: Call, given: Submit) -> dict[str, Any]:
    """Send a message, as every door sends: sender checked, limits, signature, queue, and a copy where it belongs.

    Raises:
        ApiError: it may not wait so long, or says nothing.
    """
    if given.is_empty:
        raise ApiError(400, "EmptyMessage", "There is nothing of a message: give to, subject, text, html …")
    own = own_address(call)
    said = wanted(call, given)
    raw = call.services.composing.compose(call.owner, own, said)
    draft = _place(call, given.draft)
    if given.is_draft or given.upload_only:
        return _keep(call, given, said, raw, draft)
    recipients, author = people_of(Outgoing.read(raw[: header_size(raw)]))
    if given.envelope is not None:
        recipients = [one.address for one in given.envelope.to] or recipients
        author = given.envelope.sender.address if given.envelope.sender is not None else author
    sending = NewSending(
        raw=raw[:],
        reverse_path=author,
        recipients=recipients,
        copy_into=_mailbox(call, given.mailbox, SpecialUse.SENT),
        hold_until=_hold_until(given.send_time),
        meta_data=given.meta or "",
        background=Background(said.reference, tuple(said.files)),
        draft=draft,
    )
    sender = Sender(call.owner, call.services.placement.home(call.owner).tenant_id, own.address)
    taken = call.services.sending.send(call.on_behalf(), sender, sending)
    if taken.copy is None:
        return {"message": {"mailbox": None, "id": None, "queueId": taken.queue_id}, "overQuota": True}
    place = taken.copy
    return {"message": {"mailbox": str(place.mailbox_id), "id": place.uid, "queueId": taken.queue_id}}


def submit_draft(call: Call, given: SubmitDraft) -> dict[str, Any]:
    """Send a draft to whom its header names."""
    entry, view, row = find_message(call)
    own = own_address(call)
    sender = Sender(call.owner, call.services.placement.home(call.owner).tenant_id, own.address)
    taken, size = call.services.sending.send_draft(
        call.on_behalf(),
        sender,
        MessagePlace(entry.id, int(view.uids[row])),
        _hold_until(given.send_time),
        delete_files=given.delete_files,
    )
    answer: dict[str, Any] = {"queueId": taken.queue_id}
    if taken.copy is not None:
        answer["message"] = {"id": taken.copy.uid, "mailbox": str(taken.copy.mailbox_id), "size": size}
    return answer


def forward(call: Call, given: ForwardMessage) -> dict[str, Any]:
    """Send a message on as it is.

    Raises:
        ApiError: the user has no forwarding target in that place.
    """
    entry, view, row = find_message(call)
    addresses = list(given.addresses)
    if not addresses:
        addresses = list(call.services.placement.home(call.owner).settings.targets)
        if given.target is not None:
            if not 0 < given.target <= len(addresses):
                raise invalid({"target": f"there are {len(addresses)} forwarding targets, counted from 1"})
            addresses = [addresses[given.target - 1]]
    own = own_address(call)
    place = MessagePlace(entry.id, int(view.uids[row]))
    queue_id, targets = call.services.sending.forward(call.on_behalf(), call.owner, own.address, place, addresses)
    told = [{"seq": f"{number:03d}", "type": _kind(one), "value": one} for number, one in enumerate(targets, 1)]
    return {"queueId": queue_id, "forwarded": told}


def _kind(target: str) -> str:
    """Return how a forwarding target gets its mail, in the contract's words."""
    if not is_url(target):
        return "mail"
    return "http" if read_target_url(target).is_web else "relay"


def _keep(call: Call, given: Submit, said: Wanted, raw: Octets, draft: MessagePlace | None) -> dict[str, Any]:
    """Keep what is not to be sent: as a draft, or with what was sent."""
    use = SpecialUse.DRAFTS if given.is_draft else SpecialUse.SENT
    new = NewCopy(
        raw=raw,
        flags=SEEN | (DRAFT if given.is_draft else 0),
        meta_data=given.meta or "",
        background=Background(said.reference, tuple(said.files)),
        replaces=draft,
    )
    place, _ = call.services.sending.keep(call.on_behalf(), call.owner, _mailbox(call, given.mailbox, use), new)
    return {"message": {"id": place.uid, "mailbox": str(place.mailbox_id), "size": len(raw)}}


def _mailbox(call: Call, text: str | None, use: SpecialUse) -> MailboxEntry:
    if text is not None:
        return find_mailbox(call, text)
    entry = call.services.mailboxes.tree_cached(call.owner).find_special(use)
    entry = entry or call.services.mailboxes.tree(call.owner).find_special(use)
    if entry is None:
        raise MailboxNotFound(use.value)
    return entry


def _place(call: Call, given: MessageIn | None) -> MessagePlace | None:
    return MessagePlace(find_mailbox(call, given.mailbox).id, given.id) if given is not None else None


def _hold_until(at: datetime | None) -> datetime | None:
    """Return until when a message waits; one whose time has come does not."""
    if at is None or at <= now():
        return None
    if at > now() + LONGEST_WAIT:
        raise invalid({"sendTime": "is more than a year away"})
    return at


_PATH: Final = "/users/{user}/mailboxes/{mailbox}/messages/{message}"
_CREATE: Final = Permission(Resource.MESSAGES, Action.CREATE)
OPERATIONS: Final = (
    Operation("POST", "/users/{user}/submit", "submitMessage", "Send a message", _CREATE, Submit, Submitted, submit),
    Operation(
        "POST", f"{_PATH}/submit", "submitDraft", "Send a draft", _CREATE, SubmitDraft, SubmittedDraft, submit_draft,
    ),
    Operation(
        "POST", f"{_PATH}/forward", "forwardMessage", "Send a message on", _CREATE, ForwardMessage, Forwarded, forward,
    ),
)  # fmt: skip
