"""Items in memory: by user and message, bounded, what is asked for stays."""

from __future__ import annotations

from bson import ObjectId

from mailcore.model.content import StoredItems
from mailcore.model.ids import UserId
from mailcore.services.mailboxes.item_cache import ItemCache, RecentlyRead, size_of_document


def _oid(number: int) -> bytes:
    return number.to_bytes(12, "big")


def _items(number: int) -> StoredItems:
    return StoredItems(b"%d" % number, b"x" * 500, None, number, "")


def test_what_was_put_is_found_under_its_user_only() -> None:
    cache = ItemCache()
    user, other = UserId(ObjectId()), UserId(ObjectId())
    cache.put(user, _oid(1), _items(1))
    assert cache.get_many(user, [_oid(1), _oid(2)]) == {_oid(1): _items(1)}
    assert cache.get_many(other, [_oid(1)]) == {}


def test_no_more_than_the_limit_is_kept_and_what_is_asked_for_stays() -> None:
    cache = ItemCache(limit_bytes=100_000)
    user = UserId(ObjectId())
    for number in range(1000):
        cache.put(user, _oid(number), _items(number))
        cache.get_many(user, [_oid(0)])
    kept = cache.get_many(user, [_oid(number) for number in range(1000)])
    assert _oid(0) in kept
    assert _oid(999) in kept
    assert len(kept) <= 101


def test_other_things_of_messages_are_kept_alike() -> None:
    cache: RecentlyRead[dict[str, bytes]] = RecentlyRead(100_000, size_of_document)
    user = UserId(ObjectId())
    for number in range(1000):
        cache.put(user, _oid(number), {"skeleton": b"x" * 500})
        assert cache.get(user, _oid(0)) is not None
    assert cache.get(user, _oid(999)) == {"skeleton": b"x" * 500}
    assert cache.get(UserId(ObjectId()), _oid(999)) is None
    assert sum(cache.get(user, _oid(number)) is not None for number in range(1000)) <= 101
