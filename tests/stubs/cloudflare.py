"""Cloudflare's API, version 4, as far as records of a zone go: how it keeps what it is told, and what it refuses.

It drops the final dot of targets, keeps the preference of an MX apart, puts texts into quotation marks, finds by exact
content, and takes no record twice nor anything beside a CNAME. Pages are short, so that whoever reads one only is seen.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.stubs.json_api import Answer, json_api

PAGE = 5
TARGETS = ("CNAME", "MX")


@dataclass
class Cloudflare:
    """Zones by name, each with its records by id."""

    url: str = ""
    zones: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    changes: list[tuple[str, str]] = field(default_factory=list)
    """Method and type of record of every change that was made."""
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def add(self, zone: str, kind: str, name: str, content: str, priority: int | None = None) -> Answer:
        """Make a record as somebody did at the provider's own pages, or by its API."""
        records = self.zones[zone]
        content = content.rstrip(".") if kind in TARGETS else content
        if kind == "TXT" and not content.startswith('"'):
            content = f'"{content}"'
        at_name = [one for one in records.values() if one["name"] == name]
        if any((one["type"], one["content"]) == (kind, content) for one in at_name):
            return _refused(400, 81058, "An identical record already exists.")
        if kind == "CNAME" and any(one["type"] in {"A", "AAAA", "CNAME"} for one in at_name):
            return _refused(400, 81053, "An A, AAAA, or CNAME record with that host already exists.")
        if any(one["type"] == "CNAME" for one in at_name):
            return _refused(400, 81054, "A CNAME record with that host already exists.")
        if kind == "MX" and priority is None:
            return _refused(400, 9101, "priority is a required field.")
        record = {"id": f"r{next(self._numbers)}", "type": kind, "name": name, "content": content, "ttl": 3600}
        records[record["id"]] = record | ({} if priority is None else {"priority": priority})  # type: ignore[index]
        return 200, _result(record)

    def put(self, zone: str, kind: str, name: str, value: str) -> None:
        """Make a record as somebody did at the provider's own pages; the value is as in a zone file."""
        priority, _, host = value.rpartition(" ") if kind == "MX" else ("", "", value)
        assert self.add(zone, kind, name, host, int(priority) if priority else None)[0] == 200

    def rows(self, zone: str) -> set[tuple[str, str, str]]:
        """Everything in a zone, as a zone file would say it."""
        return {(one["type"], one["name"], _value(one)) for one in self.zones[zone].values()}

    def answer(self, method: str, path: str, query: dict[str, str], body: dict[str, Any]) -> Answer:
        """Answer one request; zones have their names as ids."""
        match path.strip("/").split("/"):
            case ["zones"]:
                return 200, _page([{"id": f"id-{name}", "name": name} for name in self.zones], query)
            case ["zones", zone, "dns_records"] if method == "GET":
                return 200, _page(self._found(zone.removeprefix("id-"), query), query)
            case ["zones", zone, "dns_records"] if method == "POST":
                self.changes.append((method, body["type"]))
                return self.add(
                    zone.removeprefix("id-"), body["type"], body["name"], body["content"], body.get("priority")
                )
            case ["zones", zone, "dns_records", record] if method == "DELETE":
                removed = self.zones[zone.removeprefix("id-")].pop(record, None)
                if removed is not None:
                    self.changes.append((method, removed["type"]))
                    return 200, _result({"id": record})
        return _refused(404, 7003, "Could not route to that path.")

    def _found(self, zone: str, query: dict[str, str]) -> list[dict[str, Any]]:
        wanted = {name: query[name] for name in ("type", "name", "content") if name in query}
        return [one for one in self.zones[zone].values() if wanted.items() <= one.items()]


def _value(record: dict[str, Any]) -> str:
    text = str(record["content"])
    if record["type"] == "TXT":
        return text[1:-1]
    if record["type"] == "MX":
        return f"{record['priority']} {text}."
    return f"{text}." if record["type"] == "CNAME" else text


def _page(found: list[dict[str, Any]], query: dict[str, str]) -> dict[str, Any]:
    page = int(query.get("page", 1))
    info = {"page": page, "per_page": PAGE, "total_pages": max(-(-len(found) // PAGE), 1)}
    return _result(found[(page - 1) * PAGE : page * PAGE]) | {"result_info": info}


def _result(result: Any) -> dict[str, Any]:
    return {"success": True, "errors": [], "messages": [], "result": result}


def _refused(status: int, code: int, text: str) -> Answer:
    return status, {"success": False, "errors": [{"code": code, "message": text}], "messages": [], "result": None}


@contextmanager
def cloudflare() -> Iterator[Cloudflare]:
    """Serve until the end of the block."""
    served = Cloudflare()
    with json_api(served.answer, _refused(403, 9109, "Invalid access token")) as served.url:
        yield served
