"""Messages of a mailbox: lists, single messages, flags, moves, deletion."""

from __future__ import annotations

import re
import secrets
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, StringConstraints, WithJsonSchema

from mailcore.api.call import Call
from mailcore.api.errors import ApiError, invalid
from mailcore.api.fields import Flag, Input, Listing, Meta, Moment, Nothing, Oid, Output, Page
from mailcore.api.mailboxes import find_mailbox
from mailcore.api.message_items import MessageItem, Shown, message_items, threads_with_drafts
from mailcore.api.operation import Operation, Permission
from mailcore.api.paging import Position, cut, position
from mailcore.api.steps import Change
from mailcore.errors import MailboxChanged, MailboxNotFound, MessageNotFound
from mailcore.model.actor import Actor
from mailcore.model.changes import Cause
from mailcore.model.flags import DELETED, DRAFT, FLAGGED, SEEN, FlagOperation, FlagSet
from mailcore.model.ids import MailboxName
from mailcore.model.mailbox import MailboxEntry
from mailcore.model.roles import Action, Resource
from mailcore.model.uid_set import MAX_NUMBER, UidSet
from mailcore.store.mailbox.notes import Note
from mailcore.store.mailbox.view import MailboxView

Rows = npt.NDArray[np.int64]
Order = Annotated[Literal["asc", "desc"], Field()]
_PART: Final = r"[1-9]\d{0,9}(?::(?:[1-9]\d{0,9}|\*))?"
_RANGES: Final = re.compile(rf"{_PART}(?:,{_PART}){{0,9999}}", re.ASCII)
Expiry = Annotated[
    Moment | Literal[False], WithJsonSchema({"anyOf": [{"type": "string", "format": "date-time"}, {"const": False}]})
]
MessageRange = Annotated[str, StringConstraints(max_length=65_536)]


class ListMessages(Page):
    """Which messages, in which order, and what of them."""

    unseen: Flag | None = None
    meta_data: Flag = False
    thread_counters: Flag = False
    include_headers: Flag = False
    collapse_threads: Flag = False
    include_has_drafts: Flag = False
    order: Order = "desc"


class MessageList(Listing):
    """A page of a mailbox, newest first unless asked otherwise."""

    special_use: str | None
    results: list[MessageItem]


class UpdateMessage(Input):
    """What is to change of one or more messages; `expires` false takes the expiry away."""

    move_to: Oid | None = None
    seen: Flag | None = None
    deleted: Flag | None = None
    flagged: Flag | None = None
    draft: Flag | None = None
    expires: Expiry | None = None
    meta_data: Meta | None = None


class UpdateMessages(UpdateMessage):
    """The same of several: `message` is a list of ids and ranges, `1,4:9,12:*`."""

    message: MessageRange


class Updated(Output):
    """Either where moved messages are now, or how many were changed."""

    id: list[list[int]] | None = None
    mailbox: str | None = None
    updated: int | None = None


class DeleteAll(Input):
    """Deleting all messages of a mailbox is one step: with `async` it is done as well when the answer comes."""

    run_async: Flag = Field(default=False, alias="async")
    skip_archive: Flag = False


class DeletedAll(Output):
    """How many were deleted."""

    deleted: int
    errors: int = 0
    existing: bool | None = None
    scheduled: str | None = None
    """Given where `async` was asked for: names what is done."""


def list_messages(call: Call, given: ListMessages) -> dict[str, Any]:
    """Return a page of a mailbox; two small round trips where the mailbox is in memory."""
    at = position(given)
    entry = find_mailbox(call, call.path["mailbox"])
    view = open_view(call, entry)
    rows = newest_first(view, np.arange(view.exists, dtype=np.int64))
    if given.unseen is not None:
        rows = rows[((view.flags[rows] & np.uint64(SEEN)) == 0) == given.unseen]
    if given.collapse_threads:
        rows = rows[np.sort(np.unique(view.threads[rows], return_index=True)[1])]
    if given.order == "asc":
        rows = rows[::-1]
    places, cursors = page_of(
        view.internal_dates[rows], view.uids[rows].astype(np.int64), at, given.limit, descending=given.order == "desc"
    )
    drafts = threads_with_drafts(call) if given.include_has_drafts else None
    shown = Shown(given.meta_data, given.thread_counters, given.include_headers, drafts)
    return {
        "total": len(rows),
        **cursors,
        "specialUse": entry.special_use.value if entry.special_use is not None else None,
        "results": message_items(call, entry, view, rows[places], shown),
    }


def update_message(call: Call, given: UpdateMessage) -> dict[str, Any]:
    """Change one message, or several where the path has a range."""
    return _update(call, given, call.path["message"])


def update_messages(call: Call, given: UpdateMessages) -> dict[str, Any]:
    """Change several messages: one commit for flags, one or two for a move."""
    return _update(call, given, given.message)


def delete_message(call: Call, _: Nothing) -> dict[str, Any]:
    """Remove a message; it can be restored for a while."""
    entry = find_mailbox(call, call.path["mailbox"])
    uids = parse_range(call.path["message"])
    _rows(open_view(call, entry), uids)
    call.change(call.services.messages.expunge, call.owner, call.on_behalf(), entry.id, uids, only_deleted=False)
    return {}


def delete_messages(call: Call, given: DeleteAll) -> dict[str, Any]:
    """Remove every message of a mailbox; they can be restored for a while, unless `skipArchive` says not."""
    entry = find_mailbox(call, call.path["mailbox"])
    view = open_view(call, entry)
    if view.exists:
        everything = UidSet(((1, MAX_NUMBER),))
        cause = Cause.DISCARD if given.skip_archive else Cause.EXPUNGE
        expunge = call.services.messages.expunge
        call.change(expunge, call.owner, call.on_behalf(), entry.id, everything, only_deleted=False, cause=cause)
    scheduled = {"scheduled": secrets.token_hex(12), "existing": False} if given.run_async else {}
    return {"deleted": view.exists, **scheduled}


def open_view(call: Call, entry: MailboxEntry) -> MailboxView:
    """Return what is in a mailbox now.

    Raises:
        MailboxNotFound: it was deleted meanwhile.
    """
    try:
        return call.services.mailboxes.refresh(call.owner, entry.id)
    except MailboxChanged:
        raise MailboxNotFound(str(entry.id)) from None


def newest_first(view: MailboxView, rows: Rows) -> Rows:
    """Return ascending rows by internal date, the newest first; of one second, the last that came."""
    dates = view.internal_dates[rows]
    if len(rows) > 1 and bool((dates[1:] < dates[:-1]).any()):
        rows = rows[np.argsort(dates, kind="stable")]
    return rows[::-1]


def page_of(
    dates: Rows, numbers: Rows, at: Position, limit: int, *, descending: bool
) -> tuple[list[int], dict[str, Any]]:
    """Return which places of an ordered list are on a page, and its cursors.

    The list is ordered by `dates`, those of one date by `numbers`. A cursor is a date and a number, so it
    holds though its message is gone.

    Raises:
        ApiError: the cursor is not of this list.
    """

    def key(place: int) -> str:
        return f"{dates[place]}.{numbers[place]}"

    if at.key is None:
        near = range(min(limit + 1, len(dates)))
    else:
        date, number = _read_key(at.key)
        before = (dates > date) | ((dates == date) & (numbers > number))
        if not descending:
            before = (dates < date) | ((dates == date) & (numbers < number))
        start = int(np.count_nonzero(before))
        is_there = start < len(dates) and (dates[start], numbers[start]) == (date, number)
        near = range(start - 1, max(start - limit - 2, -1), -1)
        if not at.is_backwards:
            near = range(start + is_there, min(start + is_there + limit + 1, len(dates)))
    return cut(near, at, limit, key)


def _read_key(key: str | int) -> tuple[int, int]:
    date, _, number = str(key).partition(".")
    try:
        return int(date[:20]), int(number[:20])
    except ValueError:
        raise invalid({"next": "is not a cursor of this list; begin without one"}) from None


def parse_range(text: str) -> UidSet:
    """Return the UIDs of ids and ranges; `*` is the last there can be.

    Raises:
        ApiError: it is none.
    """
    if not _RANGES.fullmatch(text):
        raise invalid({"message": "must be ids and ranges of ids, such as 1,4:9,12:*"})
    pairs = []
    for part in text.split(","):
        low, _, high = part.partition(":")
        pairs.append((int(low), MAX_NUMBER if high == "*" else int(high or low)))
    if any(number > MAX_NUMBER for pair in pairs for number in pair):
        raise invalid({"message": f"ids end at {MAX_NUMBER}"})
    return UidSet.of_ranges(pairs)


def _rows(view: MailboxView, uids: UidSet) -> Rows:
    """Return the rows of UIDs.

    Raises:
        MessageNotFound: none of them is there.
    """
    rows = view.rows_of(uids)
    if not len(rows):
        raise MessageNotFound("none of these ids is there")
    return rows.astype(np.int64)


def _update(call: Call, given: UpdateMessage, text: str) -> dict[str, Any]:
    entry = find_mailbox(call, call.path["mailbox"])
    uids = parse_range(text)
    view = open_view(call, entry)
    rows = _rows(view, uids)
    asked = (given.move_to, given.seen, given.deleted, given.flagged, given.draft, given.expires, given.meta_data)
    if all(value is None for value in asked):
        raise ApiError(400, "NoUpdates", "Nothing is to be changed: give moveTo, seen, deleted, flagged, draft …")
    to = None
    if given.move_to is not None:
        to = find_mailbox(call, given.move_to, call.services.mailboxes.tree(call.owner))
    messages = call.services.messages
    actor = call.on_behalf()
    moved: list[tuple[int, int]] = []

    def move(actor: Actor, to: MailboxName) -> None:
        done = messages.move(call.owner, actor, entry.id, uids, to)
        moved.extend(zip(done.source, done.target, strict=True))

    with call.together() as change:
        for operation, bits in _flag_changes(given):
            change(messages.store, call.owner, actor, entry.id, uids, operation, FlagSet(bits))
        if given.meta_data is not None or given.expires is not None:
            _note(call, change, entry, view, rows, given)
        if to is not None:
            change(move, actor, to.name)
    if to is None:
        return {"updated": len(rows)}
    return {"mailbox": str(to.id), "id": [list(pair) for pair in moved]}


def _flag_changes(given: UpdateMessage) -> list[tuple[FlagOperation, int]]:
    """Return at most one addition and one removal."""
    wanted = ((given.seen, SEEN), (given.deleted, DELETED), (given.flagged, FLAGGED), (given.draft, DRAFT))
    added = sum(bit for value, bit in wanted if value)
    removed = sum(bit for value, bit in wanted if value is False)
    return [pair for pair in ((FlagOperation.ADD, added), (FlagOperation.REMOVE, removed)) if pair[1]]


def _note(call: Call, change: Change, entry: MailboxEntry, view: MailboxView, rows: Rows, given: UpdateMessage) -> None:
    """Keep metadata and expiry beside each copy."""
    known = call.services.mailboxes.notes(call.owner, entry.id, view.uids[rows].tolist())
    for uid in view.uids[rows].tolist():
        before = known.get(uid, Note())
        data = before.meta_data if given.meta_data is None else given.meta_data.encode()
        expires_at: datetime | None = before.expires_at if given.expires is None else given.expires or None
        after = replace(before, meta_data=data, expires_at=expires_at)
        note = None if after.is_empty else after
        change(call.services.messages.put_note, call.owner, call.on_behalf(), entry.id, uid, note)


_PATH: Final = "/users/{user}/mailboxes/{mailbox}/messages"
READ: Final = Permission(Resource.MESSAGES, Action.READ)
UPDATE: Final = Permission(Resource.MESSAGES, Action.UPDATE)
DELETE: Final = Permission(Resource.MESSAGES, Action.DELETE)
OPERATIONS: Final = (
    Operation(
        "GET", _PATH, "listMessages", "List the messages of a mailbox", READ,
        ListMessages, MessageList, list_messages, is_list=True,
    ),
    Operation(
        "PUT", _PATH, "updateMessages", "Change several messages", UPDATE,
        UpdateMessages, Updated, update_messages,
    ),
    Operation("DELETE", _PATH, "deleteMessages", "Delete all messages", DELETE, DeleteAll, DeletedAll, delete_messages),
    Operation(
        "PUT", f"{_PATH}/{{message}}", "updateMessage", "Change a message", UPDATE,
        UpdateMessage, Updated, update_message,
    ),
    Operation(
        "DELETE", f"{_PATH}/{{message}}", "deleteMessage", "Delete a message", DELETE,
        Nothing, Output, delete_message,
    ),
)  # fmt: skip
