"""A small connection on the pump's contract, and a listener that serves it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import gevent
from gevent import socket

from mailcore.model.actions import (
    CLOSE,
    FLUSH,
    REST,
    START_TLS,
    Action,
    Peer,
    Send,
    SetDeadline,
    StartCompression,
    Tls,
    Wake,
)  # fmt: skip
from mailcore.net.listener import Endpoint, Listener
from tests.waiting import wait_until

PATIENT = SetDeadline(30)
until = partial(wait_until, pause=gevent.sleep)


@dataclass(eq=False)
class Echo:
    """Answers lines; some words make it do more."""

    peer: Peer
    wake_me: Wake
    deadline: SetDeadline = PATIENT
    log: list[str] = field(default_factory=list)
    held: bytes = b""
    size: int = 0
    tls: Tls | None = None

    def greeting(self) -> Iterable[Action]:
        self.tls = self.peer.tls
        return (Send(b"hello\r\n"), self.deadline)

    def receive(self, data: bytes) -> Iterator[Action]:
        self.held += data
        self.size += len(data)
        while b"\n" in self.held:
            line, _, self.held = self.held.partition(b"\n")
            word, _, argument = line.strip().partition(b" ")
            self.log.append(word.decode("latin-1"))
            if word == b"STARTTLS":
                yield Send(b"go\r\n")
                yield START_TLS
            elif word == b"DEFLATE":
                yield Send(b"packed\r\n")
                yield StartCompression(b"too much\r\n")
            elif word == b"BIG":
                for number in range(int(argument)):
                    self.log.append(str(number))
                    yield Send(b"%07d\n" % number * 1000)
            elif word == b"SLOW":
                yield Send(b"first\r\n")
                yield FLUSH
                gevent.sleep(0.05)
                yield Send(b"second\r\n")
            elif word == b"DEADLINE":
                yield SetDeadline(float(argument))
                yield Send(b"set\r\n")
            elif word == b"BUG":
                yield Send(b"so far\r\n")
                raise ZeroDivisionError
            elif word == b"BYE":
                yield Send(b"bye\r\n")
                yield CLOSE
                raise AssertionError("carried on behind Close")
            else:
                yield Send(line + b"\n")
        if not self.held:
            yield REST

    def tls_started(self, tls: Tls) -> Iterable[Action]:
        self.tls = tls
        self.held = b""
        return (Send(b"safe\r\n"),)

    def wake(self) -> Iterable[Action]:
        return (Send(b"news\r\n"),)

    def timeout(self) -> Iterable[Action]:
        return (Send(b"timeout\r\n"), CLOSE)

    def drain(self) -> Iterable[Action]:
        self.log.append("drain")
        if "WORK" in self.log:
            return ()
        return (Send(b"down\r\n"), CLOSE)

    def eof(self) -> None:
        self.log.append("eof")


class Served:
    """A listener with one echo port and everybody who came."""

    def __init__(self, deadline: SetDeadline = PATIENT, listener: dict[str, Any] | None = None, **more: Any) -> None:
        self.connections: list[Echo] = []

        def open_(peer: Peer, wake: Wake) -> Echo:
            self.connections.append(Echo(peer, wake, deadline))
            return self.connections[-1]

        endpoint = Endpoint(
            "echo", "127.0.0.1", 0, open_, refusal=b"too many\r\n", refusal_of_address=b"too many of you\r\n", **more
        )
        self.listener = Listener([endpoint], **(listener or {}))
        self.listener.start()
        (ports,) = self.listener.ports.values()
        self.port = ports[0]

    def connect(self) -> Any:
        client = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return client


def read(client: Any, wanted: bytes) -> None:
    """Read exactly these bytes."""
    got = b""
    while len(got) < len(wanted):
        data = client.recv(len(wanted) - len(got))
        if not data:
            break
        got += data
    assert got == wanted


def read_to_end(client: Any) -> bytes:
    got = b""
    while data := client.recv(65536):
        got += data
    return got


@contextmanager
def serving(*arguments: Any, **named: Any) -> Iterator[Served]:
    served = Served(*arguments, **named)
    try:
        yield served
    finally:
        served.listener.stop(0)
