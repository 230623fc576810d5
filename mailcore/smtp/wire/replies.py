"""SMTP replies as values, and their bytes (RFC 5321 §4.2, RFC 2034)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Reply:
    """A code, an enhanced status code ("" where RFC 2034 §4 wants none) and one line of text or more."""

    code: int
    enhanced: str
    lines: tuple[str, ...]

    @classmethod
    def of(cls, code: int, enhanced: str, *lines: str) -> Reply:
        """Build a reply of the given lines; text is ours, never the client's."""
        return cls(code, enhanced, lines)

    @property
    def is_positive(self) -> bool:
        """Whether it says yes (2yz) or go on (3yz)."""
        return self.code < 400

    def to_wire(self) -> bytes:
        """Return the `Reply-line`; the enhanced code stands on each line."""
        return _encode(self)


@lru_cache(maxsize=256)
def _encode(reply: Reply) -> bytes:
    """Encode once: nearly every reply is one of a few."""
    status = f"{reply.enhanced} " if reply.enhanced else ""
    last = len(reply.lines) - 1
    return "".join(
        f"{reply.code}{' ' if number == last else '-'}{status}{line}\r\n" for number, line in enumerate(reply.lines)
    ).encode("utf-8")
