"""Content of messages: stored before a mailbox names it, read back byte for byte."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bson import ObjectId

from mailcore import fault
from mailcore.errors import MailError, MessageNotFound, StoreDamaged, StoreUnavailable
from mailcore.message.headers import header_size
from mailcore.message.mime_tree import scan
from mailcore.message.text import searchable_text
from mailcore.model.content import SearchableText, StoredItems
from mailcore.model.ids import TenantId, UserId
from mailcore.model.limits import Limits
from mailcore.model.octets import Octets
from mailcore.services.content.prepared import (
    SEARCH_TEXT_BYTES,
    PreparedBlob,
    PreparedMessage,
    message_id_hash,
    prepare_message,
    stored_digest,
)
from mailcore.services.content.stored_content import Content, groups_to_read_ahead
from mailcore.services.mailboxes.item_cache import ItemCache, RecentlyRead, size_of_document
from mailcore.services.process.offload import Offload
from mailcore.store.direct import Ahead
from mailcore.store.keys import message_key
from mailcore.store.message.blob_reader import BlobReader
from mailcore.store.message.blob_refs import OwnerKind, RefOwner
from mailcore.store.message.blobs import blob_address
from mailcore.store.message.chunks import new_generation
from mailcore.store.message.messages import ITEM_FIELDS
from mailcore.store.message.skeleton import SkeletonCodec, Splice, pack_splices, unpack_splices
from mailcore.store.message.upload import BlobContent, BlobUploads, Need
from mailcore.store.placement import Home, Placement
from mailcore.store.shard import ShardStores

__all__ = ["Content", "ContentStore", "Copy", "NewRowContent"]

ITEMS_PER_READ = 500
BODIES_PER_READ = 50
OFFLOAD_BYTES = 512 * 1024
"""Preparing a message from this size on takes over 5 ms now and then, and goes to the thread pool."""
ADDRESS_OFFLOAD_BYTES = 4 << 20
"""Content of this size takes over 3 ms to hash."""
OPENED_BYTES = 8 << 20
"""Of messages that were opened lately, without what they have stored apart; a larger one is not kept."""
BODY_FIELDS = {"format": 1, "prefix": 1, "skeleton": 1, "splices": 1, "parts": 1, "size": 1, "sha256": 1}
STRUCTURED_FIELDS = {**BODY_FIELDS, "body_structure": 1}
TEXT_FIELDS = {"format": 1, "prefix": 1, "skeleton": 1, "text": 1}


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


class ContentStore:
    """Stores and reads messages of every shard."""

    def __init__(self, placement: Placement, offload: Offload, limits: Limits) -> None:
        self._placement = placement
        self._offload = offload
        self._limits = limits
        self._codec = SkeletonCodec()
        self._items = ItemCache()
        self._opened: RecentlyRead[dict[str, Any]] = RecentlyRead(OPENED_BYTES, size_of_document)
        self._readers: dict[str, tuple[ShardStores, BlobReader]] = {}

    # -- writing ----------------------------------------------------------------------------

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

    # -- reading ----------------------------------------------------------------------------

    def items(self, user_id: UserId, message_oids: Sequence[bytes]) -> dict[bytes, StoredItems]:
        """Return ENVELOPE, BODYSTRUCTURE and usual headers; one round trip for each 500 not in memory.

        A message that is not there is left out.
        """
        home = self._placement.home(user_id)
        found = self._items.get_many(user_id, message_oids)
        unread = [oid for oid in message_oids if oid not in found]
        for start in range(0, len(unread), ITEMS_PER_READ):
            documents = home.shard.messages.find(user_id, unread[start : start + ITEMS_PER_READ], ITEM_FIELDS)
            for oid, document in documents.items():
                found[oid] = items = StoredItems(
                    document["envelope"],
                    document["body_structure"],
                    document.get("light_headers"),
                    document["size"],
                    document.get("preview", ""),
                )
                self._items.put(user_id, oid, items)
        return found

    def open(self, user_id: UserId, message_oid: bytes, *, structured: bool = False) -> Content:
        """Return a message to read from; one round trip, and others only for what is read of its blobs.

        `structured` has its BODYSTRUCTURE read along; who opens so opens again, so that it is kept for a while: the
        caller knows that the message is in a mailbox.

        Raises:
            MessageNotFound: the user has no such message.
        """
        home = self._placement.home(user_id)
        opened = self._opened.get(user_id, message_oid) if structured else None
        if opened is not None:
            return self._content(home, opened)
        fields = STRUCTURED_FIELDS if structured else BODY_FIELDS
        document = home.shard.messages.find(user_id, [message_oid], fields).get(message_oid)
        if document is None:
            raise MessageNotFound(user_id, message_oid.hex())
        if structured and size_of_document(document) <= OPENED_BYTES // 64:
            self._opened.put(user_id, message_oid, document)
        return self._content(home, document)

    def open_many(self, user_id: UserId, message_oids: Iterable[bytes], *, whole: bool = False) -> Iterator[Content]:
        """Yield messages in the order asked for, one round trip for each 50; what is not there is left out.

        With `whole` what they have stored apart is read ahead, 2 MiB at a time.
        """
        home = self._placement.home(user_id)
        wanted = list(message_oids)
        for start in range(0, len(wanted), BODIES_PER_READ):
            batch = wanted[start : start + BODIES_PER_READ]
            documents = home.shard.messages.find(user_id, batch, BODY_FIELDS)
            contents = [self._content(home, documents[oid]) for oid in batch if oid in documents]
            if not whole:
                yield from contents
                continue
            for group in groups_to_read_ahead(contents):
                if len(group) > 1:
                    self.read_ahead(user_id, group)
                while group:  # what is sent is let go of
                    yield group.pop(0)

    def read_ahead(self, user_id: UserId, contents: Sequence[Content]) -> None:
        """Let messages hold what they have stored apart: the round trips of one message, for all of them.

        The caller bounds how much that is. What cannot be read now is left for `Content.read` to say.
        """
        wanted = {span.address: span for content in contents for span in content.stored_apart()}
        if not wanted:
            return
        home = self._placement.home(user_id)
        pieces: dict[bytes, list[bytes]] = {address: [] for address in wanted}
        addresses = list(wanted)
        try:
            for index, piece in self._reader(home.shard).read(home.tenant_id, list(wanted.values())):
                pieces[addresses[index]].append(piece)
        except MailError:
            return
        for content in contents:
            own = {span.address for span in content.stored_apart()}
            content.keep_blobs({address: b"".join(pieces[address]) for address in own})

    def texts(self, user_id: UserId, message_oids: Sequence[bytes]) -> dict[bytes, SearchableText]:
        """Return header and up to 64 KB of searchable text of each message, without touching the cold set."""
        home = self._placement.home(user_id)
        texts: dict[bytes, SearchableText] = {}
        for start in range(0, len(message_oids), BODIES_PER_READ):
            batch = message_oids[start : start + BODIES_PER_READ]
            for oid, document in home.shard.messages.find(user_id, batch, TEXT_FIELDS).items():
                texts[oid] = self._text(document)
            self._offload.pause()
        return texts

    def scrub(self, user_id: UserId, pause: bool = True) -> list[bytes]:
        """Read every message of a user whole and return the ids of those that are not what was accepted."""
        home = self._placement.home(user_id)
        damaged: list[bytes] = []
        batch: list[bytes] = []
        for oid, _ in home.shard.messages.stored_ids(user_id):
            batch.append(oid)
            if len(batch) == BODIES_PER_READ:
                damaged += self._scrub_batch(home, batch, pause=pause)
                batch = []
        return damaged + self._scrub_batch(home, batch, pause=pause)

    def _scrub_batch(self, home: Home, message_oids: Sequence[bytes], *, pause: bool) -> list[bytes]:
        damaged: list[bytes] = []
        for oid, document in home.shard.messages.find(home.user_id, message_oids, BODY_FIELDS).items():
            if not self._is_sound(home, document):
                damaged.append(oid)
            if pause:
                self._offload.pause()
        return damaged

    def _is_sound(self, home: Home, document: dict[str, Any]) -> bool:
        prefix: bytes = document.get("prefix", b"")
        sha256 = hashlib.sha256()
        size = len(prefix)
        try:
            for piece in self._content(home, document).read(len(prefix)):
                sha256.update(piece)
                size += len(piece)
        except StoreDamaged:
            return False
        return bool(size == document["size"] and stored_digest(prefix, sha256.digest()) == document["sha256"])

    def whole_text(self, user_id: UserId, message_oid: bytes) -> str:
        """Return all searchable text of one message.

        Raises:
            MessageNotFound: the user has no such message.
        """
        raw = b"".join(self.open(user_id, message_oid).read())
        return self._offload.run(lambda: searchable_text(raw, scan(raw, self._limits.scan), len(raw)))

    def _text(self, document: dict[str, Any]) -> SearchableText:
        skeleton = self._codec.restore(document["format"], document["skeleton"])
        stored: bytes | None = document.get("text")
        if stored is not None:
            text = self._codec.restore(stored[:3], stored[3:]).decode()
        else:
            text = searchable_text(skeleton, scan(skeleton, self._limits.scan), SEARCH_TEXT_BYTES)
        header: bytes = document.get("prefix", b"") + skeleton[: header_size(skeleton)]
        is_whole = len(text) < SEARCH_TEXT_BYTES // 4 or len(text.encode("utf-8", "replace")) < SEARCH_TEXT_BYTES - 4
        return SearchableText(header, text, is_whole)

    def _content(self, home: Home, document: dict[str, Any]) -> Content:
        return Content(document, home.tenant_id, self._codec, self._reader(home.shard))

    def _reader(self, shard: ShardStores) -> BlobReader:
        known, reader = self._readers.get(shard.name, (None, None))
        if reader is None or known is not shard:  # its databases may have moved
            reader = BlobReader(shard.blobs, shard.chunks)
            self._readers[shard.name] = shard, reader
        return reader
