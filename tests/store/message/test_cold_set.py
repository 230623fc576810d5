"""The cold set away: mail is taken in and text is read; what waited on the hot set goes over when it is back."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from infra.devstack.stack import Stack
from mailcore.errors import StoreUnavailable
from mailcore.model.section import Section
from mailcore.services import MailServices
from mailcore.store.message.chunks import Chunks, Tier
from tests.builders import MadeUser, make_services, make_user
from tests.store.message.test_content import attachment


@pytest.fixture
def own(new_stack: Callable[..., Stack]) -> Stack:
    return new_stack(databases=("main", "a-cold"))


@pytest.fixture
def services(own: Stack) -> Iterator[MailServices]:
    connected = make_services(own.directory_uri, {"a": own.shards["a"]})
    connected.placement.shard("a").ensure_indexes()
    yield connected
    connected.close()


@pytest.fixture
def user(services: MailServices) -> MadeUser:
    return make_user(services, shard="a")


def count_cold_calls(chunks: Chunks, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the calls that reach the driver for the cold set."""
    calls: list[str] = []
    cold = chunks._sets[Tier.COLD]

    class Counting:
        def __getattr__(self, name: str) -> object:
            calls.append(name)
            return getattr(cold, name)

    monkeypatch.setitem(chunks._sets, Tier.COLD, Counting())
    return calls


@pytest.mark.parametrize("how", ["killed", "silent"])
def test_delivery_and_text_go_on_and_the_demoter_moves_the_rest_later(
    own: Stack, services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    home = services.placement.home(user.user_id)
    chunks = home.shard.chunks
    old_raw = attachment(os.urandom(300_000), 76, b"\r\n", b"")
    old = services.content.put(home, services.content.prepare(old_raw)).message_oid
    assert chunks.size_bytes(user.tenant_id, Tier.COLD) == 300_000
    if how == "killed":
        own.kill("a-cold")
    else:
        own.pause("a-cold")
    calls = count_cold_calls(chunks, monkeypatch)
    raws = [attachment(os.urandom(200_000), 76, b"\r\n", b"") for _ in range(5)]
    oids = [services.content.put(home, services.content.prepare(raw)).message_oid for raw in raws]
    assert len(calls) == 1, "one wait for the silent set, not one for each delivery"
    assert chunks.size_bytes(user.tenant_id, Tier.HOT) == 1_000_000
    for oid, raw in zip(oids, raws, strict=True):
        assert b"".join(services.content.open(user.user_id, oid).read()) == raw
    content = services.content.open(user.user_id, old)
    text = content.parts.locate(Section((1,)))
    assert text is not None
    assert b"".join(content.read(*text)) == b"hello"
    with pytest.raises(StoreUnavailable):
        list(content.read())
    assert len(calls) == 1
    assert services.retention.demote("a") == 0

    if how == "killed":
        own.restart("a-cold")
    else:
        own.resume("a-cold")
    chunks.cold_breaker.worked()  # as after its pause
    while services.retention.demote("a"):
        pass
    assert chunks.size_bytes(user.tenant_id, Tier.HOT) == 0
    services.retention.sweep_blobs("a", older_than_s=-1)  # what reached the silent set after we gave up
    assert chunks.size_bytes(user.tenant_id, Tier.COLD) == 1_300_000
    for oid, raw in [*zip(oids, raws, strict=True), (old, old_raw)]:
        assert b"".join(services.content.open(user.user_id, oid).read()) == raw
    assert services.content.scrub(user.user_id) == []
