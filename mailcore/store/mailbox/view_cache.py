"""The newest view of each mailbox that this process uses: least recently used ones go when memory is full."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import Final

from mailcore.errors import StoreDamaged
from mailcore.model.ids import MailboxId, UserId
from mailcore.store import keys
from mailcore.store.mailbox.log_entry import Op, decode_entry
from mailcore.store.mailbox.view import MailboxView

DEFAULT_LIMIT_BYTES: Final = 256 << 20


class ViewCache:
    """Views by mailbox, at most `limit_bytes` of them; shared by all sessions of the process."""

    def __init__(self, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._views: OrderedDict[bytes, MailboxView] = OrderedDict()
        self._used_bytes = 0
        self._lock = Lock()

    @property
    def used_bytes(self) -> int:
        """Memory held by the views in here."""
        return self._used_bytes

    def get(self, user_id: UserId, mailbox_id: MailboxId) -> MailboxView | None:
        """Return the newest view this process knows."""
        key = keys.mailbox_key(user_id, mailbox_id)
        with self._lock:
            view = self._views.get(key)
            if view is not None:
                self._views.move_to_end(key)
        return view

    def put(self, view: MailboxView) -> MailboxView:
        """Remember a view unless a newer one is known; return the newest."""
        key = keys.mailbox_key(view.user_id, view.mailbox_id)
        with self._lock:
            known = self._views.get(key)
            if known is not None:
                if known.uid_validity == view.uid_validity and _age(known) > _age(view):
                    return known
                self._used_bytes -= known.memory_bytes
            self._views[key] = view
            self._views.move_to_end(key)
            self._used_bytes += view.memory_bytes
            while self._used_bytes > self._limit_bytes and len(self._views) > 1:
                _, dropped = self._views.popitem(last=False)
                self._used_bytes -= dropped.memory_bytes
        return view

    def apply(self, user_id: UserId, mailbox_id: MailboxId, modseq: int, stored: bytes) -> MailboxView | None:
        """Apply one committed entry to the view right before it, without the database.

        Returns the new view; None if the view is another, or the entry alone does not say enough
        (a row block, a keyword not seen yet): then the head has to be read.
        """
        view = self.get(user_id, mailbox_id)
        if view is None or view.highest_modseq != modseq - 1:
            return None
        try:
            entry = decode_entry(stored)
            if entry.block is not None or entry.op is Op.CLEAR:
                return None
            if not view.names_flags_of(entry):
                return None
            return self.put(view.applied([entry]))
        except StoreDamaged:
            return None  # a notice is a hint only; the head tells

    def forget(self, user_id: UserId, mailbox_id: MailboxId) -> None:
        """Drop a view: the mailbox is gone."""
        with self._lock:
            view = self._views.pop(keys.mailbox_key(user_id, mailbox_id), None)
            if view is not None:
                self._used_bytes -= view.memory_bytes


def _age(view: MailboxView) -> tuple[int, int, int]:
    return view.highest_modseq, len(view.keywords), view.generation
