"""Versions of what is kept apart from a user's or tenant's document, so that whoever reads that knows of changes.

A change is announced, made, and settled. From the announcement on everybody looks; a version that is settled late
is not noted, for a later one is. So nobody who has rules is ever taken for somebody without, whoever dies between.
"""

from __future__ import annotations

from typing import Any, Final

from mailcore.store.guard import Document

FILTERS: Final = "filters"
DOMAIN_ACCESS: Final = "domain_access"


def read_version(document: Document, what: str) -> int:
    """Return the number that changes with every change, 0 where there is nothing to look for."""
    told = document.get(what)
    return int(told["told"]) if told is not None and told["acts"] else 0


def announced(what: str) -> dict[str, Any]:
    """Return the update that makes everybody look."""
    return {"$set": {f"{what}.acts": True}, "$inc": {f"{what}.told": 1}}


def earlier(what: str, version: int) -> dict[str, Any]:
    """Return the condition that no later version is noted."""
    return {"$or": [{f"{what}.version": {"$exists": False}}, {f"{what}.version": {"$lt": version}}]}


def settled(what: str, version: int, acts: bool) -> dict[str, Any]:
    """Return the update that notes a version."""
    return {"$set": {f"{what}.version": version, f"{what}.acts": acts}, "$inc": {f"{what}.told": 1}}
