"""COMPRESS DEFLATE: everything after it is compressed, both ways (RFC 4978).

To be had after signing in only, so no password is ever part of a compressed stream.
"""

from __future__ import annotations

from mailcore.imap.session import Session
from mailcore.imap.wire.cursor import Cursor
from mailcore.imap.wire.responses import BeginCompression, Completion, No


def parse_compress(cursor: Cursor) -> str:
    """Read `SP algorithm`."""
    cursor.space()
    algorithm = cursor.word()
    cursor.end()
    return algorithm


def handle_compress(session: Session, args: str) -> Completion:
    """Begin; it cannot be ended but with the connection."""
    if args != "DEFLATE":
        return No("This algorithm is not supported", b"CANNOT")
    if session.compressed:
        return No("The connection is compressed already", b"COMPRESSIONACTIVE")
    return BeginCompression("COMPRESS completed, what follows is deflated")
