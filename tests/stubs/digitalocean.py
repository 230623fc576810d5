"""DigitalOcean's API, version 2, as far as records of a zone go: how it keeps what it is told, and what it refuses.

The zone itself is `@`; targets come back without their final dot and have to be sent with it; the preference of an MX
is a field; nothing looks whether a record is there already. Pages are short, so that whoever reads one only is seen.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.stubs.json_api import Answer, json_api

PAGE = 4
TARGETS = ("CNAME", "MX", "NS")
Row = tuple[str, str, str]


@dataclass
class DigitalOcean:
    """Zones by name, each with its records by id."""

    url: str = ""
    zones: dict[str, dict[int, dict[str, Any]]] = field(default_factory=dict)
    changes: list[tuple[str, str]] = field(default_factory=list)
    """Method and type of record of every change that was made."""
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def put(self, zone: str, kind: str, name: str, value: str) -> None:
        """Make a record as somebody did at the provider's own pages; the value is as in a zone file."""
        priority, _, data = value.rpartition(" ") if kind == "MX" else ("", "", value)
        fields = {"type": kind, "name": name.removesuffix(zone).rstrip(".") or "@", "data": data, "ttl": 1800}
        assert self._add(zone, fields | ({"priority": int(priority)} if priority else {}))[0] == 201

    def rows(self, zone: str) -> set[Row]:
        """Everything in a zone, as a zone file would say it."""
        return {
            (one["type"], zone if one["name"] == "@" else f"{one['name']}.{zone}", _value(one))
            for one in self.zones[zone].values()
        }

    def answer(self, method: str, path: str, query: dict[str, str], body: dict[str, Any]) -> Answer:
        """Answer one request."""
        match path.strip("/").split("/"):
            case ["domains", zone] if method == "GET" and zone in self.zones:
                return 200, {"domain": {"name": zone, "ttl": 1800, "zone_file": ""}}
            case ["domains", zone, "records"] if method == "GET" and zone in self.zones:
                return 200, self._page(zone, int(query.get("page", 1)))
            case ["domains", zone, "records"] if method == "POST" and zone in self.zones:
                self.changes.append((method, body["type"]))
                return self._add(zone, body)
            case ["domains", zone, "records", number] if method == "DELETE" and zone in self.zones:
                removed = self.zones[zone].pop(int(number), None)
                if removed is not None:
                    self.changes.append((method, removed["type"]))
                    return 204, None
        return 404, {"id": "not_found", "message": "The resource you were accessing could not be found."}

    def _add(self, zone: str, fields: dict[str, Any]) -> Answer:
        kind, name, data = fields["type"], fields.get("name"), fields["data"]
        if not name:
            return _unprocessable("Name can't be blank")
        if kind in TARGETS and not data.endswith("."):
            return _unprocessable("Data needs to end with a dot (.)")
        if kind == "MX" and not isinstance(fields.get("priority"), int):
            return _unprocessable("Priority can't be blank")
        at_name = [one for one in self.zones[zone].values() if one["name"] == name]
        if any("CNAME" in {kind, one["type"]} for one in at_name):
            return _unprocessable("CNAME records cannot share a name with other records")
        record = {"priority": None, "port": None, "weight": None, "flags": None, "tag": None} | fields
        record["data"] = data.rstrip(".") if kind in TARGETS else data
        record["id"] = next(self._numbers)
        self.zones[zone][record["id"]] = record
        return 201, {"domain_record": record}

    def _page(self, zone: str, page: int) -> dict[str, Any]:
        found = list(self.zones[zone].values())
        following = f"{self.url}/domains/{zone}/records?page={page + 1}"
        links = {"pages": {"next": following}} if page * PAGE < len(found) else {}
        return {
            "domain_records": found[(page - 1) * PAGE : page * PAGE], "links": links, "meta": {"total": len(found)},
        }  # fmt: skip


def _value(record: dict[str, Any]) -> str:
    text = f"{record['data']}." if record["type"] in TARGETS else str(record["data"])
    return f"{record['priority']} {text}" if record["type"] == "MX" else text


def _unprocessable(text: str) -> Answer:
    return 422, {"id": "unprocessable_entity", "message": text}


@contextmanager
def digitalocean() -> Iterator[DigitalOcean]:
    """Serve until the end of the block."""
    served = DigitalOcean()
    with json_api(served.answer, (401, {"id": "Unauthorized", "message": "Unable to authenticate you"})) as served.url:
        yield served
