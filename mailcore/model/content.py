"""Values about stored content that cross layers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StoredItems:
    """What FETCH returns of a message without its text, as IMAP bytes."""

    envelope: bytes
    body_structure: bytes
    light_headers: bytes | None
    """The usual header fields without a blank line; None if they are too large to be kept apart."""
    size_bytes: int
    preview: str
    """The beginning of its text (RFC 8970); empty where there is none."""


@dataclass(frozen=True, slots=True)
class SearchableText:
    """What SEARCH looks through in one message."""

    header: bytes
    text: str
    """Decoded text of the body, not normalized."""
    is_whole: bool
    """Nothing was left out of `text` for its size."""
