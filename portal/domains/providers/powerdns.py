"""Lexicon's provider for PowerDNS, but for targets of CNAMEs.

It takes them for names of the zone, and would write `web.example.net.example.org.` for `web.example.net.`.
"""

from __future__ import annotations

from typing import Any

from lexicon._private.providers import powerdns


class Provider(powerdns.Provider):
    """Takes and returns every value as it stands in a zone file."""

    def _clean_content(self, rtype: str, content: str) -> Any:
        return content if rtype == "CNAME" else super()._clean_content(rtype, content)  # type: ignore[no-untyped-call]

    def _unclean_content(self, rtype: str, content: str) -> Any:
        return content if rtype == "CNAME" else super()._unclean_content(rtype, content)  # type: ignore[no-untyped-call]
