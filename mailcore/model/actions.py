"""What a sans-IO connection and the pump that owns its socket say to each other.

A connection never touches a socket: the pump hands it what came in and carries out what it
yields. The methods may be generators; the pump takes one action at a time and writes as it goes,
so output of any size streams with the client's own speed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple, Protocol


class Send(NamedTuple):
    """Write these bytes; small ones are joined, and written before the pump waits for input."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Flush:
    """Write what was held back for joining now, for what follows may take long."""


@dataclass(frozen=True, slots=True)
class StartTls:
    """Write what is pending, then do the TLS handshake; `tls_started` follows.

    The connection yields it only while it holds no unread input: bytes that a client sent
    behind its STARTTLS in clear must close the connection instead.
    """


@dataclass(frozen=True, slots=True)
class StartCompression:
    """Write what is pending; from then on both directions are deflated (RFC 1951).

    Input that is no such stream, or expands too much, ends the connection with `farewell`.
    """

    farewell: bytes


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing is half said: memory that is only needed between parts of something may go."""


@dataclass(frozen=True, slots=True)
class SetDeadline:
    """Replace the deadline; when it passes, `timeout` is called, once: it sets the next one or closes.

    `total`: counted from now, whatever comes in. Otherwise: time without input or output.
    """

    seconds: float
    total: bool = False


@dataclass(frozen=True, slots=True)
class Close:
    """Write what is pending and close; actions after it are not carried out."""


Action = Send | Flush | StartTls | StartCompression | Rest | SetDeadline | Close

FLUSH = Flush()
START_TLS = StartTls()
REST = Rest()
CLOSE = Close()


class Then(Enum):
    """What follows a reply."""

    GO_ON = auto()
    BEGIN_TLS = auto()
    CLOSE = auto()


Wake = Callable[[], None]
"""Makes the pump call `wake` soon; cheap, may be called at any time from any greenlet."""


@dataclass(frozen=True, slots=True)
class Tls:
    """The encryption of a connection, and whom the client's certificate names if it sent one."""

    version: str
    cipher: str
    client_name: str | None = None


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end, as the socket or a trusted proxy's header says; `tls` if encrypted from the start."""

    address: str
    port: int
    tls: Tls | None = None
    session: str = ""
    """Names the connection in logs and as `Actor.request_id`."""


class Connection(Protocol):
    """One client's dialogue: bytes in, actions out. Never called while a call is still running."""

    def greeting(self) -> Iterable[Action]:
        """Begin: called once, before anything else."""
        ...

    def receive(self, data: bytes) -> Iterable[Action]:
        """Take input, at least one byte, cut anywhere."""
        ...

    def tls_started(self, tls: Tls) -> Iterable[Action]:
        """Go on after the handshake that StartTls asked for; forget what was said before it."""
        ...

    def wake(self) -> Iterable[Action]:
        """Look at what somebody called Wake for; several calls may have become one."""
        ...

    def timeout(self) -> Iterable[Action]:
        """Answer to the deadline that passed."""
        ...

    def drain(self) -> Iterable[Action]:
        """The process is to end: close now, or as soon as what is under way allows; called once."""
        ...

    def eof(self) -> None:
        """The socket is gone, for whatever reason; called once, last. Let go of everything."""
        ...


Open = Callable[[Peer, Wake], Connection]
"""Makes the connection of one accepted client."""
