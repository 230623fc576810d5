"""Content of a message as a literal, piece by piece, so that one of any size takes little memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mailcore.services.content.stored_content import Content


class Damaged(Exception):
    """Content is shorter or longer than its size says."""


def partial_range(start: int, end: int, partial: tuple[int, int] | None) -> tuple[int, int]:
    """Return what `<origin.count>` leaves of a range; nothing past its end (RFC 9051 §6.4.5)."""
    if partial is None:
        return start, end
    origin, count = partial
    start = min(start + origin, end)
    return start, min(start + count, end)


def stream_literal(content: Content, start: int, end: int, mark: bytes = b"") -> Iterator[bytes]:
    """Yield `mark` and a literal, or an empty string.

    Raises:
        Damaged: what was read is not as long as it should be.
        StoreUnavailable: it cannot be read now.
    """
    size = end - start
    if not size:
        yield b'""'
        return
    left = size
    pieces = content.read(start, end)
    first = next(pieces, b"")
    left -= len(first)
    yield mark + b"{%d}\r\n%b" % (size, first)
    for piece in pieces:
        left -= len(piece)
        yield piece
    if left:
        raise Damaged(content.message_oid.hex())
