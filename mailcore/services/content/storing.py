"""Storing messages: their large parts first, then the messages, before any mailbox names them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bson import ObjectId

from mailcore import fault
from mailcore.errors import MailError, StoreUnavailable
from mailcore.model.ids import TenantId
from mailcore.model.limits import Limits
from mailcore.model.octets import Octets
from mailcore.model.row import NewRow
from mailcore.services.content.prepared import PreparedBlob, PreparedMessage, message_id_hash, prepare_message
from mailcore.services.process.offload import Offload
from mailcore.store.direct import Ahead
from mailcore.store.keys import message_key
from mailcore.store.message.blob_refs import OwnerKind, RefOwner
from mailcore.store.message.blobs import blob_address
from mailcore.store.message.chunks import new_generation
from mailcore.store.message.skeleton import SkeletonCodec, Splice, pack_splices, unpack_splices
from mailcore.store.message.upload import BlobContent, BlobUploads, Need
from mailcore.store.placement import Home

OFFLOAD_BYTES = 512 * 1024
"""Preparing a message from this size on takes over 5 ms now and then, and goes to the thread pool."""
ADDRESS_OFFLOAD_BYTES = 4 << 20
"""Content of this size takes over 3 ms to hash."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A message for one user; without `message_oid` it gets a new id."""

    home: Home
    prepared: PreparedMessage
    message_oid: bytes | None = None


@dataclass(frozen=True, slots=True)
class NewRowContent:
    """What a mailbox row says of a stored message."""

    message_oid: bytes
    size_bytes: int
    header_date: int
    thread: int
    message_id_hash: int = 0
    existed: bool = False
    """A message of that id was there before and is untouched; this one was not stored."""
    ahead: Ahead | None = None
    """For the commit of the row, before which nobody may rely on the message."""

    def row(self, flags: int, saved_date: int, internal_date: int | None = None) -> NewRow:
        """Return the row of the message in a mailbox.

        Args:
            flags: system bits, and keyword bits of the mailbox's list.
            saved_date: when it comes into the mailbox, seconds since 1970.
            internal_date: the same if None.
        """
        return NewRow(
            self.message_oid,
            flags,
            self.size_bytes,
            saved_date if internal_date is None else internal_date,
            saved_date,
            self.header_date,
            self.thread,
            self.message_id_hash,
        )


class Storing:
    """Stores messages on every shard; `ContentStore` adds what reads them."""

    def __init__(self, offload: Offload, limits: Limits) -> None:
        self._offload = offload
        self._limits = limits
        self._codec = SkeletonCodec()

    def prepare(self, raw: Octets) -> PreparedMessage:
        """Make a message ready to be stored; large ones in the thread pool. No round trip, no input raises."""

        def work() -> PreparedMessage:
            return prepare_message(raw, self._limits.scan, self._codec)

        return self._offload.run(work) if len(raw) >= OFFLOAD_BYTES else work()

    def put(
        self, home: Home, prepared: PreparedMessage, message_oid: bytes | None = None, *, ahead: bool = False
    ) -> NewRowContent:
        """Store one message (majority): references, blobs, then the message.

        One round trip without attachments; with them two more if all are known, four if all are new.
        `ahead` as for `put_many`.

        Raises:
            StoreUnavailable, StoreFull: what is stored nonetheless is garbage for the sweep.
        """
        result = self.put_many([Copy(home, prepared, message_oid)], ahead=ahead)[0]
        if isinstance(result, MailError):
            raise result
        return result

    def put_many(self, copies: Sequence[Copy], *, ahead: bool = False) -> list[NewRowContent | MailError]:
        """Store messages for several users; blobs once for each tenant and shard, one insert for each shard.

        Args:
            copies: the messages.
            ahead: the caller commits each row with its content's `ahead`. Then a single message is not
                waited for here: the majority that acknowledges the commit has it too.

        Returns:
            For each copy, in order, what its row says, or why it could not be stored.
        """
        results: list[NewRowContent | MailError] = [StoreUnavailable("not tried")] * len(copies)
        groups: dict[tuple[str, TenantId], list[int]] = {}
        for index, copy in enumerate(copies):
            groups.setdefault((copy.home.shard.name, copy.home.tenant_id), []).append(index)
        documents: dict[str, dict[int, dict[str, Any]]] = {}
        for (shard_name, _), indexes in groups.items():
            try:
                copies[indexes[0]].home.shard.room.check()
                stored = self._secure_blobs([copies[index] for index in indexes])
            except MailError as error:
                for index in indexes:
                    results[index] = error
                continue
            documents.setdefault(shard_name, {}).update(zip(indexes, stored, strict=True))
        if groups:
            fault.hit("delivery.after_blob")
        for of_shard in documents.values():
            shard = copies[next(iter(of_shard))].home.shard
            proof = None
            try:
                if ahead and len(of_shard) == 1:
                    proof = shard.messages.insert_ahead(*of_shard.values())
                present = shard.messages.insert(list(of_shard.values())) if proof is None else set()
            except MailError as error:
                for index in of_shard:
                    results[index] = error
                continue
            for index, document in of_shard.items():
                # a new id can only be there already by this very call, whose first answer got lost
                existed = document["_id"] in present and copies[index].message_oid is not None
                results[index] = self._row(copies[index], document, existed, proof)
                if existed:
                    self._drop_references(copies[index], document)
        fault.hit("delivery.after_message")
        return results

    def _secure_blobs(self, copies: Sequence[Copy]) -> list[dict[str, Any]]:
        """Bring the blobs of copies of one tenant on one shard; return the documents that name them."""
        home = copies[0].home
        now = datetime.now(UTC)
        contents: dict[int, list[BlobContent]] = {}  # by identity: copies of one message share its blobs
        needs: list[Need] = []
        documents: list[dict[str, Any]] = []
        for copy in copies:
            oid = copy.message_oid or ObjectId().binary
            key = message_key(copy.home.user_id, oid)
            blobs = copy.prepared.blobs
            attempt = b""
            addressed: list[BlobContent] = []
            if blobs:
                if id(blobs) not in contents:
                    contents[id(blobs)] = self._addressed(home, blobs)
                addressed = contents[id(blobs)]
                attempt = new_generation()
                needs.append(Need(RefOwner(OwnerKind.MESSAGE, key, attempt), addressed))
            documents.append(self._document(key, copy, now, attempt, addressed))
        if needs:
            BlobUploads(home.shard.blobs, home.shard.blob_refs, home.shard.chunks).secure(home.tenant_id, needs)
        return documents

    def _addressed(self, home: Home, blobs: Sequence[PreparedBlob]) -> list[BlobContent]:
        """Work out where content belongs within a tenant; in the thread pool if it is much."""

        def work() -> list[BlobContent]:
            return [
                BlobContent(blob_address(home.tenant_key, blob.data), blob.data, blob.stays_hot, home.cold_after)
                for blob in blobs
            ]

        return self._offload.run(work) if sum(len(blob.data) for blob in blobs) >= ADDRESS_OFFLOAD_BYTES else work()

    def _drop_references(self, copy: Copy, document: dict[str, Any]) -> None:
        """Take back what an attempt referred to whose message was not stored."""
        if "splices" not in document:
            return
        owner = RefOwner(OwnerKind.MESSAGE, document["_id"], document["attempt"])
        addresses = {splice.address for splice in unpack_splices(document["splices"])}
        try:
            copy.home.shard.blob_refs.delete([owner.key(copy.home.tenant_id, address) for address in addresses])
        except MailError:
            pass  # swept by age

    def _document(
        self, key: bytes, copy: Copy, now: datetime, attempt: bytes, contents: Sequence[BlobContent]
    ) -> dict[str, Any]:
        prepared = copy.prepared
        document: dict[str, Any] = {
            "_id": key,
            "format": prepared.mark,
            "size": prepared.size_bytes,
            "sha256": prepared.digest,
            "stored_at": now,
            "date": prepared.header_date,
            "thread": self._thread(copy, key).to_bytes(8, "big"),
            "envelope": prepared.envelope,
            "body_structure": prepared.body_structure,
            "parts": prepared.parts,
            "skeleton": prepared.skeleton,
        }
        if prepared.light_headers is not None:
            document["light_headers"] = prepared.light_headers
        if prepared.preview:
            document["preview"] = prepared.preview
        if prepared.message_id:
            document["header_message_id"] = prepared.message_id
        if prepared.prefix:
            document["prefix"] = prepared.prefix
        if contents:
            document["attempt"] = attempt
            document["splices"] = pack_splices(
                [
                    Splice(blob.cut, len(blob.data), content.address)
                    for blob, content in zip(prepared.blobs, contents, strict=True)
                ]
            )
        if prepared.search_text is not None:
            mark, text = self._codec.compress(prepared.search_text.encode("utf-8", "replace"))
            document["text"] = mark + text
        return document

    def _thread(self, copy: Copy, key: bytes) -> int:
        """Number of the conversation; an answer that names only its parent belongs where the parent does."""
        user_id = copy.home.user_id
        number = message_id_hash(user_id, copy.prepared.conversation or key)
        if copy.prepared.names_parent_only:
            try:
                return copy.home.shard.message_ids.find_threads(user_id, [number]).get(number) or number
            except MailError:
                return number
        return number

    def _row(self, copy: Copy, document: dict[str, Any], existed: bool, ahead: Ahead | None) -> NewRowContent:
        prepared = copy.prepared
        return NewRowContent(
            message_oid=document["_id"][12:],
            size_bytes=prepared.size_bytes,
            header_date=prepared.header_date,
            thread=int.from_bytes(document["thread"], "big"),
            message_id_hash=message_id_hash(copy.home.user_id, prepared.message_id) if prepared.message_id else 0,
            existed=existed,
            ahead=ahead,
        )
