"""Room in pools for what is about to be stored, among any number of processes.

A process takes room from the tenant's document by a conditional update, a little more than it needs, and spends that
without asking again. So a pool is passed at most by what processes took before a sum and store after it was read: for
each process what it holds, no more than one part in `PARTS` of the pool and `MOST` bytes, and what it is about to
commit. What others hold and do not spend is missing until the next sum: so much too early a pool may seem full.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mailcore.errors import OverQuota
from mailcore.model.ids import TenantId
from mailcore.store.placement import Home, Placement, Pool

PARTS: Final = 256
MOST: Final = 16 << 20
MAX_HELD: Final = 100_000


@dataclass(slots=True)
class _Held:
    """What this process took and did not spend, on which pool."""

    quota_bytes: int
    used_at: datetime | None
    size_bytes: int = 0


class PoolRoom:
    """Takes room in pools for this process."""

    def __init__(self, placement: Placement) -> None:
        self._placement = placement
        self._held: dict[TenantId, _Held] = {}
        self._lock = threading.Lock()

    def take(self, home: Home, size_bytes: int) -> None:
        """Make sure that so many bytes more fit into the pool of a user's tenant.

        No round trip while the process holds enough, else one; two where the pool is almost full. What is known to be
        full, as of the last sum, is refused without any.

        Raises:
            OverQuota: they do not fit.
            StoreUnavailable: the directory did not answer.
        """
        pool = home.pool
        if pool is None or self._spend(home.tenant_id, pool, size_bytes):
            return
        uses = self._placement.directory.pool_use
        ahead = min(pool.quota_bytes // PARTS, MOST)
        for taken in (max(size_bytes, ahead), size_bytes) if size_bytes < ahead else (size_bytes,):
            if pool.used_bytes + taken <= pool.quota_bytes and uses.take(home.tenant_id, pool.quota_bytes, taken):
                self._keep(home.tenant_id, pool, taken - size_bytes)
                return
        raise OverQuota(home.user_id, pool.used_bytes, pool.quota_bytes)

    def _spend(self, tenant_id: TenantId, pool: Pool, size_bytes: int) -> bool:
        """Spend what is held; what was taken before the last sum is worth nothing any more."""
        with self._lock:
            held = self._held.get(tenant_id)
            if held is None or (held.quota_bytes, held.used_at) != (pool.quota_bytes, pool.used_at):
                return False
            if size_bytes > held.size_bytes:
                return False
            held.size_bytes -= size_bytes
            return True

    def _keep(self, tenant_id: TenantId, pool: Pool, size_bytes: int) -> None:
        with self._lock:
            held = self._held.get(tenant_id)
            if held is None or (held.quota_bytes, held.used_at) != (pool.quota_bytes, pool.used_at):
                if len(self._held) >= MAX_HELD:
                    self._held.clear()
                held = self._held[tenant_id] = _Held(pool.quota_bytes, pool.used_at)
            held.size_bytes += size_bytes
