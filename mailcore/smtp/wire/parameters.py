"""What follows a path: `keyword=value` pairs (RFC 5321 §4.1.2), and xtext (RFC 3461 §4)."""

from __future__ import annotations

import re

from mailcore.errors import SyntaxFault

_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9\-]*)(?:=([^\x00-\x20=\x7f]+))?")
_XTEXT = re.compile(r"(?:[\x21-\x2a\x2c-\x3c\x3e-\x7e]|\+[0-9A-F]{2})*")
_HEXCHAR = re.compile(rb"\+([0-9A-F]{2})")


def parse_parameters(text: str) -> dict[str, str | None]:
    """Read `esmtp-param *(SP esmtp-param)`, or nothing: keywords in capitals with their values, None without one.

    Raises:
        SyntaxFault: malformed, or a keyword twice.
    """
    parameters: dict[str, str | None] = {}
    for word in filter(None, text.split(" ")):
        match = _PARAMETER.fullmatch(word)
        if match is None:
            raise SyntaxFault("malformed parameter")
        keyword = match[1].upper()
        if keyword in parameters:
            raise SyntaxFault("parameter given twice")
        parameters[keyword] = match[2]
    return parameters


def parse_size(value: str | None) -> int:
    """Read `size-value`, 1 to 20 digits (RFC 1870 §3).

    Raises:
        SyntaxFault: it is none.
    """
    if value is None or not re.fullmatch(r"[0-9]{1,20}", value):
        raise SyntaxFault("malformed size")
    return int(value)


def decode_xtext(value: str) -> str:
    """Return what `xtext` stands for; bytes that are not UTF-8 become U+FFFD.

    Raises:
        SyntaxFault: it is no xtext.
    """
    if _XTEXT.fullmatch(value) is None:
        raise SyntaxFault("malformed xtext")
    raw = _HEXCHAR.sub(lambda match: bytes([int(match[1], 16)]), value.encode("ascii"))
    return raw.decode("utf-8", "replace")
