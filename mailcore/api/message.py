"""One message: what it says, its source, its attachments."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote, unquote

from pydantic import Field
from werkzeug.wrappers import Response

from mailcore.api.call import Call
from mailcore.api.errors import ApiError, invalid
from mailcore.api.fields import Fields, Flag, Input, Nothing, Output, instant, meta_value
from mailcore.api.mailboxes import find_mailbox
from mailcore.api.message_background import (
    FileOf,
    ForwardTarget,
    Leaving,
    ReferenceOf,
    Verified,
    background_fields,
)
from mailcore.api.message_items import (
    Attachment,
    Bimi,
    ContentType,
    Person,
    flag_fields,
    meta_json,
    thread_id,
)
from mailcore.api.messages import READ, open_view
from mailcore.api.operation import Media, Operation, Permission
from mailcore.errors import MessageNotFound
from mailcore.message.attachments import Leaf, attachments, leaves
from mailcore.message.charset import decode_text
from mailcore.message.headers import first_values, names_pattern
from mailcore.message.summary import instant as seconds_instant
from mailcore.message.summary import people, summary_of_parts
from mailcore.message.transfer import decode_transfer
from mailcore.model.flags import HAS_NOTE, SEEN, FlagOperation, FlagSet
from mailcore.model.mailbox import MailboxEntry
from mailcore.model.roles import Action, Resource
from mailcore.model.uid_set import MAX_NUMBER, UidSet
from mailcore.services.content.stored_content import Content
from mailcore.store.mailbox.view import MailboxView

TEXT_BYTES: Final = 1 << 20
"""So much of each text part is shown; the source has it whole."""
TEXT_PARTS: Final = 50
_NAMES: Final = names_pattern((b"reply-to", b"list-id", b"list-unsubscribe", b"return-path", b"delivered-to"))
_CID: Final = re.compile(r"\bcid:([^\s\"'<>()]+)", re.IGNORECASE)
PASSIVE: Final = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "private, no-store",
}
"""What keeps a browser from doing anything with bytes that strangers wrote."""


class GetMessage(Input):
    """`markAsSeen` sets the flag along the way."""

    replace_cid_links: Flag = False
    mark_as_seen: Flag = False


class GetAttachment(Input):
    """`sendAsString` decodes the character set to UTF-8."""

    send_as_string: Flag = False


class Recipient(Fields):
    """A recipient of the transaction that brought the message."""

    value: str
    formatted: str


class Transaction(Fields):
    """Who sent it to whom, as the transaction said (RFC 5321 §3.3)."""

    sender: str = Field(alias="from")
    rcpt: list[Recipient]


class ListFields(Fields):
    """What a mailing list says of itself (RFC 2369, RFC 2919)."""

    id: Person | None = None
    unsubscribe: list[Person] | None = None


class MessageAnswer(Output):
    """A message with its texts."""

    id: int
    mailbox: str
    user: str
    envelope: Transaction
    thread: str
    sender: Person = Field(alias="from")
    reply_to: list[Person] | None = None
    to: list[Person]
    cc: list[Person]
    bcc: list[Person]
    subject: str
    message_id: str
    date: str | None
    idate: str | None
    mailing_list: ListFields | None = Field(default=None, alias="list")
    size: int
    expires: str | None = None
    seen: bool
    deleted: bool
    flagged: bool
    draft: bool
    answered: bool
    forwarded: bool
    html: list[str]
    text: str
    attachments: list[Attachment]
    content_type: ContentType
    meta_data: dict[str, Any]
    references: list[str]
    encrypted: bool
    bimi: Bimi | None = None
    verification_results: Verified | None = None
    files: list[FileOf] | None = None
    outbound: list[Leaving] | None = None
    forward_targets: list[ForwardTarget] | None = None
    reference: ReferenceOf | None = None


def get_message(call: Call, given: GetMessage) -> dict[str, Any]:
    """Return a message; three small round trips where the mailbox is in memory."""
    entry, view, row = find_message(call)
    uid = int(view.uids[row])
    content = call.services.content.open(call.owner, view.message_oid(row), structured=True)
    flags = int(view.flags[row])
    if given.mark_as_seen and not flags & SEEN:
        one = UidSet(((uid, uid),))
        store = call.services.messages.store
        call.change(store, call.owner, call.on_behalf(), entry.id, one, FlagOperation.ADD, FlagSet(SEEN))
        flags |= 0 if call.actor.dry_run else SEEN
    note = call.services.mailboxes.notes(call.owner, entry.id, [uid]).get(uid) if flags & HAS_NOTE else None
    header = content.header_bytes()
    found = leaves(content.body_structure)
    listed = list(attachments(found))
    short = summary_of_parts(header, found, "")
    values = first_values(header, _NAMES)
    text, html = _texts(content, found)
    links = {leaf.content_id.strip("<>"): name for name, leaf in listed if leaf.content_id}
    return {
        "id": uid,
        "mailbox": str(entry.id),
        "user": str(call.owner),
        "envelope": _transaction(values),
        "thread": thread_id(int(view.threads[row])),
        **{name: short[name] for name in _OF_SUMMARY},
        **({"replyTo": people(values[b"reply-to"])} if b"reply-to" in values else {}),
        **({"list": _list_fields(values)} if b"list-id" in values else {}),
        "idate": seconds_instant(int(view.internal_dates[row])),
        "size": int(view.sizes[row]),
        **({"expires": instant(note.expires_at)} if note is not None and note.expires_at is not None else {}),
        **flag_fields(view, flags),
        "text": text,
        "html": [with_links(part, links) for part in html],
        "attachments": short["attachmentsList"],
        "metaData": meta_value(meta_json(note).decode()),
        **background_fields(call, entry, note, header, short["messageId"]),
    }


_OF_SUMMARY: Final = (
    "from", "to", "cc", "bcc", "subject", "messageId", "date", "references", "contentType", "encrypted",
)  # fmt: skip


def get_source(call: Call, _: Nothing) -> Response:
    """Return the message byte for byte, piece by piece."""
    place = find_message(call)
    content = call.services.content.open(call.owner, place[1].message_oid(place[2]))
    answer = Response(content.read(), 200, mimetype=Media.MESSAGE.value)
    answer.headers.update(PASSIVE)
    answer.headers["Content-Length"] = str(content.size_bytes)
    answer.headers["Content-Disposition"] = 'attachment; filename="message.eml"'
    return answer


def get_attachment(call: Call, given: GetAttachment) -> Response:
    """Return an attachment decoded.

    Raises:
        ApiError: the message has none of that id.
    """
    _, view, row = find_message(call)
    content = call.services.content.open(call.owner, view.message_oid(row), structured=True)
    leaf = dict(attachments(leaves(content.body_structure))).get(call.path["attachment"])
    place = content.parts.locate_binary(leaf.part_number) if leaf is not None else None
    if leaf is None or place is None:
        raise ApiError(404, "AttachmentNotFound", "This attachment does not exist")
    pieces = _decoded(content.read(place.start, place.end), place.encoding)
    media = leaf.content_type
    if given.send_as_string:
        text = decode_text(b"".join(pieces), leaf.parameters.get("charset"), guess=True)
        answer = Response(text.encode(), 200, content_type="text/plain; charset=utf-8")
    else:
        answer = Response(pieces, 200, content_type=media if "/" in media else Media.BYTES.value)
    answer.headers.update(PASSIVE)
    answer.headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{safe_file_name(leaf.filename)}"
    return answer


def find_message(call: Call) -> tuple[MailboxEntry, MailboxView, int]:
    """Return mailbox, view and row of the message in the path.

    Raises:
        ApiError: its id is no number.
        MessageNotFound: it is not there.
    """
    text = call.path["message"]
    if not re.fullmatch(r"[0-9]{1,10}", text) or not 0 < int(text) <= MAX_NUMBER:
        raise invalid({"message": "must be the number of a message"})
    entry = find_mailbox(call, call.path["mailbox"])
    view = open_view(call, entry)
    row = view.row_of(int(text))
    if row < 0:
        raise MessageNotFound(text)
    return entry, view, row


def _texts(content: Content, found: list[Leaf]) -> tuple[str, list[str]]:
    """Return plain text, joined, and every HTML part."""
    plain: list[str] = []
    html: list[str] = []
    for leaf in [leaf for leaf in found if leaf.is_text][:TEXT_PARTS]:
        place = content.parts.locate_binary(leaf.part_number)
        if place is None:
            continue
        raw = b"".join(content.read(place.start, min(place.end, place.start + 2 * TEXT_BYTES)))
        decoded = decode_transfer(raw, place.encoding)
        text = decode_text(
            (raw if decoded is None else decoded)[:TEXT_BYTES], leaf.parameters.get("charset"), guess=True
        )
        (html if leaf.content_type == "text/html" else plain).append(text)
    return "\n".join(plain), html


def with_links(text: str, links: dict[str, str]) -> str:
    """Return HTML with `cid:` links (RFC 2392) as `attachment:` and the id, in one pass however many there are."""

    def linked(match: re.Match[str]) -> str:
        name = links.get(match[1]) or links.get(unquote(match[1]))
        return match[0] if name is None else f"attachment:{name}"

    return _CID.sub(linked, text)


def _decoded(pieces: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """Yield what is encoded, base64 piece by piece; what cannot be undone as it is."""
    if encoding != "base64":
        raw = b"".join(pieces)
        decoded = decode_transfer(raw, encoding)
        yield raw if decoded is None else decoded
        return
    rest = b""
    for piece in pieces:
        rest += piece.translate(None, b"\r\n\t ")
        whole = len(rest) // 4 * 4
        try:
            yield binascii.a2b_base64(rest[:whole])
        except binascii.Error:
            break
        rest = rest[whole:]
    else:
        yield decode_transfer(rest, "base64") or b""
        return
    yield decode_transfer(rest + b"".join(pieces), "base64") or b""


def _transaction(values: dict[bytes, bytes]) -> dict[str, Any]:
    sender = people(values.get(b"return-path"))
    recipient = values.get(b"delivered-to", b"").decode("utf-8", "replace").strip()
    return {
        "from": sender[0]["address"] if sender else "",
        "rcpt": [{"value": recipient, "formatted": recipient}] if recipient else [],
    }


def _list_fields(values: dict[bytes, bytes]) -> dict[str, Any]:
    name, _, identifier = values[b"list-id"].decode("utf-8", "replace").rpartition("<")
    links = values.get(b"list-unsubscribe", b"").decode("utf-8", "replace")
    return {
        "id": {"name": name.strip().strip('"'), "address": identifier.strip().rstrip(">")},
        "unsubscribe": [
            {"name": "", "address": link.strip().strip("<>").removeprefix("mailto:")}
            for link in links.split(",")
            if link.strip()
        ],
    }


def safe_file_name(filename: str) -> str:
    """Return a name that is safe in a header and as a file (RFC 8187; no paths, no marks of direction)."""
    name = filename.replace("\\", "/").rpartition("/")[2]
    kept = "".join(character for character in name if character.isprintable() and character not in '<>:"|?*')
    return quote(kept.lstrip(".")[:120] or "attachment", safe="")


_PATH: Final = "/users/{user}/mailboxes/{mailbox}/messages/{message}"
OPERATIONS: Final = (
    Operation("GET", _PATH, "getMessage", "Get a message", READ, GetMessage, MessageAnswer, get_message),
    Operation(
        "GET", f"{_PATH}/message.eml", "getMessageSource", "Get the source of a message", READ,
        Nothing, Output, get_source, media=Media.MESSAGE,
    ),
    Operation(
        "GET", f"{_PATH}/attachments/{{attachment}}", "getAttachment", "Get an attachment",
        Permission(Resource.ATTACHMENTS, Action.READ), GetAttachment, Output, get_attachment, media=Media.BYTES,
    ),
)  # fmt: skip
