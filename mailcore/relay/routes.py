"""Where a domain's mail goes: a mailbox here, a smarthost, or the hosts that the domain names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mailcore.errors import DnsUnavailable, DomainInvalid
from mailcore.model.address import domain_name
from mailcore.model.forward_target import TargetUrl
from mailcore.model.outbound import Answer
from mailcore.net.outgoing import Purpose
from mailcore.relay.mta_sts import MtaSts, Policy
from mailcore.services.addresses.domains import Domains
from mailcore.services.outbound.dns import Dns, Exchangers
from mailcore.services.outbound.smarthosts import Smarthosts
from mailcore.settings import Smarthost
from mailcore.store.placement import Home

LOCAL: Final = "local"


@dataclass(frozen=True, slots=True)
class Host:
    """A server that takes the mail."""

    name: str
    port: int
    purpose: Purpose


@dataclass(frozen=True, slots=True)
class Route:
    """The way of one domain's mail.

    Attributes:
        destination: what counts as one, in limits and logs.
        hosts: best first.
        is_secure: DNSSEC protected the answer that named them.
        policy: of MTA-STS, if it is enforced or being tested.
    """

    destination: str
    hosts: tuple[Host, ...]
    is_secure: bool = False
    policy: Policy | None = None
    smarthost: Smarthost | None = None

    @property
    def is_local(self) -> bool:
        """Whether the mailboxes are ours."""
        return self.destination == LOCAL


LOCAL_ROUTE: Final = Route(LOCAL, ())


class Routes:
    """Finds ways."""

    def __init__(
        self,
        dns: Dns,
        domains: Domains,
        smarthosts: Smarthosts,
        mta_sts: MtaSts,
        own_names: frozenset[str],
        forward_domain: str,
    ) -> None:
        """Know who we are.

        Args:
            dns: asked for exchangers.
            domains: which are ours.
            smarthosts: of tenants and the platform.
            mta_sts: policies of others.
            own_names: mail exchangers that are ourselves, in lower case.
            forward_domain: of reverse-paths under which mail is sent on; reports to them come back to us.
        """
        self._forward_domain = forward_domain
        self._dns = dns
        self._domains = domains
        self._smarthosts = smarthosts
        self._mta_sts = mta_sts
        self._own_names = own_names

    def find(self, home: Home, domain: str, *, by_itself: bool = False) -> Route | Answer:
        """Return the way of mail for `domain`, or why there is none (for now, or for good).

        `by_itself` as for `Smarthosts.of`.

        Only a domain that is verified, and whose MX was seen to point here, is ours: a tenant that merely claims
        a domain gets none of its mail.
        """
        try:
            name = domain if domain.startswith("[") else domain_name(domain)
        except DomainInvalid:
            return Answer(0, "5.1.2", f"{domain} is not a domain name")
        if self._domains.delivers_here(name):
            return LOCAL_ROUTE
        smarthost = self._smarthosts.of(home, by_itself=by_itself)
        if smarthost is not None:
            host = Host(smarthost.host, smarthost.port, Purpose.SMARTHOST)
            return Route(f"{smarthost.host}:{smarthost.port}", (host,), smarthost=smarthost)
        if name.startswith("["):
            literal = name.strip("[]").removeprefix("IPv6:").removeprefix("ipv6:")
            return Route(name, (Host(literal, 25, Purpose.MAIL_EXCHANGER),))
        try:
            exchangers = self._dns.exchangers(name)
        except DnsUnavailable as error:
            return Answer(0, "4.4.3", f"DNS does not answer: {error}")
        return self._of(name, exchangers)

    def of_target(self, target: TargetUrl) -> Route:
        """Return the way to a forwarding target that is a URL."""
        if target.is_web:
            return Route(target.place, ())
        smarthost = Smarthost(target.host, target.port, target.is_tls)
        return Route(target.place, (Host(target.host, target.port, Purpose.SMARTHOST),), smarthost=smarthost)

    def _of(self, domain: str, exchangers: Exchangers) -> Route | Answer:
        if not exchangers.domain_exists:
            return Answer(0, "5.1.2", f"There is no domain {domain}")
        if exchangers.is_null:
            return Answer(556, "5.1.10", f"{domain} takes no mail (null MX)")
        best = exchangers.hosts
        ours = [preference for preference, name in best if name in self._own_names]
        if ours:  # RFC 5321 §5.1: nobody worse than ourselves
            best = tuple(host for host in best if host[0] < min(ours))
        if not best:
            if domain == self._forward_domain or self._domains.is_verified(domain):
                return LOCAL_ROUTE  # the periodic check has not come to it yet
            return Answer(0, "5.4.6", f"Mail for {domain} is sent to us, and it is not ours")
        policy = self._mta_sts.policy(domain)
        hosts = tuple(Host(name, 25, Purpose.MAIL_EXCHANGER) for _, name in best)
        return Route(domain, hosts, exchangers.is_secure, policy)
