"""What the server says it can do (RFC 2449 §6): announced only where all of it works."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mailcore import sasl
from mailcore.pop3.session import Session, State

Shown = Callable[[Session], bool]


@dataclass(frozen=True, slots=True)
class Capability:
    """One announced line, the RFC that defines it, and when it is shown."""

    line: str
    rfc: str
    shown: Shown


def _always(_session: Session) -> bool:
    return True


def _may_sign_in(session: Session) -> bool:
    return session.may_sign_in and session.state is State.AUTHORIZATION


def _tls_possible(session: Session) -> bool:
    return session.offers_tls and not session.encrypted and session.state is State.AUTHORIZATION


CAPABILITIES: tuple[Capability, ...] = (
    Capability("TOP", "RFC 2449 §6.1", _always),
    Capability("UIDL", "RFC 2449 §6.8", _always),
    Capability("USER", "RFC 2449 §6.2", _may_sign_in),
    Capability(f"SASL {' '.join(sasl.MECHANISMS)}", "RFC 5034 §3", _may_sign_in),
    Capability("STLS", "RFC 2595 §4", _tls_possible),
    Capability("PIPELINING", "RFC 2449 §6.6", _always),
    Capability("RESP-CODES", "RFC 2449 §6.4", _always),
    Capability("AUTH-RESP-CODE", "RFC 3206 §6", _always),
    Capability("UTF8 USER", "RFC 6856 §2", _always),
    Capability("LANG", "RFC 6856 §3", _always),
    Capability("EXPIRE NEVER", "RFC 2449 §6.7: nothing is removed unless the client asks", _always),
    Capability("LOGIN-DELAY 0", "RFC 2449 §6.5: a client may come as often as it likes", _always),
    Capability("IMPLEMENTATION Eider", "RFC 2449 §6.9; the version is nobody's business", _always),
)
"""In the order they are sent."""


def capability_lines(session: Session) -> Iterator[bytes]:
    """Yield the lines that hold now."""
    for capability in CAPABILITIES:
        if capability.shown(session):
            yield capability.line.encode("ascii") + b"\r\n"
