"""Which names may be claimed at all: no public suffix, none of ours, nothing below another organisation's domain."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Final

import tldextract

from mailcore.model.address import domain_name
from portal.domains.errors import DomainNotClaimable, Refusal

MOST_LABELS: Final = 10


@cache
def _suffixes() -> tldextract.TLDExtract:
    """The list of public suffixes that comes with the library; nothing is fetched."""
    return tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None, include_psl_private_domains=True)


def registrable(name: str) -> str | None:
    """Return the part of an A-label name that somebody registered; None if it is a public suffix itself.

    Of a top-level domain that the list does not know, the level below can be registered, as by the list's rule `*`.
    """
    found = _suffixes()(name)
    if found.suffix:
        return f"{found.domain}.{found.suffix}" if found.domain else None
    return ".".join(name.split(".")[-2:]) if "." in name else None


def claimable(text: str, ours: Iterable[str]) -> str:
    """Return the A-label form of a name that may be claimed.

    Raises:
        DomainInvalid: not a domain name.
        DomainNotClaimable: a public suffix, or one of our own names.
    """
    name = domain_name(text.strip().lower().removeprefix("https://").removeprefix("http://").strip("/"))
    if name.count(".") >= MOST_LABELS or registrable(name) is None:
        raise DomainNotClaimable(name, Refusal.PUBLIC_SUFFIX)
    for own in ours:
        if f".{own}".endswith(f".{name}") or f".{name}".endswith(f".{own}"):
            raise DomainNotClaimable(name, Refusal.OURS)
    return name


def parents(name: str) -> list[str]:
    """Return the names above that somebody may have registered, the closest first."""
    top = registrable(name)
    above: list[str] = []
    while top is not None and name != top and "." in name:
        name = name.partition(".")[2]
        above.append(name)
    return above
