"""Files that a user put aside to send them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from bson import ObjectId


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file; its content is a blob.

    Attributes:
        content_id: by which an HTML text shows it, without angle brackets; "" for none.
        md5: of the content, in hexadecimal: clients compare it, nothing relies on it.
        address: of the blob.
        attempt: names the reference to it.
    """

    id: ObjectId
    filename: str
    content_type: str
    content_id: str
    size_bytes: int
    md5: str
    created_at: datetime
    address: bytes = field(repr=False)
    attempt: bytes = field(repr=False)
