"""Mailbox names on the wire: modified UTF-7 (RFC 3501 §5.1.3), or UTF-8 once enabled (RFC 6855 §3).

Only the canonical form is read: what decodes must encode to the same bytes, so one name has one
spelling and `&AEE-` is no second "A".
"""

from __future__ import annotations

import binascii
import re
import unicodedata

from mailcore.errors import MailboxNameInvalid
from mailcore.model.ids import MailboxName
from mailcore.model.mailbox import parse_mailbox_name

_SHIFTED = re.compile(rb"&([^-]*)-")
_DIRECT = re.compile(r"[^\x20-\x7e]+")


def decode_utf7(encoded: bytes) -> str:
    """Read modified UTF-7.

    Raises:
        MailboxNameInvalid: not modified UTF-7, or not in its canonical form.
    """
    if encoded.isascii() and b"&" not in encoded:
        return encoded.decode("ascii")
    parts: list[str] = []
    position = 0
    for match in _SHIFTED.finditer(encoded):
        parts.append(_ascii(encoded[position : match.start()]))
        parts.append(_shifted(match[1]) if match[1] else "&")
        position = match.end()
    parts.append(_ascii(encoded[position:]))
    name = "".join(parts)
    if encode_utf7(name) != encoded:
        raise MailboxNameInvalid(encoded)
    return name


def encode_utf7(name: str) -> bytes:
    """Write modified UTF-7; never fails for text without lone surrogates."""
    if name.isascii() and name.isprintable() and "&" not in name:
        return name.encode("ascii")
    return _DIRECT.sub(_shift, name.replace("&", "&-")).encode("ascii")


def decode_name(wire: bytes, *, utf8: bool) -> MailboxName:
    """Read a mailbox name: NFC, "INBOX" in any case made capitals.

    Raises:
        MailboxNameInvalid: not in the encoding that holds for this session, or no name at all.
    """
    return parse_mailbox_name(decode_text(wire, utf8=utf8))


def decode_text(wire: bytes, *, utf8: bool) -> str:
    """Read a name or a pattern as text, in NFC.

    Raises:
        MailboxNameInvalid: not in the encoding that holds for this session.
    """
    return unicodedata.normalize("NFC", decode_written(wire, utf8=utf8))


def decode_written(wire: bytes, *, utf8: bool) -> str:
    """Read a name as it was written, in whatever form.

    Raises:
        MailboxNameInvalid: not in the encoding that holds for this session.
    """
    if not utf8:
        return decode_utf7(wire)
    try:
        return wire.decode("utf-8")
    except UnicodeDecodeError:
        raise MailboxNameInvalid(wire) from None


def encode_name(name: str, *, utf8: bool) -> bytes:
    """Write a mailbox name in the encoding that holds for this session."""
    return name.encode("utf-8", "replace") if utf8 else encode_utf7(name)


def _ascii(piece: bytes) -> str:
    try:
        return piece.decode("ascii")
    except UnicodeDecodeError:
        raise MailboxNameInvalid(piece) from None


def _shifted(piece: bytes) -> str:
    try:
        raw = binascii.a2b_base64(piece.replace(b",", b"/") + b"=" * (-len(piece) % 4))
        return raw.decode("utf-16-be")
    except (binascii.Error, UnicodeDecodeError):
        raise MailboxNameInvalid(piece) from None


def _shift(match: re.Match[str]) -> str:
    encoded = binascii.b2a_base64(match[0].encode("utf-16-be", "replace"), newline=False)
    return "&" + encoded.rstrip(b"=").replace(b"/", b",").decode("ascii") + "-"
