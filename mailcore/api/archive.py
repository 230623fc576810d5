"""The archive: messages that were deleted and can be restored."""

from __future__ import annotations

import secrets
from typing import Annotated, Any, Final

import numpy as np
import orjson
from pydantic import Field

from mailcore.api.call import Call
from mailcore.api.errors import invalid
from mailcore.api.fields import Flag, Input, Listing, Moment, Oid, Output, Page
from mailcore.api.mailboxes import find_mailbox
from mailcore.api.message_items import FORWARDED, MessageItem, header_fields, thread_id
from mailcore.api.messages import Order, page_of
from mailcore.api.operation import Operation, Permission
from mailcore.api.paging import position
from mailcore.message.summary import instant
from mailcore.model.flags import ANSWERED, DELETED, FLAGGED, SEEN
from mailcore.model.roles import Action, Resource
from mailcore.services.keeping.archive import NUMBER_BITS, Archived
from mailcore.store.mailbox.purge import PurgeBlock


class ListArchived(Page):
    """In which order, and what of each message."""

    meta_data: Flag = False
    thread_counters: Flag = False
    include_headers: Flag = False
    order: Order = "desc"


class ArchivedList(Listing):
    """A page of the archive, what was deleted last first; ids are of the archive."""

    results: list[MessageItem]


class RestoreBetween(Input):
    """Of what was deleted from `start` to `end`, all is put back."""

    start: Moment
    end: Moment


class RestoreOne(Input):
    """Where to put it; by default where it was."""

    mailbox: Oid | None = None


class RestoredAll(Output):
    """It is done when this comes; `task` names it for those who ask later."""

    task: str
    restored: Annotated[int, Field(description="How many messages")]


class RestoredOne(Output):
    """Where it is."""

    mailbox: str
    id: int


def list_archived(call: Call, given: ListArchived) -> dict[str, Any]:
    """Return a page of what was deleted and can be restored; metadata of a copy went with it."""
    at = position(given)
    archived = call.services.archive.of_user(call.owner)
    order = np.lexsort((archived.numbers, archived.instants))
    if given.order == "desc":
        order = order[::-1]
    places, cursors = page_of(
        archived.instants[order], archived.numbers[order], at, given.limit, descending=given.order == "desc"
    )
    return {"total": len(archived), **cursors, "results": _items(call, given, archived, order[places].tolist())}


def restore_between(call: Call, given: RestoreBetween) -> dict[str, Any]:
    """Put back, where it was, what was deleted in a time; mailboxes that are gone are made again."""
    if given.end < given.start:
        raise invalid({"end": "must not be before start"})
    restored: list[int] = []

    def restore() -> None:
        archive = call.services.archive
        restored.append(archive.restore_between(call.on_behalf(), call.owner, given.start, given.end))

    call.change(restore)
    return {"task": secrets.token_hex(12), "restored": sum(restored)}


def restore_one(call: Call, given: RestoreOne) -> dict[str, Any]:
    """Put one message back."""
    text = call.path["message"]
    if not text.isascii() or not text.isdigit() or int(text[:20]) >> NUMBER_BITS:
        raise invalid({"message": "must be an id of the archive"})
    into = find_mailbox(call, given.mailbox).id if given.mailbox is not None else None
    mailbox_id, uid = call.services.archive.restore(call.on_behalf(), call.owner, int(text), into)
    return {"mailbox": str(mailbox_id), "id": uid}


def _items(call: Call, given: ListArchived, archived: Archived, chosen: list[int]) -> list[dict[str, Any]]:
    """Return messages of the archive as lists show them."""
    rows = [archived.at(index) for index in chosen]
    oids = [bytes(block.message_oid(row)) for block, row in rows]
    summaries = call.services.listings.summaries_of(call.owner, oids)
    texts = call.services.content.texts(call.owner, oids) if given.include_headers else {}
    counts = _threads(archived) if given.thread_counters else {}
    found = []
    for index, oid, (block, row) in zip(chosen, oids, rows, strict=True):
        thread = int(block.rows.threads[row])
        item = {
            "id": int(archived.numbers[index]),
            "mailbox": str(block.mailbox_id),
            "thread": thread_id(thread),
            "idate": instant(int(block.rows.internal_dates[row])) or "",
            "size": int(block.rows.sizes[row]),
            **_flags(block, row),
            **orjson.loads(summaries[oid]),
        }
        if given.thread_counters:
            item["threadMessageCount"] = counts[thread]
        if given.meta_data:
            item["metaData"] = {}
        if given.include_headers:
            item["headers"] = header_fields(texts[oid].header) if oid in texts else {}
        found.append(item)
    return found


def _threads(archived: Archived) -> dict[int, int]:
    """Return how many messages of each conversation are in the archive."""
    threads = [int(block.rows.threads[row]) for block, row in map(archived.at, range(len(archived)))]
    names, counts = np.unique(np.array(threads, np.uint64), return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))


def _flags(block: PurgeBlock, row: int) -> dict[str, bool]:
    flags = int(block.rows.flags[row])
    is_forwarded = FORWARDED in block.flag_names(row)
    return {
        "seen": bool(flags & SEEN),
        "deleted": bool(flags & DELETED),
        "flagged": bool(flags & FLAGGED),
        "draft": False,
        "answered": bool(flags & ANSWERED) and not is_forwarded,
        "forwarded": is_forwarded,
    }


_PATH: Final = "/users/{user}/archived"
OPERATIONS: Final = (
    Operation(
        "GET", f"{_PATH}/messages", "listArchived", "List what can be restored",
        Permission(Resource.MESSAGES, Action.READ), ListArchived, ArchivedList, list_archived, is_list=True,
    ),
    Operation(
        "POST", f"{_PATH}/restore", "restoreBetween", "Restore what was deleted in a time",
        Permission(Resource.MESSAGES, Action.CREATE), RestoreBetween, RestoredAll, restore_between,
    ),
    Operation(
        "POST", f"{_PATH}/messages/{{message}}/restore", "restoreMessage", "Restore a message",
        Permission(Resource.MESSAGES, Action.CREATE), RestoreOne, RestoredOne, restore_one,
    ),
)  # fmt: skip
