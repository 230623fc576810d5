"""Lexicon's provider for Cloudflare, but for the preference of MX records, which it does not read."""

from __future__ import annotations

from typing import Any

from lexicon._private.providers import cloudflare

ADDRESS = "https://api.cloudflare.com/client/v4"


class Provider(cloudflare.Provider):
    """Lists records with all that is in them."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)  # type: ignore[no-untyped-call]
        self.api_endpoint = ADDRESS

    def _get(self, url: str = "/", query_params: Any = None) -> Any:
        """Put the preference before the host, as in a zone file, where lexicon looks for the content."""
        answer = super()._get(url, query_params)
        for record in answer.get("result") or ():
            if isinstance(record, dict) and record.get("type") == "MX":
                record["content"] = f"{record['priority']} {record['content']}"
        return answer
