"""What the load sent and what it was answered: written before sending and after the reply."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any


class Outcome(StrEnum):
    """How one delivery to one recipient ended."""

    ACKED = "acked"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message for one recipient; its id stands in the message."""

    ledger_id: str
    recipient: str
    sha256: str
    size_bytes: int


def digest(raw: bytes) -> str:
    """Return the hash by which messages are compared."""
    return hashlib.sha256(raw).hexdigest()


class Ledger:
    """An append-only file, synced line by line, independent of the server's code."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a")
        self._lock = threading.Lock()
        self.deliveries: dict[str, Delivery] = {}
        self.outcomes: dict[str, Outcome] = {}
        self.codes: Counter[str] = Counter()

    def intend(self, delivery: Delivery) -> None:
        """Note a delivery before its first byte is sent."""
        self.deliveries[delivery.ledger_id] = delivery
        self._write({"intent": delivery.ledger_id, "to": delivery.recipient, "sha256": delivery.sha256})

    def conclude(self, ledger_id: str, outcome: Outcome, code: str) -> None:
        """Note the reply, or that none came; a later word replaces an earlier one."""
        with self._lock:
            self.outcomes[ledger_id] = outcome
            self.codes[code] += 1
        self._write({"outcome": ledger_id, "is": outcome.value, "code": code})

    def of_outcome(self, outcome: Outcome) -> list[Delivery]:
        """Return the deliveries that ended so."""
        return [self.deliveries[key] for key, value in self.outcomes.items() if value is outcome]

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, line: dict[str, Any]) -> None:
        with self._lock:
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())
