"""What the domain name system says, for everything that sends: bounded in time, and never a guess.

That nothing is there is an answer; that nobody could say is `DnsUnavailable`. `is_secure` is the resolver's word that
an answer was validated, and counts only where the settings trust the way to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final

import dns.exception
import dns.flags
import dns.name
from dns.rdatatype import RdataType

from mailcore.errors import DnsUnavailable
from mailcore.settings import DnsSettings

if TYPE_CHECKING:
    from dns.resolver import Resolver

LIFETIME_S: Final = 10.0
"""For one question, whatever number of servers is asked."""
MOST_HOSTS: Final = 20
"""So many mail exchangers, and addresses of one host, are looked at: a flood of them is somebody else's trouble."""


@dataclass(frozen=True, slots=True)
class Found:
    """An answer: records, none if there are none of that type."""

    records: tuple[Any, ...]
    is_secure: bool
    name_exists: bool = True
    canonical_name: str = ""
    """Where a chain of CNAMEs ended."""


@dataclass(frozen=True, slots=True)
class Exchangers:
    """Where a domain wants its mail (RFC 5321 §5.1).

    Attributes:
        hosts: preference and name, best first; of equal ones in the order of the answer.
        is_null: it wants none at all (RFC 7505).
        is_implicit: there is no MX, so the domain itself is meant.
    """

    hosts: tuple[tuple[int, str], ...]
    is_secure: bool
    is_null: bool = False
    is_implicit: bool = False
    domain_exists: bool = True


class Dns:
    """Asks the resolvers of the settings; remembers answers for as long as they say."""

    def __init__(self, settings: DnsSettings) -> None:
        self._settings = settings
        self._resolver: Resolver | None = None

    def find(self, name: str, kind: RdataType) -> Found:
        """Return the records of a type at a name, behind its CNAMEs.

        Raises:
            DnsUnavailable: SERVFAIL, no answer in time, a chain of CNAMEs without end.
        """
        import dns.resolver  # with all of dnspython: many processes never ask

        try:
            answer = self._asked().resolve(
                dns.name.from_text(name), kind, raise_on_no_answer=False, lifetime=LIFETIME_S, search=False
            )
        except dns.resolver.NXDOMAIN:
            return Found((), is_secure=False, name_exists=False)
        except (dns.name.LabelTooLong, dns.name.NameTooLong, dns.name.EmptyLabel, dns.name.BadEscape):
            return Found((), is_secure=False, name_exists=False)
        except (dns.exception.DNSException, OSError) as error:
            raise DnsUnavailable(f"{name} {kind.name}: {type(error).__name__}") from error
        records = tuple(answer.rrset or ())
        return Found(records, self._says_secure(answer.response), canonical_name=_text(answer.canonical_name))

    def exchangers(self, domain: str) -> Exchangers:
        """Return the hosts that take mail for a domain in A-labels; one question, cached by its time to live.

        Raises:
            DnsUnavailable: nobody could say.
        """
        found = self.find(domain, RdataType.MX)
        if not found.name_exists:
            return Exchangers((), found.is_secure, domain_exists=False)
        if not found.records:
            return Exchangers(((0, domain),), found.is_secure, is_implicit=True)
        hosts = [(record.preference, _text(record.exchange)) for record in found.records]
        if hosts == [(hosts[0][0], "")]:
            return Exchangers((), found.is_secure, is_null=True)
        named = sorted((host for host in hosts if host[1]), key=lambda host: host[0])
        return Exchangers(tuple(named[:MOST_HOSTS]), found.is_secure)

    def addresses(self, host: str) -> Found:
        """Return the IPv6 and IPv4 addresses of a host as text, in turn, IPv6 first; two questions.

        Raises:
            DnsUnavailable: nobody could say of one of both, and the other has none.
        """
        found: list[Found] = []
        trouble: DnsUnavailable | None = None
        for kind in (RdataType.AAAA, RdataType.A):
            try:
                found.append(self.find(host, kind))
            except DnsUnavailable as error:
                trouble = error
        pairs = zip_longest(*([record.address for record in each.records] for each in found))
        records = tuple(address for pair in pairs for address in pair if address is not None)[:MOST_HOSTS]
        if not records and trouble is not None:
            raise trouble
        return Found(
            records,
            trouble is None and all(each.is_secure for each in found),
            any(each.name_exists for each in found),
            found[0].canonical_name if found else host,
        )

    def texts(self, name: str) -> list[str]:
        """Return the TXT records at a name, the strings of each joined.

        Raises:
            DnsUnavailable: nobody could say.
        """
        records = self.find(name, RdataType.TXT).records
        return [b"".join(record.strings).decode("utf-8", "replace") for record in records]

    def _asked(self) -> Resolver:
        """The resolver, made when it is first needed: the system's file may be missing where nothing is sent."""
        if self._resolver is None:
            from mailcore.services.outbound.resolver import open_resolver

            self._resolver = open_resolver(self._settings)
        return self._resolver

    def _says_secure(self, response: Any) -> bool:
        return self._settings.is_trusted and bool(response.flags & dns.flags.AD)


def _text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower() if name != dns.name.root else ""
