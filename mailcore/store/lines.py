"""Lines: connections of pymongo's to the primary, by which commands go without what pymongo does around them.

A line knows success only. Whatever else happens (no primary, a broken line, an error in the reply) is left to pymongo,
which is asked the same again (`store/direct.py`) and knows about elections, retries and error classes.

Lines are pymongo's own connections, checked out of its pool for as long as they work, so that TLS, authentication and
limits are its business. Their count is bounded well below the pool's.
"""

from __future__ import annotations

import itertools
import struct
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import bson
from bson.codec_options import CodecOptions
from bson.errors import BSONError
from pymongo import MongoClient, _csot
from pymongo.errors import PyMongoError, WriteConcernError
from pymongo.monitoring import CommandListener, CommandStartedEvent, CommandSucceededEvent
from pymongo.server_selectors import writable_server_selector

Document = dict[str, Any]
Received = TypeVar("Received", bytes, int)

MAX_LINES = 24
"""To one primary; who finds none free goes the long way."""
PATIENCE_S = 0.5
"""So often a waiting call looks whether pymongo has given its server up."""
DEFAULT_DEADLINE_S = 5.0
RECEIVE_BYTES = 64 * 1024
LARGE_BYTES = 1024 * 1024
"""From this size on a command goes out apart from its header."""
MOST_BYTES = 48_000_000
"""No message of MongoDB's is longer."""

_HEADER = struct.Struct("<iiiiIB")  # length, request, response to, opcode; flags, kind of the one section
_OP_MSG = 2013


class _LineBroken(Exception):
    """The reply is not what belongs to the request; the connection is of no more use."""


class Lines:
    """The lines of one client to the primary of its set."""

    def __init__(self, client: MongoClient[Document]) -> None:
        """Open nothing yet."""
        self._client = weakref.ref(client)
        self._known: tuple[object, tuple[str, int] | None] = (None, None)
        """pymongo's latest picture of the set, and the primary in it."""
        self._idle: deque[Line] = deque()
        self._count = 0
        self._lock = threading.Lock()
        listeners = client.options.event_listeners
        self._listeners = tuple(one for one in listeners if isinstance(one, CommandListener))

    def run(
        self, database: str, command: Document, codec: CodecOptions[Document], by: Line | None = None
    ) -> tuple[Document, Line] | None:
        """Return the reply of a command that succeeded on the primary, and the line; None: it has to go the long way.

        Args:
            database: whose command it is.
            command: what to run.
            codec: how to read the reply.
            by: go by this very line, or not at all.

        Raises:
            WriteConcernError: written, but not acknowledged by the majority in time.
        """
        client = self._client()
        primary = self._primary(client) if client is not None else None
        seconds = _csot.remaining()
        if primary is None or (seconds is not None and seconds <= 0):
            return None
        line = self._take(primary) if by is None else self._take_again(by, primary)
        if line is None:
            return None
        started = time.monotonic()
        try:
            self._tell_started(line, database, command)
            reply = line.call(database, command, codec, started + (seconds or DEFAULT_DEADLINE_S))
        except (OSError, BSONError, _LineBroken):
            self._drop(line)
            return None
        except BaseException:  # a killed greenlet leaves half a reply behind
            self._drop(line)
            raise
        if not reply.get("ok"):
            self._drop(line)  # most likely no primary any more
            return None
        self._idle.append(line)
        self._tell_succeeded(line, database, command, reply, time.monotonic() - started)
        concern = reply.get("writeConcernError")
        if concern is not None:
            raise WriteConcernError(concern.get("errmsg", ""), concern.get("code"), concern)
        return None if "writeErrors" in reply else (reply, line)

    def close(self) -> None:
        """Give every idle line back to pymongo, closed."""
        while self._idle:
            self._drop(self._idle.pop())

    def _primary(self, client: MongoClient[Document]) -> tuple[str, int] | None:
        """Return `client.primary`, which takes a lock and looks at every node, once for each picture of the set."""
        description = client.topology_description
        if description is not self._known[0]:
            primary = client.primary
            if client.topology_description is not description:
                return primary
            self._known = (description, primary)
        return self._known[1]

    def _take(self, primary: tuple[str, int]) -> Line | None:
        while True:
            try:
                line = self._idle.pop()
            except IndexError:
                return self._open(primary)
            if line.address == primary and line.is_usable:
                return line
            self._drop(line)

    def _take_again(self, line: Line, primary: tuple[str, int]) -> Line | None:
        """Return a line that was used before; None if it is gone, or another call uses it now."""
        try:
            self._idle.remove(line)
        except ValueError:
            return None
        if line.address == primary and line.is_usable:
            return line
        self._drop(line)
        return None

    def _open(self, primary: tuple[str, int]) -> Line | None:
        with self._lock:
            if self._count >= MAX_LINES:
                return None
            self._count += 1
        line = None
        try:
            client = self._client()
            line = Line.open(client, primary) if client is not None else None
        except (PyMongoError, OSError):
            pass
        finally:
            if line is None:
                self._release()
        return line

    def _drop(self, line: Line) -> None:
        line.close()
        self._release()

    def _release(self) -> None:
        with self._lock:
            self._count -= 1

    # Whoever listens to the driver's commands hears these too

    def _tell_started(self, line: Line, database: str, command: Document) -> None:
        for listener in self._listeners:
            listener.started(CommandStartedEvent(command, database, line.request_id, line.address, None))

    def _tell_succeeded(self, line: Line, database: str, command: Document, reply: Document, took_s: float) -> None:
        if self._listeners:
            event = CommandSucceededEvent(
                timedelta(seconds=took_s), reply, next(iter(command)), line.request_id, line.address, None,
                database_name=database,
            )  # fmt: skip
            for listener in self._listeners:
                listener.succeeded(event)


class Line:
    """One connection, used by one call at a time."""

    __slots__ = ("_checkout", "_connection", "_requests", "_socket", "address", "request_id")

    def __init__(self, checkout: Any, connection: Any, address: tuple[str, int]) -> None:
        self._checkout = checkout
        self._connection = connection
        self._socket = connection.conn.sock
        self._socket.settimeout(PATIENCE_S)
        self._requests = itertools.cycle(range(1, 1 << 31))
        self.address = address
        self.request_id = 0

    @classmethod
    def open(cls, client: MongoClient[Document], primary: tuple[str, int]) -> Line | None:
        """Check a connection out; None if the primary is another by now, or the line would need more than we do."""
        server = client._select_server(writable_server_selector, None, "direct")  # noqa: SLF001
        if server.description.address != primary:
            return None
        checkout = server.pool.checkout()
        connection = checkout.__enter__()
        if connection.opts.server_api is not None or connection.opts.load_balanced:
            checkout.__exit__(None, None, None)
            return None
        return cls(checkout, connection, primary)

    @property
    def is_usable(self) -> bool:
        """Whether pymongo still thinks well of the server."""
        return not (self._connection.closed or self._connection.cancel_context.cancelled)

    def close(self) -> None:
        """Close the connection and tell pymongo's pool."""
        self._connection.close_conn(None)
        self._checkout.__exit__(None, None, None)

    def call(self, database: str, command: Document, codec: CodecOptions[Document], give_up_at: float) -> Document:
        """Send a command and return the reply, whatever it says.

        Raises:
            OSError: the connection broke, or no answer in time.
            BSONError: the command or the reply cannot be converted.
        """
        body = bson.encode({**command, "$db": database})
        self.request_id = request_id = next(self._requests)
        header = _HEADER.pack(_HEADER.size + len(body), request_id, 0, _OP_MSG, 0, 0)
        if len(body) < LARGE_BYTES:
            self._send(header + body, give_up_at)
        else:  # not copied once more
            self._send(header, give_up_at)
            self._send(body, give_up_at)
        del body  # nor held while the answer is waited for
        reply = self._receive(give_up_at)
        while len(reply) < _HEADER.size:
            reply += self._receive(give_up_at)
        length, _, response_to, opcode, flags, kind = _HEADER.unpack_from(reply)
        if (response_to, opcode, flags, kind) != (request_id, _OP_MSG, 0, 0):
            raise _LineBroken
        if not len(reply) <= length <= MOST_BYTES:
            raise _LineBroken
        whole = memoryview(reply if len(reply) == length else self._receive_rest(reply, length, give_up_at))
        return bson.decode(whole[_HEADER.size :], codec)

    def _send(self, message: bytes, give_up_at: float) -> None:
        sent = self._socket.send(message)
        if sent < len(message):
            self._socket.settimeout(max(give_up_at - time.monotonic(), 0.001))
            self._socket.sendall(memoryview(message)[sent:])
            self._socket.settimeout(PATIENCE_S)

    def _receive_rest(self, begun: bytes, length: int, give_up_at: float) -> bytearray:
        """Return a reply of which the beginning is there, without copying what is received."""
        whole = bytearray(length)
        whole[: len(begun)] = begun
        left = memoryview(whole)[len(begun) :]
        while left:
            left = left[self._waited(partial(self._socket.recv_into, left), give_up_at) :]
        return whole

    def _receive(self, give_up_at: float) -> bytes:
        receive: Callable[[], bytes] = partial(self._socket.recv, RECEIVE_BYTES)
        return self._waited(receive, give_up_at)

    def _waited(self, receive: Callable[[], Received], give_up_at: float) -> Received:
        while True:
            try:
                received = receive()
            except TimeoutError:
                if not self.is_usable or time.monotonic() >= give_up_at:
                    raise
                continue
            if not received:
                raise ConnectionResetError
            return received


_of_clients: dict[int, Lines] = {}
"""By identity: clients of the same servers are equal."""


def of_client(client: MongoClient[Document]) -> Lines:
    """Return the lines of a client."""
    lines = _of_clients.get(id(client))
    if lines is None:
        lines = _of_clients.setdefault(id(client), Lines(client))
        weakref.finalize(client, _of_clients.pop, id(client), None)
    return lines
