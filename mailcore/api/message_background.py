"""What is known of a message besides what it says: what was verified, what it belongs to, where it went."""

from __future__ import annotations

from typing import Any, Final, Literal

from mailcore.api.call import Call
from mailcore.api.fields import Fields, instant
from mailcore.errors import FileNotFound
from mailcore.message.verification import verification
from mailcore.model.mailbox import MailboxEntry, SpecialUse
from mailcore.model.outbound import RecipientState
from mailcore.services.outbound.composed import Background
from mailcore.store.mailbox.notes import Note


class Cipher(Fields):
    """How the connection was encrypted that brought the message."""

    name: str
    version: str


class Dmarc(Fields):
    """Whether the author's domain is whose it says, and what that domain asks for otherwise (RFC 7489)."""

    domain: str | Literal[False]
    policy: Literal["none", "quarantine", "reject"]


class Verified(Fields):
    """Domains for which a check passed; false where it did not."""

    tls: Cipher | Literal[False]
    spf: str | Literal[False]
    dkim: str | Literal[False]
    dmarc: Dmarc | None = None


class FileOf(Fields):
    """A storage file that the message was composed with."""

    id: str
    filename: str
    content_type: str
    size: int
    cid: str | None = None


class Waiting(Fields):
    """A recipient whom the message has not reached yet."""

    seq: int
    recipient: str
    sending_zone: str
    queued: str | None


class Leaving(Fields):
    """An entry of the queue by which the message leaves."""

    queue_id: str
    entries: list[Waiting]


class ForwardTarget(Fields):
    """Where the message was sent on to."""

    type: str
    value: str


class ReferenceOf(Fields):
    """The message that this one answers or sends on."""

    mailbox: str
    id: int
    action: str


ZONE: Final = "default"


def background_fields(
    call: Call, entry: MailboxEntry, note: Note | None, header: bytes, message_id: str
) -> dict[str, Any]:
    """Return the fields; one round trip in Sent, and one where storage files are in the message."""
    found: dict[str, Any] = {}
    verified = verification(header, call.services.settings.hostname)
    if verified is not None:
        found["verificationResults"] = {
            "tls": {"name": verified.tls[1], "version": verified.tls[0]} if verified.tls is not None else False,
            "spf": verified.spf or False,
            "dkim": verified.dkim or False,
            **({"dmarc": {"domain": verified.dmarc or False, "policy": verified.policy}} if verified.policy else {}),
        }
    if note is not None and note.composed:
        found |= _composed(call, Background.unpack(note.composed))
    if entry.special_use is SpecialUse.SENT and message_id:
        leaving = _leaving(call, message_id)
        if leaving:
            found["outbound"] = leaving
    return found


def _composed(call: Call, background: Background) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if background.reference is not None:
        named = background.reference
        found["reference"] = {"mailbox": str(named.mailbox_id), "id": named.uid, "action": named.action.value}
    if background.forwarded_to:
        found["forwardTargets"] = [{"type": "mail", "value": one} for one in background.forwarded_to]
    if background.files:
        found["files"] = _files(call, background)
    return found


def _files(call: Call, background: Background) -> list[dict[str, Any]]:
    """Return those files that are still there."""
    try:
        files = call.services.files.get_many(call.owner, background.files)
    except FileNotFound:
        known = {file.id: file for file in call.services.files.list_of_user(call.owner)}
        files = [known[one] for one in background.files if one in known]
    return [
        {
            "id": str(file.id),
            "filename": file.filename,
            "contentType": file.content_type,
            "size": file.size_bytes,
            **({"cid": file.content_id} if file.content_id else {}),
        }
        for file in files
    ]


def _leaving(call: Call, message_id: str) -> list[dict[str, Any]]:
    return [
        {
            "queueId": one.id,
            "entries": [
                {"seq": number, "recipient": each.address, "sendingZone": ZONE, "queued": instant(one.created_at)}
                for number, each in enumerate(one.recipients, 1)
                if each.state is RecipientState.QUEUED
            ],
        }
        for one in call.services.outbound.list_of_message(call.owner, message_id)
    ]
