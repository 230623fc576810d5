"""BINARY: parts of a message with their transfer encoding undone (RFC 3516, RFC 9051 §6.4.5.1)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mailcore.errors import Refused
from mailcore.imap.streaming import partial_range, stream_literal
from mailcore.imap.wire.fetch_att import BinaryAtt
from mailcore.message.transfer import decode_transfer

if TYPE_CHECKING:
    from mailcore.message.parts_table import BinaryPart
    from mailcore.services.content.stored_content import Content
    from mailcore.services.process.offload import Offload

DECODE_INLINE_BYTES = 512 * 1024
"""Decoding more takes over 5 ms and goes to the thread pool."""
_AS_IT_IS = frozenset({"7bit", "8bit", "binary"})


class UnknownEncoding(Refused):
    """The part has a transfer encoding nobody here can undo: NO [UNKNOWN-CTE]."""


def binary_answer(att: BinaryAtt, content: Content, offload: Offload) -> Iterator[bytes]:
    """Yield what stands behind the label: a size, NIL, or a literal8 in pieces.

    Raises:
        UnknownEncoding: before anything is yielded.
    """
    part = content.parts.locate_binary(att.part_number)
    if part is None:
        yield b"0" if att.size_only else b"NIL"
    elif part.encoding in _AS_IT_IS:
        yield from _as_it_is(att, content, part)
    else:
        decoded = _decoded(content, part, offload)
        if att.size_only:
            yield b"%d" % len(decoded)
            return
        start, end = partial_range(0, len(decoded), att.partial)
        decoded = decoded[start:end]
        yield b"~{%d}\r\n%b" % (len(decoded), decoded) if decoded else b'""'


def _as_it_is(att: BinaryAtt, content: Content, part: BinaryPart) -> Iterator[bytes]:
    if att.size_only:
        yield b"%d" % (part.end - part.start)
    else:
        start, end = partial_range(part.start, part.end, att.partial)
        yield from stream_literal(content, start, end, b"~")


def _decoded(content: Content, part: BinaryPart, offload: Offload) -> bytes:
    if part.encoding == "unknown":
        raise UnknownEncoding(content.message_oid.hex())
    encoded = b"".join(content.read(part.start, part.end))

    def work() -> bytes:
        return decode_transfer(encoded, part.encoding) or b""

    return offload.run(work) if len(encoded) >= DECODE_INLINE_BYTES else work()
