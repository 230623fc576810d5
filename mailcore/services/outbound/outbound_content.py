"""Content of queued messages: the engine's form, attachments shared with the copy in the sender's mailbox."""

from __future__ import annotations

import hashlib
from typing import Any

from mailcore.errors import MailError
from mailcore.message.mime_tree import scan
from mailcore.message.split import decode
from mailcore.model.ids import TenantId
from mailcore.model.limits import Limits
from mailcore.services.content.stored_content import Content
from mailcore.services.process.offload import Offload
from mailcore.store.message.blob_reader import BlobReader
from mailcore.store.message.blob_refs import OwnerKind, RefOwner
from mailcore.store.message.blobs import blob_address
from mailcore.store.message.chunks import new_generation
from mailcore.store.message.skeleton import SkeletonCodec, Splice, pack_splices, plan_cuts, remainder, unpack_splices
from mailcore.store.message.upload import BlobContent, BlobUploads, Need
from mailcore.store.placement import Home
from mailcore.store.shard import ShardStores

OFFLOAD_BYTES = 512 * 1024

Fields = dict[str, Any]


class OutboundContent:
    """Packs messages for the queue, opens them, and lets go of their attachments."""

    def __init__(self, offload: Offload, limits: Limits) -> None:
        self._offload = offload
        self._limits = limits
        self._codec = SkeletonCodec()
        self._readers: dict[str, tuple[ShardStores, BlobReader]] = {}

    def pack(self, home: Home, key: bytes, raw: bytes) -> Fields:
        """Return what an entry stores of its message; attachments are secured (majority) before.

        No round trip without attachments; else two if all are known, four if all are new.

        Raises:
            StoreUnavailable, StoreFull: references left behind are swept.
        """

        def work() -> tuple[Fields, list[tuple[Any, BlobContent]]]:
            tree = scan(raw, self._limits.scan)
            planned = plan_cuts(tree, raw, 0)
            mark, skeleton = self._codec.compress(remainder(raw, [plan.cut for plan in planned]))
            blobs = []
            for plan in planned:
                data = decode(raw[plan.cut.start : plan.cut.end], plan.cut)
                address = blob_address(home.tenant_key, data)
                blobs.append((plan.cut, BlobContent(address, data, plan.stays_hot, home.cold_after)))
            digest = hashlib.sha256(raw).digest()
            fields: Fields = {"format": mark, "skeleton": skeleton, "size": len(raw), "sha256": digest}
            fields |= {"has_8bit": not raw.isascii(), "has_utf8_header": not raw[: tree.root.body_start].isascii()}
            return fields, blobs

        fields, blobs = self._offload.run(work) if len(raw) >= OFFLOAD_BYTES else work()
        if blobs:
            attempt = new_generation()
            need = Need(RefOwner(OwnerKind.OUTBOUND, key, attempt), [content for _, content in blobs])
            BlobUploads(home.shard.blobs, home.shard.blob_refs, home.shard.chunks).secure(home.tenant_id, [need])
            splices = [Splice(cut, len(content.data), content.address) for cut, content in blobs]
            fields |= {"attempt": attempt, "splices": pack_splices(splices)}
        return fields

    def open(self, shard: ShardStores, tenant_id: TenantId, document: Fields) -> Content:
        """Return the message of an entry that was read with its content."""
        known, reader = self._readers.get(shard.name, (None, None))
        if reader is None or known is not shard:
            reader = BlobReader(shard.blobs, shard.chunks)
            self._readers[shard.name] = shard, reader
        return Content(document, tenant_id, self._codec, reader)

    def let_go(self, shard: ShardStores, tenant_id: TenantId, key: bytes, fields: Fields) -> None:
        """Drop the references of content that no entry holds any more; what fails is swept by age."""
        if "splices" not in fields:
            return
        owner = RefOwner(OwnerKind.OUTBOUND, key, fields["attempt"])
        addresses = {splice.address for splice in unpack_splices(fields["splices"])}
        try:
            shard.blob_refs.delete([owner.key(tenant_id, address) for address in addresses])
            collector = shard.collector()
            collector.collect(tenant_id, addresses)
        except MailError:
            pass
