"""Content as it goes over the wire: every line ends with CRLF, dots at the beginning of lines are doubled.

RFC 5321 §2.3.8, §4.1.1.4 and §4.5.2. A CR or LF by itself would be a line end for some servers and none for others,
by which a second message could be hidden in the first (SMTP smuggling): none is ever sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

END = b".\r\n"

_LONE = re.compile(rb"\r(?!\n)|(?<!\r)\n")


def wire_content(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield a message, given in pieces cut anywhere, as DATA has it, with its final dot."""
    at_line_start = True
    held = b""  # a CR at the end of a piece: what follows it is not known yet
    for piece in pieces:
        if not piece:
            continue
        data, held = held + piece, b""
        if data.endswith(b"\r"):
            data, held = data[:-1], b"\r"
        if not data:
            continue
        data = _LONE.sub(b"\r\n", data)
        stuffed = data.replace(b"\r\n.", b"\r\n..")
        if at_line_start and stuffed.startswith(b"."):
            stuffed = b"." + stuffed
        at_line_start = data.endswith(b"\r\n")
        yield stuffed
    if held:
        yield b"\r\n"
        at_line_start = True
    yield END if at_line_start else b"\r\n" + END


def wire_size(size_bytes: int) -> int:
    """Return what is declared by SIZE (RFC 1870 §3): the octets before dots are doubled, a line end at the end."""
    return size_bytes + 2
