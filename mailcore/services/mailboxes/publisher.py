"""PUBLISH to Redis, many times a second: one connection, answers looked at by the dozen.

redis-py makes a connection and does what its URL asks (TLS, password, database); a call through
its pool would take as long as the database's commit that the notice is about.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any, Final

import redis

UNANSWERED: Final = 64
QUIET_S: Final = 1.0
"""After so long the connection may be gone: look before another message is lost in it."""
RECEIVE_BYTES: Final = 4096


class Publisher:
    """Publishes on channels of one Redis; connects when first used and after a fault."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._connection: Any = None
        self._unanswered = 0
        self._sent_at = 0.0
        self._lock = threading.Lock()

    def publish(self, channel: bytes, message: bytes) -> None:
        """Send a message to whoever listens; a connection that was closed meanwhile is made anew.

        Raises:
            redis.RedisError, OSError: Redis is not to be reached, does not answer or refuses.
        """
        request = b"*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(channel), channel, len(message), message)
        with self._lock:
            if self._connection is not None:
                try:
                    if time.monotonic() - self._sent_at > QUIET_S:
                        self._look()
                    self._send(request)
                except (ConnectionError, redis.ConnectionError):
                    self._disconnect()
                except BaseException:
                    self._disconnect()
                    raise
                else:
                    return
            self._connection = self._client.connection_pool.get_connection()
            try:
                self._send(request)
            except BaseException:
                self._disconnect()
                raise

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._disconnect()

    def _look(self) -> None:
        """Find out whether Redis has closed the connection."""
        self._read_answers()
        if self._connection.can_read(0):
            raise ConnectionResetError("Redis says something unasked")

    def _send(self, request: bytes) -> None:
        sock = self._connection._sock  # noqa: SLF001
        sent = sock.send(request)  # gevent's sendall costs as much again
        if sent < len(request):
            sock.sendall(memoryview(request)[sent:])
        self._unanswered += 1
        self._sent_at = time.monotonic()
        if self._unanswered >= UNANSWERED:
            self._read_answers()

    def _read_answers(self) -> None:
        """Read what Redis answered to everything so far: a number each."""
        answers = b""
        while answers.count(b"\n") < self._unanswered:
            data = self._connection._sock.recv(RECEIVE_BYTES)  # noqa: SLF001
            if not data:
                raise ConnectionResetError("Redis closed the connection")
            answers += data
        self._unanswered = 0
        for answer in answers.splitlines():
            if not answer.startswith(b":"):
                raise redis.ResponseError(answer.decode("utf-8", "replace"))

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        self._unanswered = 0
        if connection is not None:
            with contextlib.suppress(redis.RedisError, OSError):
                connection.disconnect()
            self._client.connection_pool.release(connection)
