"""One message to one route: hosts in order, addresses in order, with as much TLS as is asked for."""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from dns.rdatatype import RdataType

from mailcore import fault
from mailcore.errors import DestinationForbidden, DnsUnavailable, OutgoingFailed
from mailcore.model.outbound import Answer
from mailcore.net.outgoing import OutgoingClient, Resolved
from mailcore.relay.channel import Channel, RemoteLost, TlsFailed
from mailcore.relay.client import BATCH, Forward, Mail, OutcomeUnknown, Refused, SmtpClient
from mailcore.relay.dane import Tlsa, chain_of, is_proven, tlsa_of
from mailcore.relay.lines import Line
from mailcore.relay.routes import Host, Route
from mailcore.services.outbound.dns import Dns

log = logging.getLogger(__name__)

CONNECT_S: Final = 30.0
MOST_ADDRESSES: Final = 10
"""So many are tried in one attempt."""
BUDGET_S: Final = 900.0
"""After so long no further address is tried."""


@dataclass(frozen=True, slots=True)
class TlsNeed:
    """How a host must prove itself.

    Attributes:
        is_must: nothing is sent in clear.
        is_verified: its certificate must be for its name, signed by somebody we know.
        tlsa: or it must be one of these (RFC 7672); then `names` are those it may be for.
    """

    is_must: bool = False
    is_verified: bool = False
    tlsa: tuple[Tlsa, ...] = ()
    names: tuple[str, ...] = ()


@dataclass(slots=True)
class Attempt:
    """What became of one transaction with one route."""

    answers: dict[int, Answer] = field(default_factory=dict)
    """Of recipients, by their place."""
    dsn: bool = False
    """The server that took it sends reports itself."""
    tls: str = ""
    may_be_twice: bool = False
    """All was sent and no answer came: the next attempt may be a second copy."""
    line: Line | None = None
    """The session that carried it, open still."""


class HostFailed(Exception):
    """This host is no good now; the next may be."""

    def __init__(self, answer: Answer, *, is_tls: bool = False) -> None:
        super().__init__(answer.text)
        self.answer = answer
        self.is_tls = is_tls


class Deliverer:
    """Speaks to servers outside."""

    def __init__(self, client: OutgoingClient, dns: Dns, hostname: str) -> None:
        self._client = client
        self._dns = dns
        self._hostname = hostname

    def deliver(self, route: Route, mail: Mail, forwards: Sequence[Forward], line: Line | None = None) -> Attempt:
        """Try every host until one has answered for all recipients; those it put off are not tried at the next one.

        `line`: a session of this route that carried a message before; where it is good no more a new one is opened.
        """
        attempt = Attempt()
        if line is not None:
            self._again(line, mail, forwards, attempt)
            if len(attempt.answers) == len(forwards):
                return attempt
        give_up_at = time.monotonic() + BUDGET_S
        last = Answer(0, "4.4.1", f"No host of {route.destination} could be reached")
        tried = 0
        finals: list[Answer] = []
        for host in route.hosts:
            if route.policy is not None and route.policy.is_enforced and not route.policy.names(host.name):
                last = Answer(0, "4.7.5", f"{host.name} is none of the hosts that the MTA-STS policy names")
                finals.append(last)
                continue
            try:
                resolved = self._resolved(host)
                need = self._need(route, host, resolved)
            except HostFailed as failed:
                last = failed.answer
                finals.append(last)
                continue
            for address in resolved.addresses:
                if tried >= MOST_ADDRESSES or time.monotonic() > give_up_at:
                    break
                tried += 1
                try:
                    self._at(host, address, need, route, mail, forwards, attempt)
                except HostFailed as failed:
                    last = failed.answer
                    finals.append(last)
                    log.info(
                        "relay.host.failed",
                        extra={"destination": route.destination, "remote": last.remote, "reason": last.text},
                    )
                if len(attempt.answers) == len(forwards) or attempt.may_be_twice:
                    break
            if len(attempt.answers) == len(forwards) or attempt.may_be_twice:
                break
        if not all(answer.is_final for answer in finals):
            last = next(answer for answer in reversed(finals) if not answer.is_final)
        for number in range(len(forwards)):
            attempt.answers.setdefault(number, last)
        return attempt

    # -- a host -----------------------------------------------------------------------------

    def _resolved(self, host: Host) -> Resolved:
        """Return where a host is.

        Raises:
            HostFailed: nowhere, or where nothing may be connected to.
        """
        try:
            resolved = self._client.resolve(host.name)
        except DnsUnavailable as error:
            raise HostFailed(Answer(0, "4.4.3", f"DNS does not answer: {error}")) from error
        if not resolved.addresses:
            if resolved.forbidden:
                text = f"{host.name} has no address that mail may be sent to: private, reserved or our own"
                raise HostFailed(Answer(0, "5.4.4", text))
            raise HostFailed(Answer(0, "5.4.4", f"{host.name} has no address"))
        return resolved

    def _need(self, route: Route, host: Host, resolved: Resolved) -> TlsNeed:
        """Return how a host must prove itself: DANE before MTA-STS (RFC 8461 §2).

        Raises:
            HostFailed: DNSSEC protects its address, and nobody could say whether it has TLSA records (RFC 7672 §2.1).
        """
        if route.smarthost is not None:
            is_must = route.smarthost.password is not None or route.smarthost.is_tls
            return TlsNeed(is_must=is_must, is_verified=is_must, names=(host.name,))
        if route.is_secure and resolved.is_secure:
            try:
                found = self._dns.find(f"_25._tcp.{host.name}", RdataType.TLSA)
            except DnsUnavailable as error:
                raise HostFailed(Answer(0, "4.4.3", f"TLSA records of {host.name}: {error}"), is_tls=True) from error
            records = tlsa_of(found)
            if records:
                return TlsNeed(is_must=True, tlsa=records, names=(host.name, route.destination))
        if route.policy is not None and route.policy.is_enforced:
            return TlsNeed(is_must=True, is_verified=True, names=(host.name,))
        return TlsNeed()

    def _at(
        self,
        host: Host,
        address: str,
        need: TlsNeed,
        route: Route,
        mail: Mail,
        forwards: Sequence[Forward],
        attempt: Attempt,
    ) -> None:
        """Carry out the transaction at one address; where TLS is not insisted on, in clear if it does not come about.

        Raises:
            HostFailed: it got nowhere.
        """
        try:
            self._session(host, address, need, route, mail, forwards, attempt, in_clear=False)
        except HostFailed as failed:
            if not failed.is_tls or need.is_must:
                raise
            log.info("relay.tls.in_clear", extra={"remote": failed.answer.remote, "reason": failed.answer.text})
            self._session(host, address, need, route, mail, forwards, attempt, in_clear=True)

    def _session(
        self,
        host: Host,
        address: str,
        need: TlsNeed,
        route: Route,
        mail: Mail,
        forwards: Sequence[Forward],
        attempt: Attempt,
        *,
        in_clear: bool,
    ) -> None:
        remote = f"{host.name}[{address}]"
        try:
            connection = self._client.connect(address, host.port, host.purpose, CONNECT_S)
        except (DestinationForbidden, OutgoingFailed) as error:
            raise HostFailed(Answer(0, "4.4.1", str(error), remote)) from error
        channel = Channel(connection, remote)
        client = SmtpClient(channel, self._hostname)
        line = Line(client, channel, time.monotonic())
        begin = partial(self._begin, client, channel, host, need, route, in_clear=in_clear)
        self._use(line, begin, mail, forwards, attempt)

    def _again(self, line: Line, mail: Mail, forwards: Sequence[Forward], attempt: Attempt) -> None:
        """Carry out the transaction in a session that carried one before; what it does not answer for is left."""
        try:
            self._use(line, line.client.reset, mail, forwards, attempt)
        except HostFailed as failed:
            log.info("relay.line.over", extra={"remote": failed.answer.remote, "reason": failed.answer.text})

    def _use(
        self, line: Line, begin: Callable[[], None], mail: Mail, forwards: Sequence[Forward], attempt: Attempt
    ) -> None:
        """Begin and carry out the transaction; the session stays open if all went as it should.

        Raises:
            HostFailed: it got nowhere.
        """
        channel, remote = line.channel, line.client.remote
        try:
            begin()
            attempt.tls = channel.tls.version() or "" if channel.tls is not None else ""
            self._transactions(line.client, mail, forwards, attempt)
            if not attempt.may_be_twice:
                line.messages += 1
                attempt.line = line
        except Refused as refused:
            reply = refused.reply
            default = "5.7.1" if reply.code >= 500 else "4.3.2"
            text = f"{refused.stage}: {' '.join(reply.lines)}"[:500]
            status = "4.7.8" if refused.stage == "AUTH" else reply.enhanced or default  # ours to mend, not the sender's
            answer = Answer(reply.code, status, text, remote)
            if refused.stage in {"MAIL", "RCPT"} and answer.is_final:
                for number in range(len(forwards)):
                    attempt.answers.setdefault(number, answer)
                return
            raise HostFailed(answer, is_tls=refused.stage == "STARTTLS") from refused
        except TlsFailed as error:
            raise HostFailed(Answer(0, "4.7.5", f"TLS: {error}", remote), is_tls=True) from error
        except RemoteLost as error:
            raise HostFailed(Answer(0, "4.4.2", str(error), remote)) from error
        finally:
            if attempt.line is not line:
                channel.close()

    def _begin(
        self, client: SmtpClient, channel: Channel, host: Host, need: TlsNeed, route: Route, *, in_clear: bool
    ) -> None:
        smarthost = route.smarthost
        if smarthost is not None and smarthost.is_tls:
            channel.start_tls(self._context(need), host.name, CONNECT_S)
            client.begin()
        else:
            client.begin()
            if "STARTTLS" in client.extensions and not in_clear:
                client.start_tls(self._context(need), host.name)
            elif need.is_must:
                raise TlsFailed(f"{host.name} does not offer it")
        if need.tlsa and (channel.tls is None or not is_proven(need.tlsa, chain_of(channel.tls), need.names)):
            raise TlsFailed(f"the certificate of {host.name} is not what its TLSA records say")
        if smarthost is not None and smarthost.password is not None:
            client.log_in(smarthost.username, smarthost.password)

    def _context(self, need: TlsNeed) -> ssl.SSLContext:
        if need.is_verified:
            return self._client.trusting()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # encrypted to whoever it is, better than in clear (RFC 7435)
        return context

    def _transactions(self, client: SmtpClient, mail: Mail, forwards: Sequence[Forward], attempt: Attempt) -> None:
        """One transaction for each hundred recipients."""
        attempt.dsn = "DSN" in client.extensions
        numbers = [number for number in range(len(forwards)) if number not in attempt.answers]
        for start in range(0, len(numbers), BATCH):
            batch = numbers[start : start + BATCH]
            try:
                answers = client.send(mail, [forwards[number] for number in batch])
            except OutcomeUnknown as unknown:
                attempt.may_be_twice = True
                lost = Answer(0, "4.4.2", f"All was sent, then: {unknown}", client.remote)
                known = [answer or lost for answer in unknown.answers]
                attempt.answers |= dict(zip(batch, known, strict=True))
                return
            attempt.answers |= dict(zip(batch, answers, strict=True))
        fault.hit("relay.after_remote_250")
