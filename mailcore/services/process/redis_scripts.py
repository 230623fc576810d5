"""EVALSHA on Redis, once for each login: connections of its own, kept, and answers of whole numbers.

A call through redis-py's pool takes several times as long as Redis takes for the script. redis-py makes the
connections and does what the URL asks (TLS, password, database); a script that Redis does not have yet is its too.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import redis

RECEIVE_BYTES: Final = 4096
_UNKNOWN: Final = b"-NOSCRIPT"

Value = str | int | bytes


class Lines:
    """Connections to one Redis, each used by one call at a time."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._idle: deque[Any] = deque()

    def call(self, request: bytes) -> bytes:
        """Return the answer to a request; on a connection that was closed meanwhile it is sent again, once.

        Raises:
            redis.RedisError, OSError: Redis is not to be reached, or does not answer in time.
        """
        try:
            connection: Any = self._idle.pop()
        except IndexError:
            connection = None
        if connection is not None:
            try:
                return self._ask(connection, request)
            except (ConnectionError, redis.ConnectionError):
                self.close()  # the others are as old
        return self._ask(self._client.connection_pool.get_connection(), request)

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._drop(self._idle.pop())

    def _ask(self, connection: Any, request: bytes) -> bytes:
        try:
            sock = connection._sock  # noqa: SLF001
            sent = sock.send(request)
            if sent < len(request):
                sock.sendall(memoryview(request)[sent:])
            answer = b""
            while not _is_whole(answer):
                data = sock.recv(RECEIVE_BYTES)
                if not data:
                    raise ConnectionResetError("Redis closed the connection")  # noqa: TRY301
                answer += data
        except BaseException:
            self._drop(connection)
            raise
        self._idle.append(connection)
        return answer

    def _drop(self, connection: Any) -> None:
        with contextlib.suppress(redis.RedisError, OSError):
            connection.disconnect()
        self._client.connection_pool.release(connection)


class Script:
    """A script that answers a whole number, or a flat list of them."""

    def __init__(self, lines: Lines, client: redis.Redis, text: str) -> None:
        self._lines = lines
        self._registered: Any = client.register_script(text)
        self._sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest().encode()

    def __call__(self, keys: Sequence[str], values: Sequence[Value]) -> Any:
        """Run the script; one round trip, one more the first time after Redis began.

        Raises:
            redis.RedisError, OSError: as `Lines.call`, or the script failed.
        """
        words = [b"EVALSHA", self._sha, b"%d" % len(keys), *(key.encode() for key in keys), *map(_word, values)]
        request = b"*%d\r\n" % len(words) + b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words])
        answer = self._lines.call(request)
        if answer.startswith(_UNKNOWN):
            return self._registered(keys, values)
        if answer.startswith(b"-"):
            raise redis.ResponseError(answer[1:].decode("utf-8", "replace").strip())
        if answer.startswith(b"*"):
            return [_number(line) for line in answer.splitlines()[1:]]
        return _number(answer.rstrip())


def _word(value: Value) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _number(line: bytes) -> int:
    if not line.startswith(b":"):
        raise redis.ResponseError(f"not a whole number: {line[:40]!r}")
    return int(line[1:])


def _is_whole(answer: bytes) -> bool:
    """Return whether an answer of one line, or of a list of them, has come in."""
    if not answer.endswith(b"\r\n"):
        return False
    lines = answer.count(b"\n")
    return not answer.startswith(b"*") or lines > int(answer[1 : answer.index(b"\r")])
