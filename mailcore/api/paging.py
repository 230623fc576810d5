"""Cursors: opaque to clients, with the key to go on from and the number of the page."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

import orjson
from bson import ObjectId

from mailcore.api.errors import invalid
from mailcore.api.fields import Page

MAX_PAGE: Final = 1 << 31
Item = TypeVar("Item")
Key = str | int


class Identified(Protocol):
    """Anything that has an id."""

    @property
    def id(self) -> ObjectId:
        """Which one it is."""


HasId = TypeVar("HasId", bound=Identified)


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page begins.

    Attributes:
        key: of the item next to the page; None at the end of the list.
        is_backwards: the page lies before the key.
        page: its number, from 1.
    """

    key: Key | None = None
    is_backwards: bool = False
    page: int = 1


def position(given: Page) -> Position:
    """Return where the page asked for begins; `next` counts before `previous`.

    Raises:
        ApiError: the cursor is not one of ours.
    """
    if given.next:
        return _read("next", given.next, is_backwards=False)
    if given.previous:
        return _read("previous", given.previous, is_backwards=True)
    return Position()


def cursor_id(key: str | int) -> ObjectId:
    """Return the id that a cursor holds.

    Raises:
        ApiError: it is no cursor of a list by ids.
    """
    if not ObjectId.is_valid(str(key)):
        raise invalid({"next": "is not a cursor of this list; begin without one"})
    return ObjectId(str(key))


def page_by_id(
    given: Page, find: Callable[..., tuple[Sequence[HasId], int]], shown: Callable[[HasId], Any]
) -> dict[str, Any]:
    """Return a page of a list in the order of its ids, with its cursors and how long the list is.

    `find` takes `after`, `before` and `limit`, and returns items nearest to the edge first, and their number.

    Raises:
        ApiError: the cursor is not one of this list.
    """
    at = position(given)
    edge = cursor_id(at.key) if at.key is not None else None
    found, total = find(
        after=None if at.is_backwards else edge, before=edge if at.is_backwards else None, limit=given.limit + 1
    )
    page, cursors = cut(found, at, given.limit, lambda one: str(one.id))
    return {"total": total, **cursors, "results": [shown(one) for one in page]}


def cut(
    found: Sequence[Item], at: Position, limit: int, key: Callable[[Item], Key]
) -> tuple[list[Item], dict[str, Any]]:
    """Return a page and its cursors from up to `limit` + 1 items found from a position on, nearest to it first."""
    has_more = len(found) > limit
    items = list(found[:limit])
    if at.is_backwards:
        items.reverse()
    has_before, has_after = (has_more, True) if at.is_backwards else (at.key is not None, has_more)
    return items, {
        "page": at.page,
        "previousCursor": _write(key(items[0]), at.page - 1) if items and has_before else False,
        "nextCursor": _write(key(items[-1]), at.page + 1) if items and has_after else False,
    }


def _write(key: Key, page: int) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([key, max(page, 1)])).rstrip(b"=").decode()


def _read(name: str, text: str, *, is_backwards: bool) -> Position:
    try:
        found = orjson.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError):
        found = None
    if (
        not isinstance(found, list)
        or len(found) != 2
        or not isinstance(found[0], str | int)
        or isinstance(found[0], bool)
        or not isinstance(found[1], int)
        or not 0 < found[1] < MAX_PAGE
    ):
        raise invalid({name: "is not a cursor of this list; begin without one"})
    return Position(found[0], is_backwards, found[1])


def without_unset(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields without those that have no value."""
    return {name: value for name, value in fields.items() if value is not None}
