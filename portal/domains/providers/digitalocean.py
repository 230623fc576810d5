"""Lexicon's provider for DigitalOcean, but for the zone's own name and for MX records, which it does not know there."""

from __future__ import annotations

from typing import Any

from lexicon._private.providers import digitalocean

ADDRESS = "https://api.digitalocean.com/v2"
APEX = "@"


class Provider(digitalocean.Provider):
    """Lists records with all that is in them, and writes them so."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)  # type: ignore[no-untyped-call]
        self.api_endpoint = ADDRESS

    def list_records(self, rtype: Any = None, name: Any = None, content: Any = None) -> Any:
        """Return records by their full names; the zone's own is `@` there."""
        found = super().list_records(rtype)  # type: ignore[no-untyped-call]
        for record in found:
            record["name"] = record["name"].removeprefix(f"{APEX}.")
        return [
            record
            for record in found
            if (name is None or record["name"] == self._full_name(name)) and content in {None, record["content"]}
        ]

    def _relative_name(self, record_name: str) -> str:
        return super()._relative_name(record_name) or APEX

    def _get(self, url: str = "/", query_params: Any = None) -> Any:
        """Put the preference before the host, as in a zone file."""
        answer = super()._get(url, query_params)
        for record in answer.get("domain_records") or ():
            if record["data"] == APEX:
                record["data"] = self.domain
            if record["type"] == "MX":
                record["data"] = f"{record['priority']} {record['data']}"
        return answer

    def _post(self, url: str = "/", data: Any = None, query_params: Any = None) -> Any:
        if data["type"] == "MX":
            data = data | {"priority": int(self._get_lexicon_option("priority") or 0)}
        return super()._post(url, data, query_params)
