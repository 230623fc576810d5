"""Promise P8, deliverers and collectors at once: what a reference protects is readable, nothing stays behind."""

from __future__ import annotations

import os
import random
import threading
import time
from dataclasses import dataclass, field

import pytest
from bson import ObjectId

from mailcore import fault
from mailcore.store.keys import message_key
from mailcore.store.message import collection
from mailcore.store.message.blob_refs import OwnerKind, RefOwner
from mailcore.store.message.blobs import blob_address
from mailcore.store.message.chunks import Tier, new_generation
from mailcore.store.message.demotion import Demoter, read_content
from mailcore.store.message.upload import BlobContent, Need
from tests.store.message.conftest import BlobStores, stores, tenant_id  # noqa: F401  fixtures

DELIVERERS = 4
COLLECTORS = 2
BLOBS = 12
SECONDS = float(os.environ.get("EIDER_FUZZ_SECONDS", "4"))


@dataclass
class Run:
    """What happened."""

    delivered: int = 0
    released: int = 0
    unreadable: int = 0
    unmarked: int = 0
    collected: int = 0
    moved: int = 0
    faults: list[BaseException] = field(default_factory=list)


class Fuzz:
    """Four blobs of one tenant that come and go."""

    def __init__(
        self,
        stores: BlobStores,  # noqa: F811
        tenant_id: ObjectId,  # noqa: F811
        seconds: float = SECONDS,
        *,
        until_unreadable: bool = False,
    ) -> None:
        self.stores = stores
        self.tenant_id = tenant_id
        datas = [os.urandom(100_000 + number) for number in range(BLOBS)]
        # One goes to the hot set first, so that the demoter takes part.
        self.contents = [
            BlobContent(blob_address(b"k" * 32, data), data, cold_after=collection_pause(number))
            for number, data in enumerate(datas)
        ]
        self.held: list[tuple[RefOwner, list[BlobContent]]] = []
        self.lock = threading.Lock()
        self.run_until = time.monotonic() + seconds
        self.give_up_at = time.monotonic() + 90
        self.until_unreadable = until_unreadable
        self.collectors: list[collection.BlobCollector] = []
        self.result = Run()

    def goes_on(self) -> bool:
        if (
            self.result.faults
            or time.monotonic() > self.give_up_at
            or (self.until_unreadable and self.result.unreadable)
        ):
            return False
        counts = [collector.counts for collector in self.collectors]
        enough = sum(count.blobs for count in counts) >= 10 and sum(count.unmarked for count in counts) >= 5
        return self.until_unreadable or time.monotonic() < self.run_until or not enough

    def deliver(self, seed: int) -> None:
        dice = random.Random(seed)
        while self.goes_on():
            contents = dice.sample(self.contents, dice.choice((1, 1, 2)))
            owner = RefOwner(OwnerKind.MESSAGE, message_key(ObjectId(), ObjectId().binary), new_generation())
            self.stores.uploads.secure(self.tenant_id, [Need(owner, contents)])
            self.result.delivered += 1
            self.check(contents)
            with self.lock:
                self.held.append((owner, contents))
            time.sleep(dice.random() * 0.06)  # leaves moments in which nobody needs a blob

    def collect(self, seed: int) -> None:
        dice = random.Random(seed)
        collector = self.stores.collector
        self.collectors.append(collector)
        while self.goes_on():
            with self.lock:
                # Nearly everything goes, so that last references do.
                gone = self.held[1 if dice.random() < 0.3 else 0 :]
                self.held = self.held[: len(self.held) - len(gone)]
            for owner, contents in gone:
                self.check(contents)
                self.stores.refs.delete([owner.key(self.tenant_id, content.address) for content in contents])
                self.result.released += 1
            collector.collect(self.tenant_id, [content.address for content in self.contents])
        self.result.unmarked += collector.counts.unmarked
        self.result.collected += collector.counts.blobs

    def demote(self) -> None:
        while self.goes_on():
            self.result.moved += Demoter(self.stores.blobs, self.stores.chunks).run(lambda: None)
            time.sleep(0.01)

    def check(self, contents: list[BlobContent]) -> None:
        """What this thread holds a reference to must be there; its place may change while it is read."""
        for content in contents:
            for _ in range(50):
                header = self.stores.blobs.find(self.tenant_id, [content.address]).get(content.address)
                if header is None:
                    break
                if read_content(self.stores.chunks, header) == content.data:
                    break
                after = self.stores.blobs.find(self.tenant_id, [content.address]).get(content.address)
                if after is not None and after.generation == header.generation:
                    header = None
                    break
            if header is None:
                self.result.unreadable += 1

    def run(self) -> Run:
        def guarded(work, *arguments: int) -> None:  # type: ignore[no-untyped-def]
            try:
                work(*arguments)
            except BaseException as error:
                self.result.faults.append(error)

        # Stretches the moments in which the other side may come between.
        dice = random.Random(7)
        points = {"gc.before_mark": 0.05, "gc.after_mark": 0.02, "tier.after_copy": 0.02}
        fault.install({name: lambda most=most: time.sleep(dice.random() * most) for name, most in points.items()})
        threads = [threading.Thread(target=guarded, args=(self.deliver, number)) for number in range(DELIVERERS)]
        threads += [threading.Thread(target=guarded, args=(self.collect, 100 + number)) for number in range(COLLECTORS)]
        threads.append(threading.Thread(target=guarded, args=(self.demote,)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        fault.install({})
        if self.result.faults:
            raise self.result.faults[0]
        return self.result


def collection_pause(number: int):  # type: ignore[no-untyped-def]
    from datetime import timedelta

    return timedelta(microseconds=1) if number == 0 else timedelta(0)


def test_no_blob_that_is_referred_to_is_ever_unreadable(stores: BlobStores, tenant_id: ObjectId) -> None:  # noqa: F811
    fuzz = Fuzz(stores, tenant_id)
    result = fuzz.run()
    assert result.unreadable == 0
    assert result.delivered > 20
    assert result.collected >= 10
    assert result.unmarked >= 5
    for owner, contents in fuzz.held:
        fuzz.check(contents)
        stores.refs.delete([owner.key(tenant_id, content.address) for content in contents])
    assert fuzz.result.unreadable == 0
    collector = stores.collector
    collector.sweep_references(lambda: None, older_than_s=-1)
    collector.sweep_headers(tenant_id, lambda: None)
    assert list(stores.blobs.of_tenant(tenant_id)) == []
    assert stores.chunks.size_bytes(tenant_id, Tier.COLD) == stores.chunks.size_bytes(tenant_id, Tier.HOT) == 0
    print(result)


def test_without_the_second_look_the_fuzz_turns_red(
    stores: BlobStores,  # noqa: F811
    tenant_id: ObjectId,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Negative control: the collector looks once, before its mark."""
    monkeypatch.setattr(collection, "second_look", lambda *_: False)
    assert Fuzz(stores, tenant_id, until_unreadable=True).run().unreadable > 0
