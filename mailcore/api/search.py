"""Searching a user's messages, and changing all that are found."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Final

import numpy as np
import numpy.typing as npt
import orjson
from pydantic import ConfigDict, Field, StringConstraints

from mailcore.api.call import Call
from mailcore.api.errors import invalid
from mailcore.api.fields import Flag, Input, InputPart, Listing, Moment, Number, Oid, Output, Page, Text255
from mailcore.api.mailboxes import find_mailbox
from mailcore.api.message_items import MessageItem, Shown, message_items, threads_with_drafts
from mailcore.api.messages import READ, UPDATE, Order, page_of, parse_range
from mailcore.api.operation import Operation
from mailcore.api.paging import position
from mailcore.api.search_query import (
    Query,
    all_of,
    always,
    parse_query,
    thread_criterion,
    to_anybody,
    words,
)
from mailcore.api.steps import Change
from mailcore.model import search as model
from mailcore.model.flags import FLAGGED, SEEN, FlagOperation, FlagSet
from mailcore.model.mailbox import MailboxEntry, SpecialUse
from mailcore.model.search import (
    Criterion,
    Dated,
    HasFlag,
    InHeader,
    LargerThan,
    Not,
    Nothing,
    Or,
    SmallerThan,
    Uids,
)
from mailcore.model.uid_set import UidSet
from mailcore.store.mailbox.view import MailboxView

Rows = npt.NDArray[np.int64]
UNSEARCHED: Final = frozenset({SpecialUse.TRASH, SpecialUse.JUNK})
_HAS_ATTACHMENTS: Final = b'"attachments":true'
_BOX_SHIFT: Final = 32


class AnyField(InputPart):
    """What any one of is enough."""

    query: Text255 | None = None
    sender: Text255 | None = Field(default=None, alias="from")
    to: Text255 | None = None
    subject: Text255 | None = None


class SearchFields(Input):
    """What to look for; everything given must hold."""

    q: Annotated[str, StringConstraints(max_length=1024)] | None = None
    mailbox: Oid | None = None
    id: Annotated[str, StringConstraints(max_length=65_536)] | None = None
    thread: Annotated[str, StringConstraints(max_length=24)] | None = None
    any_field: AnyField | None = Field(default=None, alias="or")
    query: Text255 | None = None
    datestart: Moment | None = None
    dateend: Moment | None = None
    sender: Text255 | None = Field(default=None, alias="from")
    to: Text255 | None = None
    subject: Text255 | None = None
    min_size: Number | None = None
    max_size: Number | None = None
    attachments: Flag | None = None
    flagged: Flag | None = None
    unseen: Flag | None = None
    seen: Flag | None = None
    searchable: Flag | None = None
    use_and_search: Flag = False
    include_headers: Flag = False
    meta_data: Flag = False


class Search(Page, SearchFields):
    """A search and how to show what it finds."""

    model_config = ConfigDict(extra="ignore")

    thread_counters: Flag = False
    collapse_threads: Flag = False
    include_has_drafts: Flag = False
    order: Order = "desc"


class SearchAction(InputPart):
    """What to do with all that is found."""

    move_to: Oid | None = None
    seen: Flag | None = None
    flagged: Flag | None = None
    delete: Flag = False


class SearchApply(SearchFields):
    """A search and what to do with all that it finds."""

    model_config = ConfigDict(extra="ignore")

    action: SearchAction


class SearchList(Listing):
    """A page of what was found, newest first."""

    query: str
    results: list[MessageItem]


class Applied(Output):
    """It is done when this comes; `scheduled` names it for those who ask later."""

    scheduled: str
    existing: bool


class _Found:
    """Rows of one mailbox."""

    __slots__ = ("entry", "rows", "view")

    def __init__(self, entry: MailboxEntry, view: MailboxView, rows: Rows) -> None:
        self.entry = entry
        self.view = view
        self.rows = rows


def search(call: Call, given: Search) -> dict[str, Any]:
    """Search one mailbox or all; text comes from packed blocks."""
    at = position(given)
    found = _find(call, given)
    boxes = np.concatenate([np.full(len(one.rows), index, np.int64) for index, one in enumerate(found)] or [_NONE])
    rows = np.concatenate([one.rows for one in found] or [_NONE])
    dates = np.concatenate([one.view.internal_dates[one.rows] for one in found] or [_NONE])
    uids = np.concatenate([one.view.uids[one.rows].astype(np.int64) for one in found] or [_NONE])
    numbers = boxes << _BOX_SHIFT | uids
    order = np.lexsort((numbers, dates))
    if given.order == "desc":
        order = order[::-1]
    if given.collapse_threads and len(order):
        threads = np.concatenate([one.view.threads[one.rows] for one in found])[order]
        order = order[np.sort(np.unique(threads, return_index=True)[1])]
    places, cursors = page_of(dates[order], numbers[order], at, given.limit, descending=given.order == "desc")
    drafts = threads_with_drafts(call) if given.include_has_drafts else None
    shown = Shown(given.meta_data, given.thread_counters, given.include_headers, drafts)
    picked = [(int(boxes[order[place]]), int(rows[order[place]])) for place in places]
    return {
        "query": given.q or given.query or "",
        "total": len(order),
        **cursors,
        "results": _items(call, found, picked, shown),
    }


def apply(call: Call, given: SearchApply) -> dict[str, Any]:
    """Change all that is found: at most two commits for flags of a mailbox, one or two to move or delete."""
    action = given.action
    if not action.delete and action.move_to is None and action.seen is None and action.flagged is None:
        raise invalid({"action": "must move, delete, or change a flag"})
    target = find_mailbox(call, action.move_to) if action.move_to is not None else None
    with call.together() as change:
        for one in _find(call, given):
            if len(one.rows):
                _note_changes(call, change, one, action, target)
    return {"scheduled": secrets.token_hex(12), "existing": False}


_NONE: Final = np.empty(0, np.int64)


def _note_changes(call: Call, change: Change, found: _Found, action: SearchAction, target: MailboxEntry | None) -> None:
    messages, actor, box = call.services.messages, call.on_behalf(), found.entry.id
    uids = UidSet.of_ascending(found.view.uids[found.rows])
    for value, bit in ((action.seen, SEEN), (action.flagged, FLAGGED)):
        if value is not None:
            operation = FlagOperation.ADD if value else FlagOperation.REMOVE
            change(messages.store, call.owner, actor, box, uids, operation, FlagSet(bit))
    if action.delete:
        change(messages.expunge, call.owner, actor, box, uids, only_deleted=False)
    elif target is not None and target.id != box:
        change(messages.move, call.owner, actor, box, uids, target.name)


def _find(call: Call, given: SearchFields) -> list[_Found]:
    """Return what matches, mailbox by mailbox."""
    query, with_attachments = _query(given)
    tree = call.services.mailboxes.tree(call.owner)
    entries = list(tree)
    if given.mailbox is not None:
        entries = [find_mailbox(call, given.mailbox, tree)]
    elif given.id is not None:
        raise invalid({"mailbox": "is needed where messages are named by id"})
    if given.searchable:
        entries = [entry for entry in entries if entry.special_use not in UNSEARCHED]
    asked = [(entry, criterion) for entry in entries if not _is_nothing(criterion := query(entry))]
    views = call.services.mailboxes.refresh_many(call.owner, [entry.id for entry, _ in asked])
    found = []
    for entry, criterion in asked:
        view = views.get(entry.id)
        if view is None:
            continue
        rows = call.services.paged_search.search(call.owner, view, criterion)
        if with_attachments is not None and len(rows):
            rows = _with_attachments(call, view, rows, wanted=with_attachments)
        found.append(_Found(entry, view, rows))
    return found


def _query(given: SearchFields) -> tuple[Query, bool | None]:
    """Return what is asked for, and whether attachments are."""
    with_attachments = given.attachments
    queries: list[Query] = [always(criterion) for criterion in _criteria(given)]
    if given.q:
        parsed = parse_query(given.q)
        queries.append(parsed.query)
        with_attachments = parsed.with_attachments if parsed.with_attachments is not None else with_attachments
    return all_of(queries) if queries else always(model.Everything()), with_attachments


def _criteria(given: SearchFields) -> list[Criterion]:
    found: list[Criterion] = []
    texts: tuple[tuple[str | None, Callable[[str], Criterion]], ...] = (
        (given.query, words),
        (given.sender, lambda text: InHeader("from", text)),
        (given.to, to_anybody),
        (given.subject, lambda text: InHeader("subject", text)),
        (given.thread, thread_criterion),
        (given.id, lambda text: Uids(parse_range(text))),
    )
    found += [make(text) for text, make in texts if text]
    if given.datestart is not None or given.dateend is not None:
        found.append(Dated(model.Moment.INTERNAL, _day(given.datestart), _day(given.dateend)))
    if given.min_size:
        found.append(LargerThan(given.min_size - 1))
    if given.max_size:
        found.append(SmallerThan(given.max_size + 1))
    for value, bit in ((given.flagged, FLAGGED), (given.seen, SEEN)):
        if value is not None:
            found.append(HasFlag(bit) if value else Not(HasFlag(bit)))
    if given.unseen is not None:
        found.append(Not(HasFlag(SEEN)) if given.unseen else HasFlag(SEEN))
    if given.any_field is not None:
        found.append(_any(given.any_field))
    return found


def _any(given: AnyField) -> Criterion:
    found: list[Criterion] = []
    if given.query:
        found.append(words(given.query, together=False))
    if given.sender:
        found.append(InHeader("from", given.sender))
    if given.to:
        found.append(to_anybody(given.to))
    if given.subject:
        found.append(InHeader("subject", given.subject))
    return Or(tuple(found)) if found else model.Everything()


def _day(moment: datetime | None) -> Any:
    return moment.date() if moment is not None else None


def _is_nothing(criterion: Criterion) -> bool:
    """Whether nothing can match, so that the mailbox need not be opened."""
    match criterion:
        case Nothing():
            return True
        case model.And(criteria):
            return any(map(_is_nothing, criteria))
        case Or(criteria):
            return all(map(_is_nothing, criteria))
        case _:
            return False


def _with_attachments(call: Call, view: MailboxView, rows: Rows, *, wanted: bool) -> Rows:
    summaries = call.services.listings.summaries(call.owner, view, rows)
    kept = [row for row in rows.tolist() if (_HAS_ATTACHMENTS in summaries[row]) == wanted]
    return np.array(kept, np.int64)


def _items(call: Call, found: list[_Found], picked: list[tuple[int, int]], shown: Shown) -> list[orjson.Fragment]:
    """Return messages of several mailboxes as JSON, in the order given."""
    ready: dict[tuple[int, int], orjson.Fragment] = {}
    for index, one in enumerate(found):
        rows = [row for box, row in picked if box == index]
        if rows:
            items = message_items(call, one.entry, one.view, np.array(rows, np.int64), shown)
            ready |= {(index, row): item for row, item in zip(rows, items, strict=True)}
    return [ready[pair] for pair in picked]


OPERATIONS: Final = (
    Operation(
        "GET", "/users/{user}/search", "searchMessages", "Search messages", READ, Search, SearchList, search,
        is_list=True,
    ),
    Operation(
        "POST", "/users/{user}/search", "applyToSearch", "Change all messages that a search finds", UPDATE,
        SearchApply, Applied, apply,
    ),
)  # fmt: skip
