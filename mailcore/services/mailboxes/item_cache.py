"""What of messages was read lately, in memory: a message never changes, so what is kept stays true."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, TypeVar

from mailcore.model.content import StoredItems
from mailcore.model.ids import UserId
from mailcore.store.keys import message_key

DEFAULT_LIMIT_BYTES: Final = 64 << 20
_OVERHEAD_BYTES: Final = 500
Kept = TypeVar("Kept")


class RecentlyRead(Generic[Kept]):
    """Something of each message by user and message, so many bytes; what was not asked for lately goes first."""

    def __init__(self, limit_bytes: int, size_of: Callable[[Kept], int]) -> None:
        self._generation_bytes = limit_bytes // 2
        self._size_of = size_of
        self._recent: dict[bytes, Kept] = {}
        self._older: dict[bytes, Kept] = {}
        self._recent_bytes = 0

    def get(self, user_id: UserId, message_oid: bytes) -> Kept | None:
        """Return what is here of a message."""
        key = message_key(user_id, message_oid)
        found = self._recent.get(key)
        if found is None:
            found = self._older.get(key)
            if found is not None:
                self._put(key, found)
        return found

    def put(self, user_id: UserId, message_oid: bytes, kept: Kept) -> None:
        """Keep something of a message."""
        self._put(message_key(user_id, message_oid), kept)

    def _put(self, key: bytes, kept: Kept) -> None:
        self._recent[key] = kept
        self._recent_bytes += self._size_of(kept) + _OVERHEAD_BYTES
        if self._recent_bytes > self._generation_bytes:
            self._older, self._recent, self._recent_bytes = self._recent, {}, 0


class ItemCache(RecentlyRead[StoredItems]):
    """ENVELOPE, BODYSTRUCTURE and usual headers."""

    def __init__(self, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> None:
        super().__init__(limit_bytes, _size_of_items)

    def get_many(self, user_id: UserId, message_oids: Sequence[bytes]) -> dict[bytes, StoredItems]:
        """Return the items that are here, by message id."""
        found: dict[bytes, StoredItems] = {}
        for oid in message_oids:
            key = message_key(user_id, oid)
            items = self._recent.get(key)
            if items is None:
                items = self._older.get(key)
                if items is None:
                    continue
                self._put(key, items)
            found[oid] = items
        return found


def _size_of_items(items: StoredItems) -> int:
    return len(items.envelope) + len(items.body_structure) + len(items.light_headers or b"") + len(items.preview)


def size_of_document(document: dict[str, Any]) -> int:
    """Return about how many bytes a stored message takes."""
    return sum(len(value) for value in document.values() if isinstance(value, bytes))
