"""Numbers of `UserLimits` in the `limits` of a tenant's or a user's document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mailcore.model.limits import SENDING_LIMITS, USER_LIMITS


def read_limits(stored: Mapping[str, Any]) -> dict[str, int]:
    """Return the numbers that a document sets."""
    return {name: value for name, value in stored.items() if name in USER_LIMITS}


def read_sending_limits(stored: Mapping[str, Any]) -> dict[str, int]:
    """Return the numbers of `SendingLimits` that a tenant's document sets."""
    return {name: value for name, value in stored.items() if name in SENDING_LIMITS}


def limit_change(name: str, value: int | None) -> dict[str, Any]:
    """Return the update that sets one number, or leaves it to whoever stands above."""
    assert name in USER_LIMITS or name in SENDING_LIMITS
    return {"$unset": {f"limits.{name}": ""}} if value is None else {"$set": {f"limits.{name}": value}}
