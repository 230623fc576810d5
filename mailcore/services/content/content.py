"""Content of messages: stored before a mailbox names it, read back byte for byte."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from mailcore.errors import MailError, MessageNotFound, StoreDamaged
from mailcore.message.headers import header_size
from mailcore.message.mime_tree import scan
from mailcore.message.text import searchable_text
from mailcore.model.content import SearchableText, StoredItems
from mailcore.model.ids import UserId
from mailcore.model.limits import Limits
from mailcore.services.content.prepared import SEARCH_TEXT_BYTES, stored_digest
from mailcore.services.content.stored_content import Content, groups_to_read_ahead
from mailcore.services.content.storing import Storing
from mailcore.services.mailboxes.item_cache import ItemCache, RecentlyRead, size_of_document
from mailcore.services.process.offload import Offload
from mailcore.store.message.blob_reader import BlobReader
from mailcore.store.message.messages import ITEM_FIELDS
from mailcore.store.placement import Home, Placement
from mailcore.store.shard import ShardStores

ITEMS_PER_READ = 500
BODIES_PER_READ = 50
OPENED_BYTES = 8 << 20
"""Of messages that were opened lately, without what they have stored apart; a larger one is not kept."""
BODY_FIELDS = {"format": 1, "prefix": 1, "skeleton": 1, "splices": 1, "parts": 1, "size": 1, "sha256": 1}
STRUCTURED_FIELDS = {**BODY_FIELDS, "body_structure": 1}
TEXT_FIELDS = {"format": 1, "prefix": 1, "skeleton": 1, "text": 1}


class ContentStore(Storing):
    """Stores and reads messages of every shard."""

    def __init__(self, placement: Placement, offload: Offload, limits: Limits) -> None:
        super().__init__(offload, limits)
        self._placement = placement
        self._items = ItemCache()
        self._opened: RecentlyRead[dict[str, Any]] = RecentlyRead(OPENED_BYTES, size_of_document)
        self._readers: dict[str, tuple[ShardStores, BlobReader]] = {}

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
