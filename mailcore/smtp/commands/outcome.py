"""What a command's handler returns: its reply, and what the connection must do behind it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from mailcore.smtp.session import Session
from mailcore.smtp.wire.replies import Reply


@dataclass(frozen=True, slots=True)
class ReadMessage:
    """354, then the message follows."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class ReadChunk:
    """So many octets of a BDAT chunk follow at once; `refusal` is answered when they are over."""

    size: int
    is_last: bool
    refusal: Reply | None = None


@dataclass(frozen=True, slots=True)
class BeginTls:
    """The handshake follows the reply."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class Ask:
    """334 with a challenge; `answer` takes the client's next line, without its line end, in place of a command."""

    challenge: bytes = field(repr=False)
    answer: Callable[[bytes], Outcome] = field(repr=False)


@dataclass(frozen=True, slots=True)
class HangUp:
    """The connection ends with this reply."""

    reply: Reply


Outcome = Reply | ReadMessage | ReadChunk | BeginTls | Ask | HangUp
Handler = Callable[[Session, bytes], Outcome]
"""Takes the session and the command's argument; raises MailError, which `smtp.replies` turns into a reply."""
