"""Values with parameters: Content-Type and Content-Disposition (RFC 2045 §5.1, RFC 2183, RFC 2231).

Values are handled as text with one character per byte until the end, so that a boundary keeps its bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from mailcore.message.charset import decode_text

MAX_PARAMETERS = 1000
"""More of one field are dropped; RFC 2231 pieces count one by one, up to ten times that."""

_SIMPLE = re.compile(
    r'[ \t]*;[ \t]*([A-Za-z][\w-]*)=(?:"([^"\\\r\n\0]*)"|([^\s;"()<>@,:\\/\[\]?=*%\'\0]+))[ \t]*', re.ASCII
)
_ITEM = re.compile(r'(?:[^;"\\(]++|\\.?|"(?:[^"\\]++|\\.)*+"?|\()++', re.DOTALL)
_QUOTED = re.compile(r'"((?:[^"\\]++|\\.)*+)"?', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_NAME = re.compile(r"([!#-)+-<>-~]{1,100})(?:\*(0|[1-9][0-9]{0,4}))?(\*)?")
_HEAD_END = re.compile(r'[;\s("]')


class Parameterized(NamedTuple):
    """A parsed value."""

    token: str
    """What stands before the parameters, in lower case; one character per byte."""
    parameters: Mapping[str, str]
    """By lower-case name: the first of each, RFC 2231 continuations joined and decoded; as readable text."""
    boundary: bytes | None
    """The bytes of the boundary parameter."""


def parse_parameterized(value: bytes) -> Parameterized:
    """Split an unfolded value into its first token and its parameters; linear, and anything is taken."""
    text = value.decode("latin-1").strip()
    end = _HEAD_END.search(text)
    token = text[: end.start()] if end else text
    parameters: dict[str, str] = {}
    position, size = len(token), len(text)
    while match := _SIMPLE.match(text, position):
        parameters.setdefault(match[1].lower(), match[2] if match[3] is None else match[3])
        position = match.end()
    boundary: bytes | None = None
    if position != size:
        semicolon = text.find(";", len(token))
        parameters, boundary = ({}, None) if semicolon < 0 else _parse_all(text[semicolon:])
    elif "boundary" in parameters:
        boundary = parameters["boundary"].encode("latin-1")
    if not text.isascii():
        parameters = {name: _readable(parameter) for name, parameter in parameters.items()}
    return Parameterized(token.lower(), parameters, boundary)


def _readable(text: str) -> str:
    """A value with one character per byte as the text its bytes most likely mean; text already decoded stays."""
    if text.isascii() or isinstance(text, _Decoded):
        return str(text)
    return decode_text(text.encode("latin-1"), None)


class _Decoded(str):
    """A value that came out of RFC 2231 decoding."""

    __slots__ = ()


def _parse_all(value: str) -> tuple[dict[str, str], bytes | None]:
    """Parameters written in any odd way; linear, for each character belongs to one item."""
    plain: dict[str, str] = {}
    pieces: dict[str, dict[int, tuple[str, bool]]] = {}
    for count, item in enumerate(_ITEM.finditer(value)):
        if count >= 10 * MAX_PARAMETERS or len(plain) >= MAX_PARAMETERS:
            break
        name, equals, text = item[0].partition("=")
        match = _NAME.fullmatch(name.strip().lower())
        if not equals or match is None:
            continue
        text = _parameter_value(text.strip())
        if match[2] is None and match[3] is None:
            plain.setdefault(match[1], text)
        else:
            pieces.setdefault(match[1], {}).setdefault(int(match[2] or 0), (text, match[3] is not None))
    boundary = plain["boundary"].encode("latin-1") if "boundary" in plain else None
    for name, numbered in pieces.items():
        joined = _join(numbered)
        if joined is not None:
            plain[name] = _Decoded(joined)
            if name == "boundary":
                boundary = joined.encode()
    return plain, boundary


def _parameter_value(text: str) -> str:
    """The value without quotes, escapes and comments."""
    quoted = _QUOTED.match(text)
    if quoted:
        inner = quoted[1]
        return _ESCAPED.sub(r"\1", inner) if "\\" in inner else inner
    comment = text.find("(")
    return (text[:comment] if comment >= 0 else text).strip()


def _join(numbered: Mapping[int, tuple[str, bool]]) -> str | None:
    """Join continuations from 0 to the first gap, decoding what is percent-encoded (RFC 2231 §3, §4.1)."""
    if 0 not in numbered:
        return None
    text, extended = numbered[0]
    charset: str | None = None
    if extended:
        parts = text.split("'", 2)
        if len(parts) == 3:
            charset, text = parts[0], parts[2]
    encoded: list[bytes] = []
    for number in range(len(numbered)):
        if number not in numbered:
            break
        piece, is_encoded = numbered[number]
        raw = (text if number == 0 else piece).encode("latin-1", "replace")
        encoded.append(unquote_to_bytes(raw) if is_encoded else raw)
    joined = b"".join(encoded)
    return decode_text(joined, charset or None)
