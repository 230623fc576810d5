"""Lexicon's provider for Hetzner's zones, but for the zone's own name, sets with a TTL, and actions that fail.

Zones of the former DNS console have to be moved to the present one first.
"""

from __future__ import annotations

from typing import Any

from lexicon._private.providers import hetzner
from lexicon.exceptions import LexiconError

ADDRESS = "https://api.hetzner.cloud/v1/zones"
APEX = "@"


class Provider(hetzner.HetznerCloud):
    """Knows the zone's own name, and says so where an action came to nothing."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.API_ENDPOINT = ADDRESS

    def create_record(self, rtype: str, name: str, content: str) -> bool:
        """Add a record; a set that is there keeps its TTL."""
        known = self.list_records(rtype, name)
        if content in {record["content"] for record in known}:
            return True
        told: dict[str, Any] = {"records": self._records_from(rtype, content)}
        if not known:
            told["ttl"] = self._get_ttl()
        answer = self._post(f"{self._rrset_url(name, rtype)}/actions/add_records", told)
        return self._wait_for_action(answer["action"])

    def _wait_for_action(self, action: Any) -> bool:
        if not super()._wait_for_action(action):  # type: ignore[no-untyped-call]
            raise LexiconError("the action failed")
        return True

    def _relative_name(self, record_name: str) -> str:
        return super()._relative_name(record_name) or APEX

    def _full_name(self, record_name: str) -> str:
        return self.domain if record_name == APEX else super()._full_name(record_name)
