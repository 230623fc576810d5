"""Telling a page how far long work is, as it happens: Server-Sent Events, woken through Redis, looked up in Postgres.

A notice says only that there may be news; where none comes it is looked all the same. Between two looks a stream holds
no connection to Postgres, and each look asks again whether whoever reads may still do so.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final, cast

from flask import Flask, Response, current_app, request, session
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from mailcore.errors import NotFound, TooManyAttempts, Unavailable
from portal.access import Need, SignedIn, current, need_of
from portal.accounts import sessions
from portal.accounts.cookies import TOKEN
from portal.mail_plane import Portal, portal
from portal.open_streams import OpenStreams
from portal.permissions import Permission

log = logging.getLogger(__name__)

EXTENSION: Final = "eider-streams"
LOOK_EVERY_S: Final = 5.0
"""So long nothing was heard of before it is looked all the same; a session that ended shows by then, too."""
PAUSE_S: Final = 0.5
"""Between two events: a list of thousands is not thousands of events."""
LONGEST_S: Final = 300.0
"""Then a stream ends, and the browser asks for another."""
REST: Final = ": nothing new\n\n"
"""A comment: it is by writing that one sees that nobody reads any more."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far something is; what is equal to what was told last is not told again.

    Attributes:
        ended: nothing follows; the page shows the result.
        version: changes with what the page shows, where numbers do not say it.
    """

    done: int = 0
    total: int = 0
    ended: bool = False
    version: str = ""


def set_up(app: Flask) -> None:
    """Let an application count its streams."""
    app.extensions[EXTENSION] = OpenStreams()


def announce(redis: Redis | None, topic: str) -> None:
    """Wake who looks at something; without Redis they look by themselves a little later."""
    try:
        if redis is not None:
            redis.publish(_channel(topic), b"")
    except RedisError as error:
        log.info("progress.not_announced", extra={"topic": topic, "reason": type(error).__name__})


def stream(topic: str, look: Callable[[], Progress]) -> Response:
    """Answer with events until there is nothing more to tell; only in a view that needs a permission.

    `look` is called outside of the request, where `session()` works.

    Raises:
        TooManyAttempts: this person reads as many as may be.
    """
    parts, who = portal(), current()
    streams = cast("OpenStreams", current_app.extensions[EXTENSION])
    token = streams.take(parts.redis, who.identity)
    if token is None:
        raise TooManyAttempts(wait_s=int(LOOK_EVERY_S))
    reader = _Reader(parts, session[TOKEN], who, need_of(current_app.view_functions[request.endpoint or ""]))
    counted = partial(streams.renew, parts.redis, who.identity, token)
    response = Response(_events(reader, topic, look, counted), mimetype="text/event-stream")
    response.headers["X-Accel-Buffering"] = "no"
    response.call_on_close(lambda: streams.give(parts.redis, who.identity, token))
    return response


@dataclass(frozen=True, slots=True)
class _Reader:
    """Who reads a stream, as that was when it began."""

    parts: Portal
    token: str
    who: SignedIn
    need: Need | None

    def may_still(self) -> bool:
        """Whether the session lives, works on the same organisation, and has what the view needs."""
        now = sessions.still_good(self.parts.mail, sessions.find_session(self.token))
        if now is None or now.session.organisation_id != self.who.session.organisation_id:
            return False
        return not isinstance(self.need, Permission) or (now.may(self.need) and not now.needs_second_factor)


def _events(reader: _Reader, topic: str, look: Callable[[], Progress], is_counted: Callable[[], bool]) -> Iterator[str]:
    ends_at = time.monotonic() + LONGEST_S
    told: Progress | None = None
    with closing(_Ear(reader.parts.redis, topic)) as ear:
        while time.monotonic() < ends_at and is_counted():
            try:
                with reader.parts.database.scope():  # of its own, and closed before anything is waited for
                    found = look() if reader.may_still() else None
            except (SQLAlchemyError, Unavailable, NotFound) as error:
                log.info("progress.away", extra={"topic": topic, "reason": type(error).__name__})
                return
            if found is None:
                return
            yield REST if found == told else f"data: {json.dumps(asdict(found))}\n\n"
            if found.ended:
                return
            if found != told:
                time.sleep(PAUSE_S)
            told = found
            ear.wait(LOOK_EVERY_S)


class _Ear:
    """Hears what is announced; deaf without Redis."""

    def __init__(self, redis: Redis | None, topic: str) -> None:
        self._heard: Any = None
        if redis is not None:
            try:
                self._heard = redis.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
                self._heard.subscribe(_channel(topic))
            except RedisError as error:
                log.info("progress.deaf", extra={"topic": topic, "reason": type(error).__name__})

    def wait(self, seconds: float) -> None:
        """Return once something was announced since the last time, or after so many seconds."""
        ends_at = time.monotonic() + seconds
        try:
            if self._heard is not None:
                while (left_s := ends_at - time.monotonic()) > 0:
                    if self._heard.get_message(timeout=left_s) is not None:
                        while self._heard.get_message(timeout=0) is not None:
                            pass
                        return
                return
        except RedisError as error:
            log.info("progress.deaf", extra={"reason": type(error).__name__})
        time.sleep(max(ends_at - time.monotonic(), 0))

    def close(self) -> None:
        """Listen no more."""
        if self._heard is not None:
            self._heard.close()


def _channel(topic: str) -> str:
    return f"eider:portal:progress:{topic}"
