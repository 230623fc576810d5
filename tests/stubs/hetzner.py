"""Hetzner's API as far as zones go: records lie in sets, changes are actions; the first takes its time, any may fail.

The zone itself is `@`; values are as in a zone file; a set is gone with its last record. Pages are short.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.stubs.json_api import Answer, json_api

PAGE = 3
Row = tuple[str, str, str]


@dataclass
class Hetzner:
    """Zones by name, each with its sets of values by name and type."""

    url: str = ""
    zones: dict[str, dict[tuple[str, str], list[str]]] = field(default_factory=dict)
    changes: list[tuple[str, str]] = field(default_factory=list)
    """What was done and type of record of every change that was made."""
    fails: bool = False
    """Actions are taken and come to nothing."""
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _actions: dict[int, str] = field(default_factory=dict)

    def put(self, zone: str, kind: str, name: str, value: str) -> None:
        """Make a record as somebody did at the provider's own pages; the value is as in a zone file."""
        written = f'"{value}"' if kind == "TXT" else value
        self.zones[zone].setdefault((name.removesuffix(zone).rstrip(".") or "@", kind), []).append(written)

    def rows(self, zone: str) -> set[Row]:
        """Everything in a zone, as a zone file would say it, texts joined."""
        return {
            (
                kind,
                zone if name == "@" else f"{name}.{zone}",
                value[1:-1].replace('" "', "") if kind == "TXT" else value,
            )
            for (name, kind), values in self.zones[zone].items()
            for value in values
        }

    def answer(self, method: str, path: str, query: dict[str, str], body: dict[str, Any]) -> Answer:
        """Answer one request; zones have their names as ids."""
        match path.strip("/").split("/"):
            case ["actions", number] if method == "GET":
                return 200, {"action": {"id": int(number), "status": self._actions[int(number)]}}
            case [zone] if method == "GET" and zone in self.zones:
                return 200, {"zone": {"id": zone, "name": zone}}
            case [zone, "rrsets"] if method == "GET" and zone in self.zones:
                return 200, self._page(zone, query)
            case [zone, "rrsets", name, kind, "actions", what] if method == "POST" and name and zone in self.zones:
                return self._act(zone, (name, kind), what, body)
        return 404, {"error": {"code": "not_found", "message": "not found"}}

    def _act(self, zone: str, key: tuple[str, str], what: str, body: dict[str, Any]) -> Answer:
        sets, values = self.zones[zone], [one["value"] for one in body["records"]]
        known = sets.get(key, [])
        if what == "add_records":
            others = {kind for name, kind in sets if name == key[0] and kind != key[1]}
            if others and "CNAME" in {key[1], *others}:
                return _refused("a CNAME stands alone")
            if set(values) & set(known) or (known and body.get("ttl") is not None):
                return _refused("the record is there, or its set has another TTL")
            if key[1] == "TXT" and not all(value.startswith('"') for value in values):
                return _refused("texts stand in quotation marks")
        elif what != "remove_records" or not set(values) <= set(known):
            return _refused("no such record")
        number = next(self._numbers)
        self._actions[number] = "error" if self.fails else "success"
        if not self.fails:
            self.changes.append((what, key[1]))
            left = [*known, *values] if what == "add_records" else [one for one in known if one not in values]
            sets[key] = left
            if not left:
                del sets[key]
        status = "running" if number == 1 else self._actions[number]  # the library waits for half a second each time
        return 201, {"action": {"id": number, "status": status}}

    def _page(self, zone: str, query: dict[str, str]) -> dict[str, Any]:
        page = int(query.get("page", 1))
        found = [
            {"name": name, "type": kind, "ttl": 3600, "records": [{"value": value} for value in values]}
            for (name, kind), values in self.zones[zone].items()
            if query.get("type", kind) == kind and query.get("name", name) == name
        ]
        last = max(-(-len(found) // PAGE), 1)
        pagination = {"page": page, "last_page": last, "next_page": page + 1 if page < last else None}
        return {"rrsets": found[(page - 1) * PAGE : page * PAGE], "meta": {"pagination": pagination}}


def _refused(text: str) -> Answer:
    return 422, {"error": {"code": "invalid_input", "message": text}}


@contextmanager
def hetzner() -> Iterator[Hetzner]:
    """Serve until the end of the block."""
    served = Hetzner()
    with json_api(served.answer, (401, {"error": {"code": "unauthorized", "message": "no token"}})) as served.url:
        yield served
