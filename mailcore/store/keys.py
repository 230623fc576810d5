"""Binary document keys: each begins with its owner, each collection's keys have one length.

MongoDB orders binary values by length first, so prefix ranges need bounds of the full key length;
`owner_range` makes them.
"""

from __future__ import annotations

import struct

from bson import ObjectId

OWNER_BYTES = 12


def user_key(user_id: ObjectId) -> bytes:
    """Return the key of a document of which a user has one (12 bytes)."""
    return user_id.binary


def mailbox_key(user_id: ObjectId, mailbox_id: ObjectId) -> bytes:
    """Return user ‖ mailbox (24 bytes): heads."""
    return user_id.binary + mailbox_id.binary


def segment_key(user_id: ObjectId, mailbox_id: ObjectId, segment: bytes) -> bytes:
    """Return user ‖ mailbox ‖ 8 random bytes (32 bytes): segments, row blocks, cache blocks."""
    return user_id.binary + mailbox_id.binary + segment


def change_key(user_id: ObjectId, mailbox_id: ObjectId, modseq: int, row: int = 0) -> bytes:
    """Return user ‖ mailbox ‖ modseq ‖ row (36 bytes): what the fold writes, once however often."""
    return user_id.binary + mailbox_id.binary + struct.pack(">QI", modseq, row)


def copy_key(user_id: ObjectId, mailbox_id: ObjectId, uid: int) -> bytes:
    """Return user ‖ mailbox ‖ uid (28 bytes): notes."""
    return user_id.binary + mailbox_id.binary + struct.pack(">I", uid)


def message_key(user_id: ObjectId, message_oid: bytes) -> bytes:
    """Return user ‖ message (24 bytes)."""
    return user_id.binary + message_oid


def blob_key(tenant_id: ObjectId, address: bytes) -> bytes:
    """Return tenant ‖ HMAC-SHA256 address (44 bytes)."""
    return tenant_id.binary + address


def chunk_key(tenant_id: ObjectId, address: bytes, generation: bytes, number: int) -> bytes:
    """Return tenant ‖ address ‖ generation (8) ‖ number (56 bytes)."""
    return tenant_id.binary + address + generation + struct.pack(">I", number)


def blob_ref_key(tenant_id: ObjectId, address: bytes, kind: int, owner: bytes, attempt: bytes) -> bytes:
    """Return tenant ‖ address ‖ kind (1) ‖ owner (24) ‖ attempt (8) (77 bytes)."""
    return tenant_id.binary + address + struct.pack(">B", kind) + owner + attempt


def owner_range(owner: bytes, key_bytes: int) -> dict[str, bytes]:
    """Return the `_id` filter for all keys of `key_bytes` length that begin with `owner`."""
    rest = key_bytes - len(owner)
    return {"$gte": owner + b"\x00" * rest, "$lte": owner + b"\xff" * rest}
