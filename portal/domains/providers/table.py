"""The providers that are offered, and what is peculiar to each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final


class Texts(Enum):
    """How a provider wants a TXT value."""

    QUOTED = "quoted"
    """As in a zone file, cut into strings."""
    PLAIN = "plain"


class Exchangers(Enum):
    """How a provider wants the preference of an MX record."""

    INSIDE = "inside"
    """Before the host, as in a zone file."""
    APART = "apart"
    """As a field of its own."""


@dataclass(frozen=True, slots=True)
class DnsProvider:
    """One provider.

    Attributes:
        name: lexicon's, `label`: for people.
        types: that lexicon writes there in full; records of others have to be entered by hand.
        removed_by_content: its records have no ids of their own.
        module: lexicon's class, or ours of that name where it has to be mended.
        endpoint: it is a server of ours, whose address the settings give: no tenant chooses where we connect to.
    """

    name: str
    label: str
    types: frozenset[str]
    texts: Texts = Texts.PLAIN
    exchangers: Exchangers = Exchangers.APART
    endpoint: bool = False
    module: str = ""
    removed_by_content: bool = False


_SIMPLE: Final = frozenset({"TXT", "CNAME"})

PROVIDERS: Final = {
    provider.name: provider
    for provider in (
        DnsProvider(
            "powerdns", "PowerDNS", frozenset({"TXT", "CNAME", "MX", "SRV", "A", "AAAA"}), Texts.QUOTED,
            Exchangers.INSIDE, endpoint=True,
            module="portal.domains.providers.powerdns", removed_by_content=True,
        ),
        DnsProvider(
            "cloudflare", "Cloudflare", _SIMPLE | {"MX", "A", "AAAA"}, module="portal.domains.providers.cloudflare"
        ),
        DnsProvider(
            "digitalocean", "DigitalOcean", _SIMPLE | {"MX", "A", "AAAA"},
            module="portal.domains.providers.digitalocean",
        ),
        DnsProvider(
            "hetzner", "Hetzner", _SIMPLE | {"MX", "SRV", "A", "AAAA"}, exchangers=Exchangers.INSIDE,
            module="portal.domains.providers.hetzner", removed_by_content=True,
        ),
    )
}  # fmt: skip
