"""The authentication log of a user: tries to sign in, grouped by the hour."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import IPvAnyAddress, StringConstraints

from mailcore.api.call import Call
from mailcore.api.errors import ApiError
from mailcore.api.fields import Fields, Listing, Nothing, Output, Page, instant
from mailcore.api.operation import Operation, Permission
from mailcore.api.paging import cut, position
from mailcore.model.roles import Action, Resource
from mailcore.services.accounts.auth_log import LOG_KEPT, latest_first
from mailcore.store.user.auth_log import AuthLogRow, RowFilter


class ListEvents(Page):
    """Which rows; `action` is a result such as accepted."""

    action: Annotated[str, StringConstraints(max_length=100)] | None = None
    filterip: IPvAnyAddress | None = None


class EventItem(Fields):
    """One group of tries that had everything in common."""

    id: str
    action: str
    result: str
    ip: str
    created: str
    last: str
    events: int
    protocol: str
    source: str
    expires: str


class EventAnswer(EventItem, Output):
    """One group."""


class EventList(Listing):
    """A page of the log, the latest first."""

    action: str
    results: list[EventItem]


def list_events(call: Call, given: ListEvents) -> dict[str, Any]:
    """Return a page of the log; two round trips."""
    at = position(given)
    wanted = RowFilter(given.action or "", str(given.filterip or ""))
    found, total = call.services.auth_log.page(
        call.owner, wanted, str(at.key or ""), given.limit + 1, newer=at.is_backwards
    )
    page, cursors = cut(found, at, given.limit, lambda row: row.key.hex())
    return {
        "action": given.action or "",
        "total": total,
        **cursors,
        "results": [_item(row) for row in latest_first(page)],
    }


def get_event(call: Call, _: Nothing) -> dict[str, Any]:
    """Return one group; one round trip."""
    found = call.services.auth_log.find(call.owner, call.path["event"])
    if found is None:
        raise ApiError(404, "EventNotFound", "This event does not exist")
    return _item(found)


def _item(row: AuthLogRow) -> dict[str, Any]:
    return {
        "id": row.key.hex(),
        "action": "authentication",
        "result": row.sign_in.result,
        "ip": row.sign_in.remote_address,
        "created": instant(row.first_at),
        "last": instant(row.last_at),
        "events": row.count,
        "protocol": row.sign_in.protocol,
        "source": row.sign_in.credential,
        "expires": instant(row.last_at + LOG_KEPT),
    }


_NEEDS: Final = Permission(Resource.AUTHENTICATION, Action.READ)
_PATH: Final = "/users/{user}/authlog"
OPERATIONS: Final = (
    Operation(
        "GET", _PATH, "listAuthEvents", "List tries to sign in", _NEEDS,
        ListEvents, EventList, list_events, is_list=True,
    ),
    Operation(
        "GET", f"{_PATH}/{{event}}", "getAuthEvent", "Get a try to sign in", _NEEDS, Nothing, EventAnswer, get_event,
    ),
)  # fmt: skip
