"""Wildcards: one entry for many addresses, `*@d`, `*suffix@d`, `prefix*@d` and `user@*`, and what covers an address.

Order of precedence, most particular first: `user@*`, then the longest fixed part (of two as long
`prefix*` before `*suffix`), down to `*@d`. `user@*` covers the domains of its own tenant and no others, so its
canonical form names the tenant. In a domain that is an alias its own patterns come before those as
long of the domain it stands for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mailcore.errors import AddressInvalid, DomainInvalid
from mailcore.model.address import Address, display_domain, domain_name
from mailcore.model.ids import TenantId

MAX_FIXED_CHARACTERS = 32
"""Of the part beside the star; so many candidates are looked up at most, twice, for each domain."""
STAR = "*"
_ANY_DOMAIN = "a.invalid"
"""Stands for every domain where the local part alone is read."""


@dataclass(frozen=True, slots=True)
class Wildcard:
    """A pattern with one star; build it by `Wildcard.parse`."""

    local: str
    """Canonical, as `base` of an address is; the star included, except in `user@*`."""
    domain: str
    """Lower-case A-labels, or the star."""

    @classmethod
    def parse(cls, text: str) -> Wildcard:
        """Read `*@d`, `*suffix@d`, `prefix*@d` or `user@*`.

        Raises:
            AddressInvalid: it is none of them; the message says why.
        """
        local, at, domain = text.rpartition("@")
        if not at or text.count(STAR) != 1:
            raise AddressInvalid("a wildcard is *@domain, *end@domain, beginning*@domain or name@*")
        if domain == STAR:
            return cls(_fixed(local), STAR)
        if STAR not in local or not (local.startswith(STAR) or local.endswith(STAR)):
            raise AddressInvalid("the star stands at the beginning or at the end of the part before @")
        fixed = local.strip(STAR).strip(".")
        if len(fixed) > MAX_FIXED_CHARACTERS:
            raise AddressInvalid(f"beside the star there are at most {MAX_FIXED_CHARACTERS} characters")
        base = _fixed(fixed) if fixed else ""
        try:
            name = domain_name(domain, allow_root=False)
        except DomainInvalid as error:
            raise AddressInvalid(*error.details) from error
        return cls(STAR + base if local.startswith(STAR) else base + STAR, name)

    def canonical(self, tenant_id: TenantId) -> str:
        """What is unique among all addresses and wildcards; no address has the same."""
        return _of_every_domain(self.local, tenant_id) if self.domain == STAR else f"{self.local}@{self.domain}"

    @property
    def display(self) -> str:
        """The pattern as people write it, domain in Unicode."""
        return f"{self.local}@{display_domain(self.domain)}"


def is_wildcard(text: str) -> bool:
    """Return whether a text can only be meant as a pattern: no address that is hosted has a star."""
    return STAR in text


def canonical_of(text: str, tenant_id: TenantId) -> str:
    """Return the canonical form of an address or of a tenant's pattern.

    Raises:
        AddressInvalid: it is neither.
    """
    return Wildcard.parse(text).canonical(tenant_id) if is_wildcard(text) else Address.parse(text).canonical


def covering(base: str, domains: Sequence[str], tenant_id: TenantId) -> Iterator[str]:
    """Yield the canonical form of every pattern that covers an address, in order of precedence.

    Args:
        base: the canonical local part.
        domains: the domain, then the one it is an alias of, if any; of patterns alike the first domain's counts.
        tenant_id: whose domain it is.
    """
    yield _of_every_domain(base, tenant_id)
    for length in range(min(len(base), MAX_FIXED_CHARACTERS), 0, -1):
        for domain in domains:
            yield f"{base[:length]}{STAR}@{domain}"
            yield f"{STAR}{base[-length:]}@{domain}"
    for domain in domains:
        yield f"{STAR}@{domain}"


def _fixed(text: str) -> str:
    address = Address.parse(f"{text}@{_ANY_DOMAIN}")
    if address.label is not None:
        raise AddressInvalid("a wildcard has no +label")
    return address.base


def _of_every_domain(base: str, tenant_id: TenantId) -> str:
    return f"{base}@{STAR}/{tenant_id}"
