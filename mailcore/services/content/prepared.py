"""A message made ready to be stored: scanned, cut, compressed and serialized once, for however many recipients."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from bson import ObjectId

from mailcore.message.body_structure import serialize_body_structure
from mailcore.message.envelope import header_date, message_ids, serialize_envelope
from mailcore.message.headers import light_header_block
from mailcore.message.mime_tree import MimeTree, scan
from mailcore.message.parts_table import pack_parts
from mailcore.message.preview import preview
from mailcore.message.split import Cut, content_of
from mailcore.message.text import searchable_text
from mailcore.model.limits import ScanLimits
from mailcore.model.octets import Octets, Sliced, pieces
from mailcore.model.row import MISSING_DATE
from mailcore.store.message.skeleton import SkeletonCodec, plan_cuts, remainder

SEARCH_TEXT_BYTES = 64 * 1024
"""Of a message's text so much goes into the text blocks; what is beyond is scanned from the message."""


@dataclass(frozen=True, slots=True)
class PreparedBlob:
    """Content of a message that is stored apart."""

    cut: Cut
    data: Sliced
    stays_hot: bool


@dataclass(frozen=True, slots=True)
class PreparedMessage:
    """What is stored of a message, but for its owner.

    Attributes:
        raw_sha256: of the message as it arrived.
        prefix: trace headers put before it for one recipient.
        search_text: present where text parts are not in the skeleton.
        message_id: empty if the message has none.
        conversation: first of References, else In-Reply-To, else the own Message-ID; empty if there is none.
        names_parent_only: there is an In-Reply-To and no References.
    """

    tree: MimeTree
    raw_sha256: bytes
    mark: bytes
    skeleton: bytes
    blobs: tuple[PreparedBlob, ...]
    envelope: bytes
    body_structure: bytes
    light_headers: bytes | None
    search_text: str | None
    header_date: int
    message_id: bytes
    conversation: bytes
    names_parent_only: bool
    preview: str
    prefix: bytes = b""
    _packed_parts: dict[int, bytes] = field(default_factory=dict, repr=False, compare=False)

    @property
    def size_bytes(self) -> int:
        """RFC822.SIZE."""
        return self.tree.raw_size + len(self.prefix)

    @property
    def digest(self) -> bytes:
        """What a stored copy is verified against."""
        return stored_digest(self.prefix, self.raw_sha256)

    @property
    def parts(self) -> bytes:
        """The packed parts table, its offsets behind the prefix; made once for each length of prefix."""
        packed = self._packed_parts.get(len(self.prefix))
        if packed is None:
            packed = pack_parts(self.tree, len(self.prefix))
            self._packed_parts[len(self.prefix)] = packed
        return packed

    def with_prefix(self, prefix: bytes) -> PreparedMessage:
        """Return the same message behind further header fields: whole lines, none of which ENVELOPE shows."""
        return replace(self, prefix=prefix)


def stored_digest(prefix: bytes, raw_sha256: bytes) -> bytes:
    """Return the SHA-256 of the message; with a prefix, of the prefix and the SHA-256 of the rest."""
    return hashlib.sha256(prefix + raw_sha256).digest() if prefix else raw_sha256


def prepare_message(raw: Octets, limits: ScanLimits, codec: SkeletonCodec) -> PreparedMessage:
    """Scan, cut, compress and serialize; no input raises."""
    tree = scan(raw, limits)
    header = raw[: tree.root.body_start]
    envelope = serialize_envelope(header)
    body_structure = serialize_body_structure(tree, raw)
    light_headers = light_header_block(header)
    items_bytes = len(envelope) + len(body_structure) + len(light_headers or b"") + 15 * len(tree.parts)
    planned = plan_cuts(tree, raw, items_bytes)
    blobs = tuple(PreparedBlob(plan.cut, content_of(raw, plan.cut), plan.stays_hot) for plan in planned)
    mark, skeleton = codec.compress(remainder(raw, [blob.cut for blob in blobs]))
    own = message_ids(header, b"message-id")
    parents = message_ids(header, b"in-reply-to")
    references = message_ids(header, b"references")
    date = header_date(header)
    return PreparedMessage(
        tree=tree,
        raw_sha256=_sha256(raw),
        mark=mark,
        skeleton=skeleton,
        blobs=blobs,
        envelope=envelope,
        body_structure=body_structure,
        light_headers=light_headers,
        search_text=searchable_text(raw, tree, SEARCH_TEXT_BYTES) if _hides_text(tree, blobs) else None,
        header_date=MISSING_DATE if date is None else date,
        message_id=own[0] if own else b"",
        conversation=(references or parents or own or [b""])[0],
        names_parent_only=bool(parents) and not references,
        preview=preview(raw, tree),
    )


def _sha256(raw: Octets) -> bytes:
    digest = hashlib.sha256()
    for piece in pieces(raw):
        digest.update(piece)
    return digest.digest()


def message_id_hash(user_id: ObjectId, message_id: bytes) -> int:
    """Return the unsigned 64-bit number that stands for a message id in one user's mailboxes."""
    return int.from_bytes(hmac.digest(user_id.binary, message_id, "sha256")[:8], "big")


def _hides_text(tree: MimeTree, blobs: Sequence[PreparedBlob]) -> bool:
    """Whether a text part, or a range that may hold some, is stored apart."""
    return any(blob.cut.part_index < 0 or tree.parts[blob.cut.part_index].type == "text" for blob in blobs)
