"""Promise P8: content is stored once per tenant, stays while somebody refers to it, goes with the last reference."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta

import pytest
from bson import ObjectId

from mailcore import fault
from mailcore.message.split import CHUNK_BYTES
from mailcore.store.keys import message_key
from mailcore.store.message import collection
from mailcore.store.message.blob_refs import OwnerKind, RefOwner
from mailcore.store.message.blobs import blob_address
from mailcore.store.message.chunks import Tier, Upload, new_generation
from mailcore.store.message.demotion import Demoter, read_content
from mailcore.store.message.upload import BlobContent, Need
from tests.store.message.conftest import BlobStores

KEY = b"k" * 32


def owner() -> RefOwner:
    return RefOwner(OwnerKind.MESSAGE, message_key(ObjectId(), ObjectId().binary), new_generation())


def content(data: bytes, **options: object) -> BlobContent:
    return BlobContent(blob_address(KEY, data), data, **options)  # type: ignore[arg-type]


def needs(owners: list[RefOwner], blobs: list[BlobContent]) -> list[Need]:
    return [Need(one, blobs) for one in owners]


def nobody_waits() -> None:
    pass


@pytest.fixture(autouse=True)
def disarm() -> object:
    yield
    fault.install({})


def read(stores: BlobStores, tenant_id: ObjectId, address: bytes) -> bytes | None:
    header = stores.blobs.find(tenant_id, [address]).get(address)
    return None if header is None else read_content(stores.chunks, header)


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 5 * CHUNK_BYTES + 17])
def test_content_of_any_size_comes_back(stores: BlobStores, tenant_id: ObjectId, size: int) -> None:
    blob = content(os.urandom(size))
    stores.uploads.secure(tenant_id, needs([owner()], [blob]))
    assert read(stores, tenant_id, blob.address) == blob.data
    assert stores.chunks.size_bytes(tenant_id, Tier.COLD) == size
    assert stores.chunks.size_bytes(tenant_id, Tier.HOT) == 0


def test_fifty_owners_share_one_upload_and_two_tenants_do_not(stores: BlobStores, tenant_id: ObjectId) -> None:
    blob = content(os.urandom(100_000))
    stores.uploads.secure(tenant_id, needs([owner() for _ in range(25)], [blob]))
    for _ in range(25):
        stores.uploads.secure(tenant_id, needs([owner()], [blob]))
    assert stores.chunks.size_bytes(tenant_id, Tier.COLD) == 100_000
    assert len(list(stores.refs.of_tenant(tenant_id))) == 50
    other = ObjectId()
    stores.uploads.secure(other, needs([owner()], [BlobContent(blob_address(b"o" * 32, blob.data), blob.data)]))
    assert stores.chunks.size_bytes(other, Tier.COLD) == 100_000


def test_known_and_new_content_in_one_upload(stores: BlobStores, tenant_id: ObjectId) -> None:
    known, new = content(b"known" * 9999), content(b"new" * 9999)
    stores.uploads.secure(tenant_id, needs([owner()], [known]))
    stores.uploads.secure(tenant_id, needs([owner()], [known, new, known]))
    assert read(stores, tenant_id, known.address) == known.data
    assert read(stores, tenant_id, new.address) == new.data
    assert stores.chunks.size_bytes(tenant_id, Tier.COLD) == len(known.data) + len(new.data)


def test_collected_with_the_last_reference_and_not_before(stores: BlobStores, tenant_id: ObjectId) -> None:
    blob, first, second = content(os.urandom(3 * CHUNK_BYTES)), owner(), owner()
    stores.uploads.secure(tenant_id, needs([first, second], [blob]))
    stores.refs.delete([first.key(tenant_id, blob.address)])
    stores.collector.collect(tenant_id, [blob.address])
    assert read(stores, tenant_id, blob.address) == blob.data
    stores.refs.delete([second.key(tenant_id, blob.address)])
    stores.collector.collect(tenant_id, [blob.address])
    assert read(stores, tenant_id, blob.address) is None
    assert stores.chunks.size_bytes(tenant_id, Tier.COLD) == 0


def test_delivery_between_mark_and_second_look_keeps_the_content(stores: BlobStores, tenant_id: ObjectId) -> None:
    """The one race that matters; without the second look the content is lost (see the next test)."""
    blob = _race(stores, tenant_id)
    assert read(stores, tenant_id, blob.address) == blob.data


def test_without_the_second_look_a_pinned_blob_is_lost(
    stores: BlobStores, tenant_id: ObjectId, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: the reference came between the first look and the mark."""
    monkeypatch.setattr(collection, "second_look", lambda *_: False)
    blob = content(b"x" * 50_000)
    stores.uploads.secure(tenant_id, needs([owner()], [blob]))
    collector = stores.collector
    stores.refs.delete([ref.owner.key(tenant_id, ref.address) for ref in stores.refs.of_tenant(tenant_id)])
    mark = stores.blobs.mark
    monkeypatch.setattr(
        stores.blobs, "mark", lambda *a: (stores.uploads.secure(tenant_id, needs([owner()], [blob])), mark(*a))[1]
    )
    collector.collect(tenant_id, [blob.address])
    assert read(stores, tenant_id, blob.address) is None


def _race(stores: BlobStores, tenant_id: ObjectId) -> BlobContent:
    blob, first = content(b"x" * 50_000), owner()
    stores.uploads.secure(tenant_id, needs([first], [blob]))
    stores.refs.delete([first.key(tenant_id, blob.address)])
    fault.install({"gc.after_mark": lambda: stores.uploads.secure(tenant_id, needs([owner()], [blob]))})
    stores.collector.collect(tenant_id, [blob.address])
    fault.install({})
    assert stores.chunks.size_bytes(tenant_id, Tier.COLD) == len(blob.data)
    return blob


def test_mark_of_a_crashed_collector_is_replaced_by_a_delivery(stores: BlobStores, tenant_id: ObjectId) -> None:
    blob = content(b"y" * 50_000)
    _crash_after_mark(stores, tenant_id, blob)
    stores.uploads.secure(tenant_id, needs([owner()], [blob]))
    assert read(stores, tenant_id, blob.address) == blob.data
    assert stores.chunks.size_bytes(tenant_id, Tier.COLD) == len(blob.data)
    stores.collector.sweep_headers(tenant_id, nobody_waits)
    assert read(stores, tenant_id, blob.address) == blob.data


def test_mark_of_a_crashed_collector_is_finished_by_the_sweep(stores: BlobStores, tenant_id: ObjectId) -> None:
    blob = content(b"z" * 50_000)
    _crash_after_mark(stores, tenant_id, blob)
    stores.collector.sweep_headers(tenant_id, nobody_waits)
    assert stores.blobs.find(tenant_id, [blob.address]) == {}
    assert stores.chunks.size_bytes(tenant_id, Tier.COLD) == 0


class Crash(Exception):
    pass


def crash() -> None:
    raise Crash


def _crash_after_mark(stores: BlobStores, tenant_id: ObjectId, blob: BlobContent) -> None:
    first = owner()
    stores.uploads.secure(tenant_id, needs([first], [blob]))
    stores.refs.delete([first.key(tenant_id, blob.address)])
    fault.install({"gc.after_mark": crash})
    with pytest.raises(Crash):
        stores.collector.collect(tenant_id, [blob.address])
    fault.install({})


def test_sweep_of_references_without_message_minds_their_age(stores: BlobStores, tenant_id: ObjectId) -> None:
    blob = content(b"a" * 50_000)
    young = owner()
    old = RefOwner(OwnerKind.MESSAGE, young.owner, new_generation(time.time() - 90_000))
    kept = RefOwner(OwnerKind.MESSAGE, message_key(ObjectId(), ObjectId().binary), new_generation(1))
    for one in (young, old, kept):
        stores.uploads.secure(tenant_id, needs([one], [blob]))
    stores.messages.insert(
        [{"_id": kept.owner, "attempt": kept.attempt, "skeleton": b"", "stored_at": datetime.now(UTC)}]
    )
    stores.collector.sweep_references(nobody_waits)
    assert {ref.owner for ref in stores.refs.of_tenant(tenant_id)} == {young, kept}
    stores.collector.sweep_references(nobody_waits, older_than_s=-1)
    assert {ref.owner for ref in stores.refs.of_tenant(tenant_id)} == {kept}
    assert read(stores, tenant_id, blob.address) == blob.data
    stores.messages.delete(ObjectId(kept.owner[:12]), [kept.owner[12:]], datetime.now(UTC) + timedelta(1))
    stores.collector.sweep_references(nobody_waits)
    assert stores.chunks.size_bytes(tenant_id, Tier.COLD) == 0


def test_sweep_of_chunks_without_header_minds_their_age(stores: BlobStores, tenant_id: ObjectId) -> None:
    used = content(b"u" * 50_000)
    stores.uploads.secure(tenant_id, needs([owner()], [used]))
    for age in (0, 90_000):
        orphan = Upload(os.urandom(32), new_generation(time.time() - age), b"o" * 1000)
        stores.chunks.insert(tenant_id, [orphan], Tier.COLD)
    lost_race = Upload(used.address, new_generation(5), b"l" * 1000)
    stores.chunks.insert(tenant_id, [lost_race], Tier.COLD)
    stores.collector.sweep_chunks(Tier.COLD, nobody_waits)
    assert stores.chunks.size_bytes(tenant_id, Tier.COLD) == 51_000
    stores.collector.sweep_chunks(Tier.COLD, nobody_waits, older_than_s=-1)
    assert stores.chunks.size_bytes(tenant_id, Tier.COLD) == 50_000
    assert read(stores, tenant_id, used.address) == used.data


def test_demotion_moves_what_is_due_and_leaves_text(stores: BlobStores, tenant_id: ObjectId) -> None:
    text = content(b"text" * 90_000, stays_hot=True)
    later = content(b"later" * 90_000, cold_after=timedelta(days=30))
    due = content(os.urandom(2 * CHUNK_BYTES), cold_after=timedelta(microseconds=1))
    stores.uploads.secure(tenant_id, needs([owner()], [text, later, due]))
    assert stores.chunks.size_bytes(tenant_id, Tier.COLD) == 0
    assert Demoter(stores.blobs, stores.chunks).run(nobody_waits) == 1
    assert stores.chunks.size_bytes(tenant_id, Tier.COLD) == len(due.data)
    assert stores.chunks.size_bytes(tenant_id, Tier.HOT) == len(text.data) + len(later.data)
    for blob in (text, later, due):
        assert read(stores, tenant_id, blob.address) == blob.data
    assert Demoter(stores.blobs, stores.chunks).run(nobody_waits) == 0


@pytest.mark.parametrize("point", ["tier.after_copy", "tier.after_switch"])
def test_crash_of_the_demoter_loses_nothing_and_the_sweep_cleans_up(
    stores: BlobStores, tenant_id: ObjectId, point: str
) -> None:
    blob = content(os.urandom(CHUNK_BYTES + 5), cold_after=timedelta(microseconds=1))
    stores.uploads.secure(tenant_id, needs([owner()], [blob]))
    fault.install({point: crash})
    with pytest.raises(Crash):
        Demoter(stores.blobs, stores.chunks).run(nobody_waits)
    fault.install({})
    assert read(stores, tenant_id, blob.address) == blob.data
    Demoter(stores.blobs, stores.chunks).run(nobody_waits)
    for tier in Tier:
        stores.collector.sweep_chunks(tier, nobody_waits, older_than_s=-1)
    assert read(stores, tenant_id, blob.address) == blob.data
    assert stores.chunks.size_bytes(tenant_id, Tier.HOT) == 0
    assert stores.chunks.size_bytes(tenant_id, Tier.COLD) == len(blob.data)


def test_demoter_and_collector_at_once_leave_nothing_behind(stores: BlobStores, tenant_id: ObjectId) -> None:
    """The collector marks while the demoter has copied: the switch fails and the copy goes."""
    blob, first = content(os.urandom(5000), cold_after=timedelta(microseconds=1)), owner()
    stores.uploads.secure(tenant_id, needs([first], [blob]))
    stores.refs.delete([first.key(tenant_id, blob.address)])
    fault.install({"tier.after_copy": lambda: stores.collector.collect(tenant_id, [blob.address])})
    assert Demoter(stores.blobs, stores.chunks).run(nobody_waits) == 0
    assert stores.chunks.size_bytes(tenant_id, Tier.HOT) == stores.chunks.size_bytes(tenant_id, Tier.COLD) == 0
