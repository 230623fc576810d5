"""EVALSHA on Redis, once for each login: connections of its own, kept, and answers of whole numbers.

A call through redis-py's pool takes several times as long as Redis takes for the script. redis-py makes the
connections and does what the URL asks (TLS, password, database); a script that Redis does not have yet is its too.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import redis

log = logging.getLogger(__name__)

RECEIVE_BYTES: Final = 4096
_UNKNOWN: Final = b"-NOSCRIPT"

Value = str | int | bytes


class Lines:
    """Connections to one Redis, each used by one call at a time."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._idle: deque[Any] = deque()
        self._unsent: list[bytes] = []

    def soon(self, request: bytes) -> None:
        """Send a request with the next call's, or by `flush`; its answer, one line, is of no interest."""
        self._unsent.append(request)

    def flush(self) -> None:
        """Send what waits for a call, if none came; raises as `call`."""
        if self._unsent:
            self.call(b"")

    def call(self, request: bytes) -> bytes:
        """Return the answer to a request; on a connection that was closed meanwhile it is sent again, once.

        Raises:
            redis.RedisError, OSError: Redis is not to be reached, or does not answer in time.
        """
        before, self._unsent = self._unsent, []
        try:
            connection: Any = self._idle.pop()
        except IndexError:
            connection = None
        if connection is not None:
            try:
                return self._ask(connection, before, request)
            except (ConnectionError, redis.ConnectionError):
                self.close()  # the others are as old
        return self._ask(self._client.connection_pool.get_connection(), before, request)

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._drop(self._idle.pop())

    def _ask(self, connection: Any, before: list[bytes], request: bytes) -> bytes:
        """Send what waited and a request, and return the request's answer, empty to an empty one."""
        try:
            sock = connection._sock  # noqa: SLF001
            is_asked = bool(request)
            if before:
                request = b"".join((*before, request))
            sent = sock.send(request)
            if sent < len(request):
                sock.sendall(memoryview(request)[sent:])
            answer = b""
            for _ in before:
                answer = _after_line(sock, answer)
            while is_asked and not _is_whole(answer):
                answer += _receive(sock)
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
        self._text = text.encode()
        self._sha = hashlib.sha1(self._text, usedforsecurity=False).hexdigest().encode()

    def __call__(self, keys: Sequence[str], values: Sequence[Value]) -> Any:
        """Run the script; one round trip, one more the first time after Redis began.

        Raises:
            redis.RedisError, OSError: as `Lines.call`, or the script failed.
        """
        answer = self._lines.call(_request([b"EVALSHA", self._sha], keys, values))
        if answer.startswith(_UNKNOWN):
            return self._registered(keys, values)
        if answer.startswith(b"-"):
            raise redis.ResponseError(answer[1:].decode("utf-8", "replace").strip())
        if answer.startswith(b"*"):
            return [_number(line) for line in answer.splitlines()[1:]]
        return _number(answer.rstrip())

    def soon(self, keys: Sequence[str], values: Sequence[Value]) -> None:
        """Have it run with the next call, or by `Lines.flush`; its text goes along, for nobody reads the answer."""
        self._lines.soon(_request([b"EVAL", self._text], keys, values))


def _request(command: list[bytes], keys: Sequence[str], values: Sequence[Value]) -> bytes:
    words = [*command, b"%d" % len(keys), *[key.encode() for key in keys], *map(_word, values)]
    return b"*%d\r\n" % len(words) + b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words])


def _word(value: Value) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _number(line: bytes) -> int:
    if not line.startswith(b":"):
        raise redis.ResponseError(f"not a whole number: {line[:40]!r}")
    return int(line[1:])


def _receive(sock: Any) -> bytes:
    data: bytes = sock.recv(RECEIVE_BYTES)
    if not data:
        raise ConnectionResetError("Redis closed the connection")
    return data


def _after_line(sock: Any, answer: bytes) -> bytes:
    """Return what follows the first line of an answer, which is told to the log if it is a refusal."""
    while b"\n" not in answer:
        answer += _receive(sock)
    line, _, rest = answer.partition(b"\n")
    if line.startswith(b"-"):
        log.warning("redis.script.refused", extra={"answer": line})
    return rest


def _is_whole(answer: bytes) -> bool:
    """Return whether an answer of one line, or of a list of them, has come in."""
    if not answer.endswith(b"\r\n"):
        return False
    lines = answer.count(b"\n")
    return not answer.startswith(b"*") or lines > int(answer[1 : answer.index(b"\r")])
