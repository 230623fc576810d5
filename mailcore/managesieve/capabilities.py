"""What the server says it can do (RFC 5804 §1.7): announced only where all of it works."""

from __future__ import annotations

from collections.abc import Iterator

from mailcore import sasl
from mailcore.managesieve.session import Session, State
from mailcore.managesieve.wire import encode_string


def capability_lines(session: Session) -> Iterator[bytes]:
    """Yield the lines that hold now, each with its end."""
    yield _line("IMPLEMENTATION", "Eider")
    yield _line("VERSION", "1.0")
    yield _line("SASL", " ".join(sasl.MECHANISMS) if session.may_sign_in else "")
    yield _line("SIEVE", " ".join(session.services.scripts.extensions))
    yield _line("MAXREDIRECTS", str(session.services.scripts.max_redirects))
    yield _line("UNAUTHENTICATE")
    if session.offers_tls and not session.encrypted and session.state is State.NOT_AUTHENTICATED:
        yield _line("STARTTLS")
    if session.identity is not None:
        yield _line("OWNER", session.identity.address)


def _line(name: str, value: str | None = None) -> bytes:
    words = [name] if value is None else [name, value]
    return b" ".join(encode_string(word.encode("utf-8", "replace")) for word in words) + b"\r\n"
