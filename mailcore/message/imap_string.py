"""Strings as IMAP bytes (RFC 9051 §9, rules `nstring`, `quoted`, `literal`): any input gives a valid one."""

from __future__ import annotations

import re

_PLAIN = re.compile(rb"[ !#-\[\]-~]*+")
_LINE_BREAKS = re.compile(rb"[\r\n]+")

MAX_STRING_BYTES = 8 * 1024
"""Longer header values are cut in ENVELOPE and BODYSTRUCTURE; BODY[HEADER] has all of them."""


def imap_string(value: bytes) -> bytes:
    """A quoted string, or a literal where there are 8-bit bytes; without NUL, line breaks become blanks."""
    if len(value) > MAX_STRING_BYTES:
        value = cut_text(value, MAX_STRING_BYTES)
    if _PLAIN.fullmatch(value):
        return b'"' + value + b'"'
    value = _LINE_BREAKS.sub(b" ", value).replace(b"\0", b"")
    if value.isascii():
        return b'"' + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
    return b"{%d}\r\n%b" % (len(value), value)


def imap_nstring(value: bytes | None) -> bytes:
    """NIL for None, else as `imap_string`."""
    return b"NIL" if value is None else imap_string(value)


def cut_text(value: bytes, size: int) -> bytes:
    """The beginning of a value, not cut within a UTF-8 character where it is UTF-8."""
    end = size
    while end > size - 4 and end < len(value) and value[end] & 0xC0 == 0x80:
        end -= 1
    return value[:end]
