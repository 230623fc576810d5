"""Two guards of every database call: errors are translated, time is bounded."""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Any, Literal

import pymongo
from pymongo.errors import BulkWriteError, DuplicateKeyError, OperationFailure, PyMongoError

from mailcore.errors import StoreFull, StoreUnavailable

log = logging.getLogger(__name__)

DEFAULT_DEADLINE_S = 5.0
DUPLICATE_KEY = 11000
OUT_OF_DISK_SPACE = 14031
_NO_ROOM = ("ENOSPC", "No space left", "OutOfDiskSpace", "out of disk space")

Document = dict[str, Any]


class _Guard:
    """Translates what pymongo raises; see `guarded`."""

    __slots__ = ()

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        if isinstance(error, PyMongoError):
            _translate(error)
        return False


class _Deadline:
    """Bounds the time of the calls inside, and translates errors; see `deadline`."""

    __slots__ = ("_seconds", "_timeout")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __enter__(self) -> None:
        self._timeout = pymongo.timeout(self._seconds)
        self._timeout.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        self._timeout.__exit__(kind, error, trace)
        if isinstance(error, PyMongoError):
            _translate(error)
        return False


_GUARD = _Guard()


def guarded() -> _Guard:
    """Return a context in which pymongo's errors become StoreUnavailable or StoreFull.

    DuplicateKeyError passes, and so does a BulkWriteError of nothing but duplicate keys: they
    say that something is there already, which callers rely on.
    """
    return _GUARD


def deadline(seconds: float = DEFAULT_DEADLINE_S) -> _Deadline:
    """Return a `guarded` context whose calls together end within `seconds`; inside another the earlier counts."""
    return _Deadline(seconds)


def _translate(error: PyMongoError) -> None:
    if isinstance(error, DuplicateKeyError) or (isinstance(error, BulkWriteError) and only_duplicates(error)):
        return
    text = str(error)
    code = error.code if isinstance(error, OperationFailure) else None
    if code == OUT_OF_DISK_SPACE or any(sign in text for sign in _NO_ROOM):
        raise StoreFull(text) from error
    if code is not None:
        log.warning("store.refused", extra={"code": code, "reason": text[:500]})
    raise StoreUnavailable(type(error).__name__, text[:500]) from error


def only_duplicates(error: BulkWriteError) -> bool:
    """Return whether every fault of a bulk write is a duplicate key, so that all is stored now."""
    details = error.details or {}
    faults = details.get("writeErrors") or []
    return (
        bool(faults)
        and not details.get("writeConcernErrors")
        and all(fault.get("code") == DUPLICATE_KEY for fault in faults)
    )
