"""Messages as lists show them: numbers and flags of the copy, and the summary that blocks hold ready."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import orjson
from pydantic import Field

from mailcore.api.call import Call
from mailcore.api.fields import Fields
from mailcore.message.encoded_words import decode_header
from mailcore.message.headers import iter_fields
from mailcore.message.summary import instant
from mailcore.model.flags import ANSWERED, DELETED, DRAFT, FLAGGED, HAS_NOTE, SEEN
from mailcore.model.mailbox import MailboxEntry, SpecialUse
from mailcore.store.mailbox.notes import Note
from mailcore.store.mailbox.view import MailboxView

Rows = npt.NDArray[np.int64]

FORWARDED: Final = "$Forwarded"


class Person(Fields):
    """A name and an address of a header."""

    name: str
    address: str


class Attachment(Fields):
    """A part that can be fetched by its id; sizes are of what it decodes to, as near as can be told."""

    id: str
    hash: str | None = None
    filename: str
    content_type: str
    disposition: str
    transfer_encoding: str
    related: bool
    size_kb: int
    size: int


class ContentType(Fields):
    """A media type."""

    value: str
    params: dict[str, str]


class Bimi(Fields):
    """A verified logo of the sender."""

    certified: bool | None = None
    url: str | None = None
    image: str | None = None
    type: str | None = None


class MessageItem(Fields):
    """One message of a list."""

    id: int
    mailbox: str
    thread: str
    thread_message_count: int | None = None
    has_drafts: bool | None = None
    sender: Person = Field(alias="from")
    to: list[Person]
    cc: list[Person]
    bcc: list[Person]
    message_id: str
    subject: str
    date: str | None
    idate: str
    intro: str
    attachments: bool
    attachments_list: list[Attachment]
    size: int
    seen: bool
    deleted: bool
    flagged: bool
    draft: bool
    answered: bool
    forwarded: bool
    references: list[str]
    bimi: Bimi | None = None
    content_type: ContentType
    encrypted: bool
    meta_data: dict[str, Any] | None = None
    headers: dict[str, list[str]] | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """What else of each message is asked for; `drafts`: conversations in which the user has begun to write."""

    meta_data: bool = False
    thread_counters: bool = False
    headers: bool = False
    drafts: frozenset[int] | None = None


def thread_id(thread: int) -> str:
    """Return the id of a conversation as clients of the API know ids."""
    return f"{thread:024x}"


def flag_fields(view: MailboxView, flags: int) -> dict[str, bool]:
    """Return the flags of one message as fields."""
    forwarded = bool(flags & view.keyword_mask(FORWARDED))
    return {
        "seen": bool(flags & SEEN),
        "deleted": bool(flags & DELETED),
        "flagged": bool(flags & FLAGGED),
        "draft": bool(flags & DRAFT),
        "answered": bool(flags & ANSWERED) and not forwarded,
        "forwarded": forwarded,
    }


def message_items(
    call: Call, entry: MailboxEntry, view: MailboxView, rows: Rows, shown: Shown
) -> list[orjson.Fragment]:
    """Return rows of a mailbox as JSON, in their order; round trips as `Listings.summaries`, one for notes if asked."""
    summaries = call.services.listings.summaries(call.owner, view, rows)
    notes = notes_of(call, view, rows) if shown.meta_data else {}
    headers = _headers(call, view, rows) if shown.headers else {}
    mailbox = str(entry.id)
    forwarded = view.keyword_mask(FORWARDED)
    flags = view.flags[rows].tolist()
    uids, threads, sizes, dates = (
        column[rows].tolist() for column in (view.uids, view.threads, view.sizes, view.internal_dates)
    )
    counts = _counts(view, rows) if shown.thread_counters else None
    found = []
    for index, row in enumerate(rows.tolist()):
        extra = b""
        if counts is not None:
            extra += b'"threadMessageCount":%d,' % counts[index]
        if shown.meta_data:
            extra += b'"metaData":%b,' % meta_json(notes.get(uids[index]))
        if shown.drafts is not None:
            extra += b'"hasDrafts":%b,' % _BOOL[threads[index] in shown.drafts]
        if shown.headers:
            extra += b'"headers":%b,' % headers[row]
        found.append(
            orjson.Fragment(
                b'{"id":%d,"mailbox":"%b","thread":"%024x","idate":"%b","size":%d,%b%b%b'
                % (
                    uids[index],
                    mailbox.encode(),
                    threads[index],
                    (instant(dates[index]) or "").encode(),
                    sizes[index],
                    _flags(flags[index], forwarded),
                    extra,
                    summaries[row][1:],
                )
            )
        )
    return found


def threads_with_drafts(call: Call) -> frozenset[int]:
    """Return the conversations of the user's drafts; one small round trip where their mailbox is in memory."""
    entry = call.services.mailboxes.tree_cached(call.owner).find_special(SpecialUse.DRAFTS)
    if entry is None:
        return frozenset()
    view = call.services.mailboxes.refresh_many(call.owner, [entry.id]).get(entry.id)
    if view is None:
        return frozenset()
    return frozenset(view.threads[(view.flags & np.uint64(DRAFT)) != 0].tolist())


def notes_of(call: Call, view: MailboxView, rows: Rows) -> Mapping[int, Note]:
    """Return the notes of rows by UID; one round trip, none if no row has any."""
    marked = rows[(view.flags[rows] & np.uint64(HAS_NOTE)) != 0]
    return call.services.mailboxes.notes(call.owner, view.mailbox_id, view.uids[marked].tolist())


def meta_json(note: Note | None) -> bytes:
    """Return the metadata of a note as JSON text."""
    return note.meta_data if note is not None and note.meta_data else b"{}"


def _counts(view: MailboxView, rows: Rows) -> list[int]:
    """Return how many messages of the mailbox are in the conversation of each row."""
    threads, places, counts = np.unique(view.threads, return_inverse=True, return_counts=True)
    return [int(count) for count in counts[places[rows]]] if len(threads) else []


def _flags(flags: int, forwarded: int) -> bytes:
    is_forwarded = flags & forwarded
    return b'"seen":%b,"deleted":%b,"flagged":%b,"draft":%b,"answered":%b,"forwarded":%b,' % (
        _BOOL[flags & SEEN != 0],
        _BOOL[flags & DELETED != 0],
        _BOOL[flags & FLAGGED != 0],
        _BOOL[flags & DRAFT != 0],
        _BOOL[flags & ANSWERED != 0 and not is_forwarded],
        _BOOL[is_forwarded != 0],
    )


_BOOL: Final = (b"false", b"true")


def header_fields(header: bytes) -> dict[str, list[str]]:
    """Return the fields of a header by lower-case name, values decoded, in their order."""
    found: dict[str, list[str]] = {}
    for field in iter_fields(header):
        raw = header[field.start : field.end].partition(b":")[2]
        found.setdefault(field.name.decode("ascii", "replace"), []).append(decode_header(raw).strip())
    return found


def _headers(call: Call, view: MailboxView, rows: Rows) -> dict[int, bytes]:
    oids: Sequence[bytes] = [view.message_oid(row) for row in rows.tolist()]
    texts = call.services.content.texts(call.owner, oids)
    return {
        row: orjson.dumps(header_fields(texts[oid].header) if oid in texts else {})
        for row, oid in zip(rows.tolist(), oids, strict=True)
    }
