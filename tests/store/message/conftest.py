"""Repositories on real databases, empty for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from bson import ObjectId

from infra.devstack.endpoints import Endpoints
from mailcore.store.client import Clients
from mailcore.store.indexes import ensure_indexes
from mailcore.store.message.blob_refs import BlobRefs
from mailcore.store.message.blobs import Blobs
from mailcore.store.message.chunks import Chunks
from mailcore.store.message.collection import BlobCollector
from mailcore.store.message.messages import Messages
from mailcore.store.message.upload import BlobUploads
from mailcore.store.user.files import Files
from mailcore.store.user.outbound import OutboundEntries

COLLECTIONS = ("messages", "blobs", "blob_refs", "chunks")


@dataclass
class BlobStores:
    """The repositories of one shard that hold content."""

    messages: Messages
    blobs: Blobs
    refs: BlobRefs
    chunks: Chunks
    outbound: OutboundEntries
    files: Files

    @property
    def uploads(self) -> BlobUploads:
        return BlobUploads(self.blobs, self.refs, self.chunks)

    @property
    def collector(self) -> BlobCollector:
        return BlobCollector(self.blobs, self.refs, self.chunks, self.messages, self.outbound, self.files)


@pytest.fixture
def stores(stack: Endpoints, fresh_uri: Callable[[str, str], str]) -> Iterator[BlobStores]:
    clients = Clients({})
    uris = stack.mongo.shards["a"]
    hot, cold = clients.database(fresh_uri(uris.hot, "blobs_hot")), clients.database(fresh_uri(uris.cold, "blobs_cold"))
    ensure_indexes(hot, cold)
    for name in COLLECTIONS:
        hot[name].delete_many({})
    cold["chunks"].delete_many({})
    yield BlobStores(Messages(hot), Blobs(hot), BlobRefs(hot), Chunks(hot, cold), OutboundEntries(hot), Files(hot))
    clients.close()


@pytest.fixture
def tenant_id() -> ObjectId:
    return ObjectId()
