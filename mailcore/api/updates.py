"""A user's changes as server-sent events, which a client goes on with after the last one it knows."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Annotated, Final

import orjson
from pydantic import Field, StringConstraints
from werkzeug.wrappers import Response

from mailcore.api.call import Call
from mailcore.api.fields import LooseInput, Output
from mailcore.api.operation import Media, Operation, Permission
from mailcore.errors import AuthenticationFailed, MailError, ValueInvalid
from mailcore.model.roles import Action, Resource
from mailcore.services.events.updates import Feed, Update

IDLE_S: Final = 15.0
"""A comment is sent so long after the last line: whoever is gone is noticed, and proxies keep the connection."""
LOOK_S: Final = 0.5
"""The token is looked at so often; it is asked for every four seconds."""

logger = logging.getLogger(__name__)


class GetUpdates(LooseInput):
    """Those after an event; the header of this name does as well. Without it only what happens from now on."""

    last_event_id: Annotated[str, StringConstraints(max_length=255)] | None = Field(None, alias="Last-Event-ID")


def get_updates(call: Call, given: GetUpdates) -> Response:
    """Stream changes until the client goes, or its token is good no more."""
    after = call.asked.get("Last-Event-ID") or given.last_event_id or ""
    error = ""
    try:
        feed = call.services.updates.open(call.owner, after)
    except ValueInvalid as refused:
        error = str(refused.details[0])
        feed = call.services.updates.open(call.owner)
    response = Response(_Stream(feed, error, _alive(call)), mimetype=Media.EVENTS.value)
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"  # or a proxy holds events back
    return response


def _alive(call: Call) -> Callable[[], bool]:
    """Return what says whether the token is still good; while the directory is away it stays what it was."""

    def look() -> bool:
        assert call.value is not None
        try:
            call.services.bearers.find(call.value, call.actor.remote_address)
        except AuthenticationFailed:
            return False
        except MailError:
            return True
        return True

    return look


class _Stream:
    """The body: closed by the server however the request ends, even one that never began."""

    def __init__(self, feed: Feed, error: str, is_alive: Callable[[], bool]) -> None:
        self._feed = feed
        self._pieces = _pieces(feed, error, is_alive)

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    def close(self) -> None:
        self._pieces.close()  # type: ignore[attr-defined]
        self._feed.close()


def _pieces(feed: Feed, error: str, is_alive: Callable[[], bool]) -> Iterator[bytes]:
    if error:
        yield f"event: error\ndata: {error}\nid: {feed.position}\n\n".encode()
    else:
        yield f": at {feed.position}\n\n".encode()
    said_at = time.monotonic()
    while is_alive():
        if feed.wait(LOOK_S):
            try:
                for update in feed.read():
                    yield _event(update)
                    said_at = time.monotonic()
                    if not is_alive():
                        return
            except MailError as away:
                logger.warning("updates.away", extra={"reason": type(away).__name__})
        if time.monotonic() - said_at >= IDLE_S:
            yield f": idling {int(IDLE_S)}\n\n".encode()
            said_at = time.monotonic()


def _event(update: Update) -> bytes:
    """Write one event; without an id a client keeps the one before (WHATWG HTML §9.2.6)."""
    lines = orjson.dumps(update.command, option=orjson.OPT_INDENT_2).split(b"\n")
    written = b"".join(b"data: " + line + b"\n" for line in lines)
    if update.position is not None:
        written += f"id: {update.position}\n".encode()
    return written + b"\n"


OPERATIONS: Final = (
    Operation(
        "GET", "/users/{user}/updates", "getUpdates", "Follow a user's changes",
        Permission(Resource.USERS, Action.READ), GetUpdates, Output, get_updates, media=Media.EVENTS,
    ),
)  # fmt: skip
