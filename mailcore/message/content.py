"""The Content- fields of a part's header (RFC 2045, RFC 2183, RFC 2557, RFC 1864, RFC 3282)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from mailcore.message.charset import decode_text
from mailcore.message.headers import unfold
from mailcore.message.parameters import parse_parameterized

_FIELD = re.compile(
    rb"\ncontent-(type|transfer-encoding|disposition|id|description|language|location|md5)[ \t]*:"
    rb"([^\n]*+(?:\n[ \t][^\n]*+)*+)"
)
_MEDIA_TYPE = re.compile(r"([!#$%&'*+.^_`{|}~0-9a-z-]{1,127})/([!#$%&'*+.^_`{|}~0-9a-z-]{1,127})")
_ENCODING = re.compile(rb"[!#$%&'*+.^_`{|}~0-9A-Za-z-]{1,40}")


class Content(NamedTuple):
    """What a part's header says of its content, in the order of Part's fields."""

    type: str
    subtype: str
    parameters: Mapping[str, str]
    encoding: str
    disposition: str | None
    disposition_parameters: Mapping[str, str]
    content_id: str | None
    description: str | None
    language: tuple[str, ...]
    location: str | None
    md5: str | None


_Rare: TypeAlias = tuple[str | None, Mapping[str, str], str | None, str | None, tuple[str, ...], str | None, str | None]
_EMPTY: Mapping[str, str] = {}
_NOTHING_RARE: _Rare = (None, _EMPTY, None, None, (), None, None)
TEXT_CONTENT = Content("text", "plain", {"charset": "us-ascii"}, "7bit", None, _EMPTY, None, None, (), None, None)
MESSAGE_CONTENT = TEXT_CONTENT._replace(type="message", subtype="rfc822", parameters=_EMPTY)
OPAQUE_CONTENT = TEXT_CONTENT._replace(type="application", subtype="octet-stream", parameters=_EMPTY, encoding="8bit")


def read_content(header: bytes, default: Content) -> tuple[Content, bytes | None]:
    """The content fields of a header, the first of each, and the boundary parameter."""
    fields: dict[bytes, bytes] = {}
    for match in _FIELD.finditer(b"\n" + header.lower()):
        if match[1] not in fields:
            fields[match[1]] = unfold(header[match.start(2) - 1 : match.end() - 1])
    if not fields:
        return default, None
    media_type, subtype, parameters, boundary = default.type, default.subtype, default.parameters, None
    if b"type" in fields:
        declared = _read_type(fields.pop(b"type"))
        boundary = declared[3]
        if declared[0]:
            media_type, subtype, parameters = declared[:3]
        elif declared[2]:
            parameters = declared[2]
    encoding = _ENCODING.search(fields.pop(b"transfer-encoding", b""))
    content = Content(
        media_type,
        subtype,
        parameters,
        encoding[0].decode("ascii").lower() if encoding else "7bit",
        *(_read_rare(fields) if fields else _NOTHING_RARE),
    )
    return content, boundary


def _read_rare(fields: Mapping[bytes, bytes]) -> _Rare:
    """What bodies of text seldom have."""
    disposition, parameters = None, _EMPTY
    if b"disposition" in fields:
        parsed = parse_parameterized(fields[b"disposition"])
        disposition, parameters = parsed.token or "attachment", parsed.parameters
    language = _text(fields, b"language")
    return (
        disposition,
        parameters,
        _text(fields, b"id"),
        _text(fields, b"description"),
        tuple(filter(None, map(str.strip, language.split(",")))) if language else (),
        _text(fields, b"location"),
        _text(fields, b"md5"),
    )


def _read_type(value: bytes) -> tuple[str, str, Mapping[str, str], bytes | None]:
    """Type and subtype (empty when malformed), parameters, boundary."""
    return _read_short_type(value) if len(value) < 80 and b"boundary" not in value else _read_any_type(value)


def _read_any_type(value: bytes) -> tuple[str, str, Mapping[str, str], bytes | None]:
    parsed = parse_parameterized(value)
    match = _MEDIA_TYPE.fullmatch(parsed.token)
    media_type, subtype = (match[1], match[2]) if match else ("", "")
    return media_type, subtype, parsed.parameters, parsed.boundary


_read_short_type = lru_cache(maxsize=1024)(_read_any_type)
"""The same few values stand in nearly every message."""


def _text(fields: Mapping[bytes, bytes], name: bytes) -> str | None:
    """A field as text; None if absent or empty."""
    value = fields.get(name)
    if not value:
        return None
    return value.decode("ascii") if value.isascii() else decode_text(value, None)
