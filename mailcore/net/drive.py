"""The pump: joins one socket to one sans-IO connection.

A connection that waits for input has no greenlet and no buffer, only a readiness watcher and a
timer; one is spawned when there is something to do and ends when all is said. So an idle client
costs what its session keeps and little more.
"""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import gevent
from gevent import socket

from mailcore import log
from mailcore.model.actions import (
    CLOSE,
    Action,
    Close,
    Connection,
    Open,
    Peer,
    Rest,
    Send,
    SetDeadline,
    StartCompression,
    StartTls,
    Tls,
)  # fmt: skip
from mailcore.net.compression import Inflater, StreamRefused, deflate
from mailcore.net.greenlets import start
from mailcore.net.tls import TlsAcceptor, TlsFailed

RECEIVE_BYTES = 64 * 1024
FLUSH_BYTES = 64 * 1024
STALL_S = 60.0
"""A client that takes nothing of what it asked for during this time is gone."""
HANDSHAKE_S = 60.0

_READABLE, _EXPIRED, _WOKEN, _DRAIN = 1, 2, 4, 8
_READ = 1

logger = logging.getLogger(__name__)


class PeerGone(Exception):
    """The other side closed, reset or stalled while we wrote."""


class Pump:
    """Carries bytes and actions between a non-blocking socket and its connection."""

    __slots__ = (
        "_closed", "_connection", "_due", "_events", "_farewell", "_fields", "_idle_s", "_inflater", "_on_end",
        "_reader", "_running", "_socket", "_timer", "_tls", "_touched", "encrypted",
    )  # fmt: skip

    def __init__(
        self, accepted: Any, tls: TlsAcceptor | None, fields: log.Fields, on_end: Callable[[Pump], None]
    ) -> None:
        """Own the socket `accepted`; `on_end` is called once when it is closed."""
        self._socket = accepted
        self._tls = tls
        self._fields = fields
        self._on_end = on_end
        self._connection: Connection | None = None
        self._reader = gevent.get_hub().loop.io(accepted.fileno(), _READ)
        self._timer: Any = None
        self._idle_s = 0.0
        self._due = 0.0
        self._touched = 0.0
        self._events = 0
        self._running = True
        self._closed = False
        self._inflater: Inflater | None = None
        self._farewell = b""
        self.encrypted = False

    def serve(self, open_: Open, peer: Peer, implicit_tls: bool) -> None:
        """Open the connection, greet, and go on by itself until either side closes; returns early."""

        def begin() -> None:
            tls = self._start_tls() if implicit_tls else None
            self._connection = connection = open_(replace(peer, tls=tls) if tls else peer, self.wake)
            self._perform(connection.greeting())

        self._guarded(begin)

    def wake(self) -> None:
        """Have the connection's `wake` called soon."""
        self._signal(_WOKEN)

    def drain(self) -> None:
        """Have the connection's `drain` called soon; one still in its handshake is closed."""
        if self._connection is None:
            self.abort()
        else:
            self._signal(_DRAIN)

    def abort(self) -> None:
        """Close at once, without a word."""
        if self._closed:
            return
        self._closed = True
        if self._running:
            _shutdown(self._socket)
        else:
            self._finish()

    # -- events ---------------------------------------------------------------------------------

    def _signal(self, event: int) -> None:
        """Note an event; start work unless it is under way."""
        if self._closed:
            return
        self._events |= event
        if not self._running:
            self._running = True
            self._reader.stop()
            start(self._resume)

    def _on_readable(self) -> None:
        self._signal(_READABLE)

    def _on_timer(self) -> None:
        """The timer is set once and lazily: look whether the deadline has moved meanwhile."""
        if self._closed:
            return
        self._stop_timer()
        now = time.monotonic()
        if not self._idle_s:
            self._signal(_EXPIRED)
            return
        remaining = (now if self._running else self._touched) + self._idle_s - now
        if remaining <= 0.001:
            self._signal(_EXPIRED)
        else:
            self._start_timer(remaining)

    def _start_timer(self, seconds: float) -> None:
        self._stop_timer()
        self._due = time.monotonic() + seconds
        self._timer = gevent.get_hub().loop.timer(max(seconds, 0.001))
        self._timer.start(self._on_timer)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
            self._timer = None

    # -- work -----------------------------------------------------------------------------------

    def _guarded(self, work: Callable[[], None]) -> None:
        """Run `work`, the top of this connection's stack; then wait for the next event or end."""
        log.enter(self._fields)
        try:
            work()
            while self._events and not self._closed:
                self._work()
        except (PeerGone, TlsFailed) as gone:
            logger.debug("connection.lost", extra={"reason": str(gone)})
            self._closed = True
        except Exception:
            logger.exception("connection.failed")
            self._closed = True
        self._running = False
        if self._closed:
            self._finish()
        else:
            self._touched = time.monotonic()
            self._reader.start(self._on_readable)

    def _resume(self) -> None:
        self._guarded(self._work)

    def _work(self) -> None:
        """Tell the connection what happened since."""
        connection = self._connection
        assert connection is not None
        events, self._events = self._events, self._events & _EXPIRED
        if events & _READABLE:
            self._read(connection)
        if self._events & _EXPIRED and not self._closed:
            self._events &= ~_EXPIRED
            self._perform(connection.timeout())
        if events & _WOKEN and not self._closed:
            self._perform(connection.wake())
        if events & _DRAIN and not self._closed:
            self._perform(connection.drain())

    def _read(self, connection: Connection) -> None:
        """Hand over what has come in, until there is no more or something else happened."""
        while not self._closed:
            data = self._receive()
            if data is None:
                return
            if not data:
                self._closed = True
                return
            if self._inflater is None:
                self._perform(connection.receive(data))
            else:
                self._hand_over_inflated(connection, self._inflater, data)
            if len(data) < RECEIVE_BYTES and not (self.encrypted and self._socket.pending()):
                return
            if self._events:
                self._events |= _READABLE
                return
            gevent.sleep(0)

    def _hand_over_inflated(self, connection: Connection, inflater: Inflater, data: bytes) -> None:
        """Hand over what compressed input stands for, others' turn coming between pieces."""
        try:
            for number, piece in enumerate(inflater.inflate(data)):
                if number:
                    gevent.sleep(0)
                if self._closed:
                    return
                self._perform(connection.receive(piece))
        except StreamRefused as refused:
            logger.info("connection.stream_refused", extra={"reason": str(refused)})
            self._perform((Send(self._farewell), CLOSE))

    def _perform(self, actions: Iterable[Action]) -> None:
        """Carry out actions; what was answered before a fault of ours leaves too, for it was done."""
        pending: list[bytes] = []
        try:
            self._carry_out(actions, pending)
        except PeerGone:
            raise
        except Exception:
            if pending:
                with suppress(PeerGone):
                    self._write(pending)
            raise

    def _carry_out(self, actions: Iterable[Action], pending: list[bytes]) -> None:
        """Carry out actions as they are yielded; output joined in `pending` leaves at FLUSH_BYTES or at the end."""
        size = 0
        for action in actions:
            if type(action) is Send:
                pending.append(action.data)
                size += len(action.data)
                if size >= FLUSH_BYTES:
                    self._write(pending)
                    pending.clear()
                    size = 0
                continue
            if isinstance(action, SetDeadline):
                self._set_deadline(action)
                continue
            if isinstance(action, Rest):
                if self._inflater is not None:
                    self._inflater.rest()
                continue
            if isinstance(action, Close):
                if pending:
                    self._write_last(pending)
                self._closed = True
                return
            if pending:
                self._write(pending)
                pending.clear()
                size = 0
            if isinstance(action, StartTls):
                assert self._connection is not None
                self._perform(self._connection.tls_started(self._start_tls()))
            elif isinstance(action, StartCompression):
                self._inflater, self._farewell = Inflater(), action.farewell
        if pending:
            self._write(pending)

    def _start_tls(self) -> Tls:
        """Do the server's side of the handshake.

        Raises:
            TlsFailed: the client does not speak TLS, or not in time.
        """
        assert self._tls is not None, "a connection offered STARTTLS without a certificate"
        self._socket, tls = self._tls.handshake(self._socket, HANDSHAKE_S)
        self.encrypted = True
        return tls

    def _set_deadline(self, action: SetDeadline) -> None:
        self._idle_s = 0.0 if action.total else action.seconds
        self._events &= ~_EXPIRED  # of the one before
        self._touched = time.monotonic()
        if action.total or self._timer is None or self._due > self._touched + action.seconds:
            self._start_timer(action.seconds)

    # -- bytes ----------------------------------------------------------------------------------

    def _receive(self) -> bytes | None:
        """Return input, empty at the end of it, None if there is none yet."""
        try:
            data: bytes = self._socket.recv(RECEIVE_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError):
            return None
        except ssl.SSLWantWriteError:
            _wait_write(self._socket)
            return None
        except (OSError, ValueError):
            return b""
        return data

    def _write_last(self, pending: list[bytes]) -> None:
        """Write the rest, in clear together with the end of the stream: so the client is woken once."""
        if self.encrypted:
            self._write(pending)
            return
        self._write(pending, socket.MSG_MORE)
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def _write(self, pending: list[bytes], flags: int = 0) -> None:
        """Write all of it, waiting for the client as long as it takes something at least every STALL_S."""
        if self._closed:
            raise PeerGone("aborted")
        data = pending[0] if len(pending) == 1 else b"".join(pending)
        if self._inflater is not None:
            data = deflate(data)
        view: memoryview | bytes = data
        while view:
            try:
                sent = self._socket.send(view, flags)
            except (BlockingIOError, ssl.SSLWantWriteError):
                _wait_write(self._socket)
                continue
            except ssl.SSLWantReadError:
                _wait_read(self._socket)
                continue
            except (OSError, ValueError) as error:
                raise PeerGone(str(error)) from None
            if sent == len(view):
                return
            view = memoryview(view)[sent:]

    def _finish(self) -> None:
        """Release socket, watcher, timer and session; tell the listener."""
        self._stop_timer()
        self._reader.stop()
        self._reader.close()
        connection, self._connection = self._connection, None
        try:
            if connection is not None:
                connection.eof()
        except Exception:
            logger.exception("connection.failed")
        if self.encrypted:
            _close_notify(self._socket)
        self._socket.close()
        self._on_end(self)


def _wait_write(accepted: Any) -> None:
    try:
        socket.wait_write(accepted.fileno(), timeout=STALL_S)
    except (OSError, ValueError) as error:
        raise PeerGone(str(error)) from None


def _wait_read(accepted: Any) -> None:
    try:
        socket.wait_read(accepted.fileno(), timeout=STALL_S)
    except (OSError, ValueError) as error:
        raise PeerGone(str(error)) from None


def _shutdown(accepted: Any) -> None:
    """Make a greenlet that waits in this socket's write find it closed."""
    try:
        accepted.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


def _close_notify(accepted: Any) -> None:
    """Tell a TLS client that the end is meant (RFC 8446 §6.1); never waits for its answer."""
    try:
        accepted.unwrap()
    except (OSError, ValueError):
        pass
