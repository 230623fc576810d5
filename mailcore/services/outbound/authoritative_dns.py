"""What the servers that a zone is delegated to say themselves: no cache between them and whoever wants to know.

Only where a zone begins, and the addresses of its servers, come from the resolvers of the settings.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Final

import dns.exception
import dns.flags
import dns.name
import dns.rcode
import dns.rdatatype
from dns.rdatatype import RdataType

from mailcore.errors import DnsUnavailable
from mailcore.model.dns_answers import Answer, Observation, Outcome, Question
from mailcore.services.outbound.dns import Dns
from mailcore.services.outbound.public_addresses import objection
from mailcore.services.process.clock import now
from mailcore.settings import OutgoingSettings

if TYPE_CHECKING:
    from dns.message import Message
    from dns.rdata import Rdata

TIMEOUT_S: Final = 3.0
"""For one server and one question."""
MOST_SERVERS: Final = 6
"""So many servers of a zone are asked; more would be somebody's way to make us ask."""
LONGEST_S: Final = 60.0
"""For one survey: servers that answer as slowly as they may would else keep it for an hour."""
PORT: Final = 53
CHAIN: Final = 4
"""CNAMEs that are followed from zone to zone."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Server:
    """One name server and where it is asked."""

    name: str
    address: str


@dataclass(frozen=True, slots=True)
class Zone:
    """A zone and its servers; `name` is "" if it is known that a name lies in none."""

    name: str
    servers: tuple[Server, ...]


@dataclass(slots=True)
class Survey:
    """One look at a domain: remembers for its own time which servers there are, and which of them are silent."""

    dns: Dns
    settings: OutgoingSettings
    _zones: dict[str, Zone] = field(default_factory=dict)
    _silent: set[str] = field(default_factory=set)
    _began_s: float = field(default_factory=time.monotonic)

    def ask(self, question: Question) -> Observation:
        """Ask every server of the zone that the name lies in; a server that was silent once is not waited for again.

        Once the survey has taken too long, nobody is asked any more, and nobody said anything.
        """
        if time.monotonic() - self._began_s >= LONGEST_S:
            return Observation(question, "", ())
        try:
            zone = self.zone_of(question.name)
        except DnsUnavailable as error:
            log.info("dns.zone.unknown", extra={"domain": question.name, "reason": str(error)})
            return Observation(question, "", ())
        answers = tuple(self._ask_server(server, question) for server in zone.servers)
        return Observation(question, zone.name, answers, is_delegated=bool(zone.name))

    def zone_of(self, name: str) -> Zone:
        """Return the closest zone at or above a name.

        Raises:
            DnsUnavailable: nobody could say.
        """
        found = self._zones.get(name)
        if found is None:
            found = self._zones[name] = self._find_zone(name)
        return found

    def _find_zone(self, name: str) -> Zone:
        """Climb to where servers are named; a top-level domain is nobody's zone that could be looked at here."""
        records = self.dns.find(name, RdataType.NS).records
        hosts = sorted(record.target.to_text(omit_final_dot=True).lower() for record in records)
        if hosts:
            return Zone(name, tuple(self._servers(hosts[:MOST_SERVERS])))
        parent = name.partition(".")[2]
        return self.zone_of(parent) if "." in parent else Zone("", ())

    def _servers(self, hosts: Iterable[str]) -> Iterable[Server]:
        for host in hosts:
            try:
                addresses = self.dns.addresses(host).records
            except DnsUnavailable:
                addresses = ()
            ipv4 = [address for address in addresses if ":" not in address]
            yield Server(host, next(iter(ipv4 or addresses), ""))

    def _ask_server(self, server: Server, question: Question) -> Answer:
        asked_at = now()
        if not server.address or server.address in self._silent:
            return Answer(server.name, server.address, asked_at, Outcome.SILENT)
        if objection(self.settings, server.address) is not None:
            return Answer(server.name, server.address, asked_at, Outcome.FORBIDDEN)
        import dns.message  # with most of dnspython, as in Dns
        import dns.query

        try:
            query = dns.message.make_query(question.name, question.kind, use_edns=True, payload=1232)
            query.flags &= ~dns.flags.RD
            port = self.settings.ports.get(PORT, PORT)
            response, _ = dns.query.udp_with_fallback(query, server.address, TIMEOUT_S, port, ignore_unexpected=True)
        except (dns.exception.DNSException, OSError, EOFError) as error:
            log.info("dns.server.silent", extra={"server": server.name, "reason": type(error).__name__})
            self._silent.add(server.address)
            return Answer(server.name, server.address, asked_at, Outcome.SILENT)
        return _read(response, server, question, asked_at)


def _read(response: Message, server: Server, question: Question, asked_at: datetime) -> Answer:
    """Return what a response says; only a server that knows the zone (AA, RFC 1035 §4.1.1) is believed."""
    answer = partial(Answer, server.name, server.address, asked_at)
    rcode = response.rcode()
    if rcode not in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN} or not response.flags & dns.flags.AA:
        return answer(Outcome.REFUSED)
    name, kind = dns.name.from_text(question.name), dns.rdatatype.from_text(question.kind)
    at_name = {rrset.rdtype: rrset for rrset in response.answer if rrset.name == name}
    alias = at_name.get(RdataType.CNAME)
    if alias is not None:
        target = alias[0].target.to_text(omit_final_dot=True).lower()
        records = (f"{target}.",) if kind == RdataType.CNAME else ()
        return answer(Outcome.RECORDS, records, alias.ttl, target)
    found = at_name.get(kind)
    if found is not None:
        return answer(Outcome.RECORDS, tuple(sorted(_text(record) for record in found)), found.ttl)
    soa = next((rrset for rrset in response.authority if rrset.rdtype == RdataType.SOA), None)
    ttl_s = None if soa is None else min(soa.ttl, soa[0].minimum)
    return answer(Outcome.NO_NAME if rcode == dns.rcode.NXDOMAIN else Outcome.NOTHING, (), ttl_s)


def _text(record: Rdata) -> str:
    """Return a record as people write it; the strings of a TXT record are one text (RFC 7208 §3.3)."""
    if record.rdtype == RdataType.TXT:
        return b"".join(record.strings).decode("utf-8", "replace")  # type: ignore[attr-defined]
    return record.to_text().lower()


class AuthoritativeDns:
    """Begins surveys."""

    def __init__(self, dns: Dns, settings: OutgoingSettings) -> None:
        self._dns = dns
        self._settings = settings

    def survey(self) -> Survey:
        """Return a look at DNS that starts from nothing."""
        return Survey(self._dns, self._settings)

    def texts(self, name: str) -> list[str]:
        """Return the TXT records that all authoritative servers have at a name, behind CNAMEs from zone to zone.

        Servers that are away are not waited for as long as more than half of them answer.

        Raises:
            DnsUnavailable: too few of them did.
        """
        survey = self.survey()
        for _ in range(CHAIN):
            seen = survey.ask(Question(name, "TXT"))
            if seen.is_delegated and 2 * len(seen.told) <= len(seen.answers):
                raise DnsUnavailable(f"{name} TXT: too few servers of {seen.zone or 'its zone'} answered")
            aliases = {answer.alias for answer in seen.told}
            alias = next(iter(aliases), None)
            if len(aliases) != 1 or alias is None:
                of_each = [set(answer.records) for answer in seen.told]
                return sorted(set.intersection(*of_each)) if of_each else []
            name = alias
        raise DnsUnavailable(f"{name} TXT: a chain of CNAMEs without end")
