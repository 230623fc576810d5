"""The life of a server process: start, serve until told to end, drain."""

from __future__ import annotations

import gc
import logging
import signal
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Protocol

import gevent
from gevent.event import Event

from mailcore.net.health import HealthServer
from mailcore.net.listener import DRAIN_S, Listener
from mailcore.net.watchdog import Watchdog
from mailcore.net.web import WebServer

logger = logging.getLogger(__name__)


class Background(Protocol):
    """What a process does without being connected to."""

    def start(self) -> None:
        """Begin."""

    def stop(self, drain_s: float) -> None:
        """Begin nothing more; what is under way has `drain_s` to come to its end."""


def spawn(function: Callable[..., object], *arguments: object) -> object:
    """Run `function` in a greenlet of its own."""
    return gevent.spawn(function, *arguments)


def serve(
    listener: Listener,
    health: HealthServer | None = None,
    web: WebServer | None = None,
    works: Sequence[Background] = (),
    drain_s: float = DRAIN_S,
) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second signal does not wait.

    Raises:
        StartRefused: a port cannot be had.
    """
    gevent.get_hub().print_exception = _log_exception
    told = Event()
    impatient = Event()

    def on_signal() -> None:
        if told.is_set():
            impatient.set()
        told.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, on_signal)
    listener.start()
    if web is not None:
        web.start()
    for work in works:
        work.start()
    if health is not None:
        logger.info("server.listening", extra={"server": "health", "port": health.start()})
    watchdog = Watchdog()
    _settle_memory()
    logger.info("server.started")
    told.wait()
    draining = gevent.spawn(_drain, listener, web, works, drain_s)
    gevent.wait([draining, impatient], count=1)
    watchdog.stop()
    if health is not None:
        health.stop()
    logger.info("server.stopped")


def _drain(listener: Listener, web: WebServer | None, works: Sequence[Background], seconds: float) -> None:
    stopping = [gevent.spawn(work.stop, seconds) for work in (*works, web) if work is not None]
    listener.stop(seconds)
    gevent.joinall(stopping)


def _log_exception(context: object, kind: type[BaseException], error: BaseException, stack: TracebackType) -> None:
    """Log what nobody caught in a greenlet, as gevent reports it."""
    logger.error("greenlet.failed", extra={"greenlet": repr(context)}, exc_info=(kind, error, stack))


def _settle_memory() -> None:
    """Keep what start-up made out of every later collection, and collect less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
