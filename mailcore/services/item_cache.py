"""Items of messages that were read lately, in memory: a message never changes, so what is kept stays true."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mailcore.model.content import StoredItems
from mailcore.model.ids import UserId
from mailcore.store.keys import message_key

DEFAULT_LIMIT_BYTES: Final = 64 << 20
_OVERHEAD_BYTES: Final = 500


class ItemCache:
    """Items by user and message, at most `limit_bytes`; what was not asked for lately goes first."""

    def __init__(self, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> None:
        self._generation_bytes = limit_bytes // 2
        self._recent: dict[bytes, StoredItems] = {}
        self._older: dict[bytes, StoredItems] = {}
        self._recent_bytes = 0

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

    def put(self, user_id: UserId, message_oid: bytes, items: StoredItems) -> None:
        """Keep the items of a message."""
        self._put(message_key(user_id, message_oid), items)

    def _put(self, key: bytes, items: StoredItems) -> None:
        size = len(items.envelope) + len(items.body_structure) + len(items.light_headers or b"") + len(items.preview)
        self._recent[key] = items
        self._recent_bytes += size + _OVERHEAD_BYTES
        if self._recent_bytes > self._generation_bytes:
            self._older, self._recent, self._recent_bytes = self._recent, {}, 0
