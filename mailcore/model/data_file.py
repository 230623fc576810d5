"""Files of exported users: BSON documents one after the other; the first says what they are, the last how many.

The last one also has the SHA-256 of all before it, so that a file that was cut off or changed is known as such before
anything is made of it.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator
from typing import Any, Final

import bson
from bson.errors import BSONError

from mailcore.errors import ValueInvalid
from mailcore.model.octets import Octets

HEADER: Final = "eider-export"
VERSION: Final = 1
END: Final = "end"
PIECE_BYTES: Final = 1 << 20
LARGEST_BYTES: Final = 4 << 20
"""Of one document; contents come in pieces of a mebibyte."""
_LENGTH: Final = struct.Struct("<i")

Record = dict[str, Any]


def written(records: Iterable[Record]) -> Iterator[bytes]:
    """Yield the bytes of a file with these records."""
    digest = hashlib.sha256()
    count = 0
    for record in _all(records):
        data = bson.encode(record)
        digest.update(data)
        count += 1
        yield data
    yield bson.encode({"type": END, "records": count, "sha256": digest.digest()})


def checked(data: Octets) -> int:
    """Go through a whole file, and return how many records it has; nothing may be made of it before.

    Raises:
        ValueInvalid: it is another kind of file, of another version, was cut off, or was changed.
    """
    digest = hashlib.sha256()
    count = 0
    record: Record = {}
    for raw in _documents(data):
        if record.get("type") == END:
            raise ValueInvalid("something follows the end of the file: export it again")
        record = _decoded(raw)
        if count == 0 and (record.get("type"), record.get("version")) != (HEADER, VERSION):
            raise ValueInvalid(f"this is no file of exported users of version {VERSION}")
        if record["type"] != END:
            digest.update(raw)
            count += 1
    if record.get("type") != END or record.get("records") != count or record.get("sha256") != digest.digest():
        raise ValueInvalid("the file was cut off or changed: export it again")
    return count - 1


def read(data: Octets) -> Iterator[Record]:
    """Yield the records of a file that was `checked`."""
    for raw in _documents(data):
        record = _decoded(raw)
        if record["type"] == END:
            return
        if record["type"] != HEADER:
            yield record


def _all(records: Iterable[Record]) -> Iterator[Record]:
    yield {"type": HEADER, "version": VERSION}
    yield from records


def _documents(data: Octets) -> Iterator[bytes]:
    at, size = 0, len(data)
    while at < size:
        length = _LENGTH.unpack(data[at : at + 4])[0] if size - at >= 4 else 0
        if at == 0 and not 5 <= length <= LARGEST_BYTES:
            raise ValueInvalid(f"this is no file of exported users of version {VERSION}")
        if not 5 <= length <= min(LARGEST_BYTES, size - at):
            raise ValueInvalid("the file was cut off or changed: export it again")
        yield data[at : at + length]
        at += length


def _decoded(raw: bytes) -> Record:
    try:
        record: Record = bson.decode(raw)
    except BSONError as error:
        raise ValueInvalid("this is no file of exported users, or it was changed") from error
    if not isinstance(record.get("type"), str):
        raise ValueInvalid("this is no file of exported users")
    return record
