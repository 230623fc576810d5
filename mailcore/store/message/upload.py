"""The delivery's side of the blob protocol: write references, then pin or bring the content.

Whoever writes second, delivery or collector, sees what the other wrote: a reference is acknowledged
by the majority before its blob is pinned, and a collector looks for references once more after its
mark is. No clock is part of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from bson import ObjectId

from mailcore import fault
from mailcore.errors import StoreFull, StoreUnavailable
from mailcore.model.octets import Sliced
from mailcore.store.message.blob_refs import BlobRefs, RefOwner
from mailcore.store.message.blobs import BlobHeader, Blobs
from mailcore.store.message.chunks import Chunks, Tier, Upload, new_generation

ROUNDS = 20
"""More lost races than that in one upload are a fault of the program."""


@dataclass(frozen=True, slots=True)
class BlobContent:
    """Bytes that somebody refers to.

    Attributes:
        stays_hot: text, which must be readable without the cold set.
        cold_after: how long it lies on the hot set first, by the tenant's plan.
    """

    address: bytes
    data: Sliced
    stays_hot: bool = False
    cold_after: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class Need:
    """An owner, and the content that it refers to."""

    owner: RefOwner
    contents: Sequence[BlobContent]


class BlobUploads:
    """Makes sure that content is there, and stays as long as its references do."""

    def __init__(self, blobs: Blobs, refs: BlobRefs, chunks: Chunks) -> None:
        self._blobs = blobs
        self._refs = refs
        self._chunks = chunks

    def secure(self, tenant_id: ObjectId, needs: Sequence[Need]) -> None:
        """Write the owners' references, then pin each blob or upload it; all acknowledged by the majority.

        At most four round trips if all are new or all known (six if some are), whatever their
        number, up to 1000 references and 4 MiB; more only for lost races.

        Raises:
            StoreUnavailable, StoreFull: of the hot set; the references left behind are swept.
        """
        missing = {content.address: content for need in needs for content in need.contents}
        if not missing:
            return
        self._refs.insert([need.owner.key(tenant_id, content.address) for need in needs for content in need.contents])
        fault.hit("delivery.after_refs")
        brought: dict[bytes, BlobHeader] = {}
        for _ in range(ROUNDS):
            self._drop_pinned(tenant_id, missing, brought)
            if not missing:
                return
            to_bring = [content for content in missing.values() if content.address not in brought]
            brought |= self._bring(tenant_id, to_bring)
            headers = [brought[address] for address in missing]
            lost = self._blobs.insert(headers)
            for header in headers:
                if header.address not in lost or self._replaced_marked(header):
                    del missing[header.address], brought[header.address]
            if not missing:
                return
        raise StoreUnavailable("blob headers keep changing")

    def _drop_pinned(
        self,
        tenant_id: ObjectId,
        missing: dict[bytes, BlobContent],
        brought: dict[bytes, BlobHeader],
    ) -> None:
        """Take out of `missing` what could be pinned, and drop own chunks of it that lost a race."""
        pinned = self._blobs.pin(tenant_id, list(missing))
        if pinned == 0:
            return
        found = list(missing)
        if pinned < len(found):
            found = self._blobs.unmarked(tenant_id, found)  # the count does not say which
        for address in found:
            del missing[address]
            own = brought.pop(address, None)
            if own is not None:
                self._discard(own)

    def _bring(self, tenant_id: ObjectId, contents: Sequence[BlobContent]) -> dict[bytes, BlobHeader]:
        """Store the chunks of contents under own generations; the cold set's silence sends them to the hot one."""
        stay = [content for content in contents if content.stays_hot or content.cold_after]
        leave = [content for content in contents if not (content.stays_hot or content.cold_after)]
        headers: dict[bytes, BlobHeader] = {}
        if stay:
            headers |= self._store(tenant_id, stay, Tier.HOT)
        if leave:
            try:
                headers |= self._store(tenant_id, leave, Tier.COLD)
            except (StoreUnavailable, StoreFull):
                headers |= self._store(tenant_id, leave, Tier.HOT)
        return headers

    def _store(self, tenant_id: ObjectId, contents: Sequence[BlobContent], tier: Tier) -> dict[bytes, BlobHeader]:
        uploads = [Upload(content.address, new_generation(), content.data) for content in contents]
        self._chunks.insert(tenant_id, uploads, tier)
        now = datetime.now(UTC)
        return {
            content.address: BlobHeader(
                tenant_id=tenant_id,
                address=content.address,
                size=len(content.data),
                generation=upload.generation,
                tier=tier,
                demote_at=now + content.cold_after if tier is Tier.HOT and not content.stays_hot else None,
            )
            for content, upload in zip(contents, uploads, strict=True)
        }

    def _replaced_marked(self, header: BlobHeader) -> bool:
        """Take the place of a header that a collector has marked; its chunks are nobody's then."""
        old = self._blobs.replace_marked(header)
        if old is None:
            return False
        if old.generation != header.generation:
            self._discard(replace(old, deleting=None))
        return True

    def _discard(self, header: BlobHeader) -> None:
        try:
            self._chunks.delete(header.tenant_id, header.address, header.generation, header.tier)
        except StoreUnavailable:
            pass  # swept by age
