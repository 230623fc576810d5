"""How it stands with the sets of a shard, as their servers say: for charts of the platform."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from pymongo.database import Database

from mailcore.store.client import Document
from mailcore.store.guard import deadline

STATE_S: Final = 10.0
COUNTED: Final = ("insert", "query", "update", "delete", "getmore")
DATA_BEARING: Final = frozenset({1, 2})
"""States of members: primary and secondary."""


@dataclass(frozen=True, slots=True)
class SetState:
    """Of one set.

    Attributes:
        size_bytes: what data and indexes take on disk.
        operations: of the primary since it started.
        process: which process that is, to know whether it started anew.
        lag_s: how far its last member that answers is behind.
    """

    size_bytes: int
    operations: int
    process: str
    lag_s: int


def state_of(database: Database[Document]) -> SetState:
    """Return the state of the set that has a database; three round trips to its primary.

    Raises:
        StoreUnavailable: there is none, or it may not be asked.
    """
    with deadline(STATE_S):
        stats = database.command("dbStats")
        admin = database.client.admin
        status = admin.command({"serverStatus": 1, "metrics": 0, "locks": 0, "wiredTiger": 0})
        members = admin.command("replSetGetStatus")["members"]
    return SetState(
        int(stats["storageSize"] + stats["indexSize"]),
        sum(int(status["opcounters"][name]) for name in COUNTED),
        f"{status['host']}/{status['pid']}",
        _lag_s(members),
    )


def _lag_s(members: list[dict[str, Any]]) -> int:
    times = [one["optimeDate"] for one in members if one["state"] in DATA_BEARING]
    return int((max(times) - min(times)).total_seconds()) if times else 0
