"""Storage files: data that a user brings first and sends later, as attachments of any number of messages."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Final

from bson import ObjectId

from mailcore.errors import FileNotFound, MailError, TooManyFiles
from mailcore.model.actor import Actor
from mailcore.model.event import Details
from mailcore.model.file import StoredFile
from mailcore.model.ids import UserId
from mailcore.model.limits import Limits
from mailcore.model.octets import Octets, pieces
from mailcore.services.events.audit import Audit
from mailcore.services.process.clock import now
from mailcore.services.process.offload import Offload
from mailcore.store.message.blob_reader import BlobReader, Span
from mailcore.store.message.blob_refs import OwnerKind, RefOwner
from mailcore.store.message.blobs import blob_address
from mailcore.store.message.chunks import new_generation
from mailcore.store.message.upload import BlobContent, BlobUploads, Need
from mailcore.store.placement import Home, Placement
from mailcore.store.user.files import file_key

OFFLOAD_BYTES: Final = 512 * 1024


class Files:
    """Keeps a user's files until they are deleted; equal content is stored once for a tenant."""

    def __init__(self, placement: Placement, audit: Audit, offload: Offload, limits: Limits) -> None:
        self._placement = placement
        self._audit = audit
        self._offload = offload
        self._limits = limits

    def add(
        self, actor: Actor, user_id: UserId, content: Octets, filename: str, content_type: str, content_id: str = ""
    ) -> ObjectId:
        """Keep a file, and return its id; about eight round trips, and one for each 4 MiB.

        The content is secured before the document names it; what is cut off in between is swept.

        Raises:
            TooManyFiles: so many files, or bytes, may not be kept.
            StoreUnavailable, StoreFull: nothing is kept.
        """
        home = self._placement.home(user_id)
        home.shard.room.check()
        count, size = home.shard.files.use(user_id)
        if count >= self._limits.files:
            raise TooManyFiles(f"at most {self._limits.files} files are kept")
        if size + len(content) > self._limits.files_bytes:
            raise TooManyFiles(f"files take at most {self._limits.files_bytes} bytes together")
        wanted: Details = {"filename": filename, "size_bytes": len(content)}
        with self._audit.of_user(actor, "file.added", user_id, wanted):
            md5, address = self._hashed(home, content)
            file = StoredFile(
                ObjectId(), filename, content_type, content_id, len(content), md5, now(), address, new_generation()
            )
            owner = RefOwner(OwnerKind.FILE, file_key(user_id, file.id), file.attempt)
            need = Need(owner, [BlobContent(address, content, cold_after=home.cold_after)])
            BlobUploads(home.shard.blobs, home.shard.blob_refs, home.shard.chunks).secure(home.tenant_id, [need])
            home.shard.files.insert(user_id, file)
        return file.id

    def list_of_user(self, user_id: UserId, wanted: str = "") -> list[StoredFile]:
        """Return a user's files, oldest first: all, or those with this in their name; one round trip."""
        found = self._placement.home(user_id).shard.files.list_of_user(user_id, self._limits.files)
        return [file for file in found if wanted.casefold() in file.filename.casefold()]

    def get(self, user_id: UserId, file_id: ObjectId) -> StoredFile:
        """Return one file.

        Raises:
            FileNotFound: the user has none of this id.
        """
        return self.get_many(user_id, [file_id])[0]

    def get_many(self, user_id: UserId, file_ids: Sequence[ObjectId]) -> list[StoredFile]:
        """Return files in the order asked for; one round trip.

        Raises:
            FileNotFound: the user has not all of them.
        """
        found = self._placement.home(user_id).shard.files.find(user_id, file_ids)
        for file_id in file_ids:
            if file_id not in found:
                raise FileNotFound(file_id)
        return [found[file_id] for file_id in file_ids]

    def read(self, user_id: UserId, file: StoredFile) -> Iterator[bytes]:
        """Yield the content in pieces.

        Raises:
            StoreUnavailable: it cannot be read now.
            StoreDamaged: it is not there.
        """
        home = self._placement.home(user_id)
        reader = BlobReader(home.shard.blobs, home.shard.chunks)
        for _, piece in reader.read(home.tenant_id, [Span(file.address, 0, file.size_bytes)]):
            yield piece

    def delete(self, actor: Actor, user_id: UserId, file_id: ObjectId) -> None:
        """Remove a file; messages that it was sent with keep it.

        Raises:
            FileNotFound: the user has none of this id.
        """
        home = self._placement.home(user_id)
        with self._audit.of_user(actor, "file.deleted", user_id, {"file": str(file_id)}):
            file = home.shard.files.delete(user_id, file_id)
            if file is None:
                raise FileNotFound(file_id)
        owner = RefOwner(OwnerKind.FILE, file_key(user_id, file.id), file.attempt)
        try:
            home.shard.blob_refs.delete([owner.key(home.tenant_id, file.address)])
            home.shard.collector().collect(home.tenant_id, [file.address])
        except MailError:
            pass  # swept by age

    def _hashed(self, home: Home, content: Octets) -> tuple[str, bytes]:
        def work() -> tuple[str, bytes]:
            md5 = hashlib.md5(usedforsecurity=False)
            for piece in pieces(content):
                md5.update(piece)
            return md5.hexdigest(), blob_address(home.tenant_key, content)

        return self._offload.run(work) if len(content) >= OFFLOAD_BYTES else work()
