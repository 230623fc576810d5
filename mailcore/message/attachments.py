"""The parts of a message that are listed as attachments, read from its BODYSTRUCTURE."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from mailcore.message.body_structure import Nested, read_nested

PREFIX: Final = "ATT"
_LEAF_FIELDS: Final = 7


@dataclass(frozen=True, slots=True)
class Leaf:
    """A part that holds data, or a message (RFC 9051 §7.5.2).

    Attributes:
        part_number: its place, as FETCH names it; a message that is one part has (1,).
        size_bytes: encoded, as it lies in the message.
        is_related: it belongs to the text that shows it (multipart/related).
    """

    part_number: tuple[int, ...]
    content_type: str
    parameters: Mapping[str, str]
    content_id: str
    encoding: str
    size_bytes: int
    disposition: str
    filename: str
    is_related: bool

    @property
    def is_text(self) -> bool:
        """Whether it is shown as text of the message, rather than listed."""
        return (
            self.content_type in {"text/plain", "text/html"} and self.disposition != "attachment" and not self.filename
        )


def leaves(body_structure: bytes) -> list[Leaf]:
    """Return the leaves of what `serialize_body_structure` made, in their order."""
    found: list[Leaf] = []
    work: list[tuple[Nested, tuple[int, ...], bool]] = [(read_nested(body_structure), (), False)]
    while work:
        nested, number, is_related = work.pop()
        items = nested.items
        if items and isinstance(items[0], Nested):
            children = [item for item in items[: _parts(items)] if isinstance(item, Nested)]
            kind = items[len(children)]
            is_inside = isinstance(kind, bytes) and kind.upper() == b'"RELATED"'
            work.extend(
                (child, (*number, index), is_inside) for index, child in reversed(list(enumerate(children, start=1)))
            )
        else:
            found.append(_leaf(items, number or (1,), is_related=is_related))
    return found


def attachment_id(index: int) -> str:
    """Return what the n-th attachment of a message is called, from 1."""
    return f"{PREFIX}{index:05d}"


def attachments(found: list[Leaf]) -> Iterator[tuple[str, Leaf]]:
    """Yield the leaves that are listed, with their ids."""
    index = 0
    for leaf in found:
        if not leaf.is_text:
            index += 1
            yield attachment_id(index), leaf


def _parts(items: list[bytes | Nested]) -> int:
    return next((index for index, item in enumerate(items) if isinstance(item, bytes)), len(items))


def _leaf(items: list[bytes | Nested], number: tuple[int, ...], *, is_related: bool) -> Leaf:
    kind, subtype, parameters, content_id, _, encoding, size = items[:_LEAF_FIELDS]
    media = f"{_text(kind)}/{_text(subtype)}".lower()
    named = _parameters(parameters)
    disposition, disposed = _disposition(items, media)
    return Leaf(
        number,
        media,
        named,
        _text(content_id),
        _text(encoding).lower(),
        int(size) if isinstance(size, bytes) and size.isdigit() else 0,
        disposition,
        disposed.get("filename") or named.get("name", ""),
        is_related,
    )


def _disposition(items: list[bytes | Nested], media: str) -> tuple[str, Mapping[str, str]]:
    """Return the disposition; it stands behind the MD5, which stands behind what text and messages have more."""
    at = _LEAF_FIELDS + 1
    if media.startswith("text/"):
        at += 1
    elif media in {"message/rfc822", "message/global"}:
        at += 3
    value = items[at] if len(items) > at else b"NIL"
    if not isinstance(value, Nested) or not value.items:
        return "", {}
    return _text(value.items[0]).lower(), _parameters(value.items[1] if len(value.items) > 1 else b"NIL")


def _parameters(value: bytes | Nested) -> dict[str, str]:
    if not isinstance(value, Nested):
        return {}
    found: dict[str, str] = {}
    for name, text in zip(value.items[::2], value.items[1::2], strict=False):
        key, content = _text(name).lower(), _text(text)
        if key.endswith("*"):
            key, content = key[:-1], unquote(content.rpartition("'")[2])
        found.setdefault(key, content)
    return found


def _text(value: bytes | Nested) -> str:
    """Return what a string says, written in quotes or as a literal; empty for NIL."""
    if isinstance(value, Nested) or value == b"NIL":
        return ""
    if value[:1] == b'"':
        value = value[1:-1].replace(b'\\"', b'"').replace(b"\\\\", b"\\") if b"\\" in value else value[1:-1]
    elif value[:1] == b"{":
        value = value.partition(b"\r\n")[2]
    return value.decode("utf-8", "replace")
