"""Settings of the mail processes: frozen, read from the environment once, refused whole if anything is wrong."""

from __future__ import annotations

import base64
import binascii
import json
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mailcore.environment import Environment
from mailcore.model.client_ports import USUAL_PORTS, ClientPorts
from mailcore.model.limits import DEFAULT_LIMITS, Limits
from mailcore.model.peers import LOOPBACK, Network
from mailcore.model.secret import Secret

SEALING_KEY_BYTES = 32
ENDPOINTS_FILE = Path(".data/endpoints.json")
"""What the development stack leaves in its folder, for commands run from there."""
SECRET_PREFIX = "EIDER_SECRET_"  # noqa: S105  a name, not a password
"""Variables a shard's URI may name as `${EIDER_SECRET_X}`; the directory holds only the name."""


class SettingsInvalid(Exception):
    """The environment lacks something or holds something malformed; one line for each problem."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where a server listens; port 0 lets the system choose."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """One server: where it listens, and whether it stands where plaintext login is allowed."""

    listen: tuple[ListenAddress, ...]
    is_local: bool = False


@dataclass(frozen=True, slots=True)
class AcmeSettings:
    """Which authority issues certificates, and who answers for us there."""

    directory_url: str
    contact: str = ""
    """An address for mail about our account; may be empty."""
    authority_path: str | None = None
    """PEM file of who signs the authority's own certificate, where the system does not know them."""


@dataclass(frozen=True, slots=True)
class DnsSettings:
    """Which resolver is asked, and whether its word on DNSSEC counts."""

    servers: tuple[ListenAddress, ...] = ()
    """Empty: those of the system."""
    is_trusted: bool = False
    """The way to the resolver is safe, so its AD bit says that an answer was validated (RFC 4035 §3.2.3)."""


@dataclass(frozen=True, slots=True)
class OutgoingSettings:
    """What bounds connections to the outside."""

    allowed: tuple[Network, ...] = ()
    """Networks that may be connected to although they are not public: a development stack's, a smarthost's."""
    own: tuple[Network, ...] = ()
    """Public addresses of this system itself, where they are not this machine's."""
    ports: Mapping[int, int] = field(default_factory=dict)
    """Port -> port connected to instead; for the stubs of a development stack, and only with `allowed`."""
    authority_pem: bytes | None = None
    """Who signs certificates of the outside, beside those the system knows."""


@dataclass(frozen=True, slots=True)
class Smarthost:
    """A server that takes mail for everywhere (RFC 5321 §2.3.10 calls it a relay)."""

    host: str
    port: int
    is_tls: bool = False
    """TLS from the start; otherwise STARTTLS, which is insisted on if there is a password."""
    username: str = ""
    password: Secret | None = None


@dataclass(frozen=True, slots=True)
class MailSettings:
    """Everything a mail process needs to know before it reaches the directory."""

    mongo_uri: Secret
    """URI of the directory, with its database name."""
    sealing_keys: Mapping[int, Secret]
    """Keys by number; the highest seals, all open."""
    redis_url: Secret | None = None
    acme: AcmeSettings | None = None
    hostname: str = "localhost"
    """The name servers give in greetings and trace headers."""
    client_host: str = ""
    """Where mail programs connect to; "" is the host name."""
    client_ports: ClientPorts = USUAL_PORTS
    forward_domain: str = ""
    """Mail that is sent on leaves with reverse-paths in this domain, which must reach us; "" is the host name."""
    feedback_address: str = ""
    """Where other services send reports about our mail; "" is fbl@ of the domain of reverse-paths."""
    feedback_reporters: frozenset[str] = frozenset()
    """Domains that sign reports about their users' mail whatever the domains of these are."""
    servers: Mapping[str, ServerSettings] = field(default_factory=dict)
    health_listen: ListenAddress | None = None
    proxy_from: tuple[Network, ...] = ()
    """Load balancers whose PROXY header is believed."""
    lmtp_peers: tuple[Network, ...] = LOOPBACK
    """Who may speak LMTP to us; more than loopback only if listed."""
    lookup_peers: tuple[Network, ...] = LOOPBACK
    """Who may ask for recipients; more than loopback only if listed."""
    lmtp_client_authority_pem: bytes | None = None
    """Who signs the certificates by which transfer agents that are not listed may speak LMTP to us."""
    verdict_peers: tuple[Network, ...] = ()
    """Transfer agents whose filter's verdicts in header fields count, where they carry the agent's queue id."""
    rspamd_url: str | None = None
    """rspamd that is asked at delivery (http://127.0.0.1:11333); None: nobody is asked."""
    rspamd_learn_url: str | None = None
    """rspamd's controller, which learns what users take for spam and for none (http://127.0.0.1:11334)."""
    rspamd_password: Secret | None = None
    """The controller's password."""
    leaked_passwords_url: str | None = None
    """A range service that knows stolen passwords (https://api.pwnedpasswords.com); None: nobody is asked."""
    dns: DnsSettings = DnsSettings()
    outgoing: OutgoingSettings = OutgoingSettings()
    smarthost: Smarthost | None = None
    """Takes everybody's mail but that of tenants and users with one of their own; None: the MX of each domain."""
    mx_hosts: tuple[str, ...] = ()
    """Names of our own mail exchangers: a domain whose MX names them has its mail delivered without a detour."""
    limits: Limits = DEFAULT_LIMITS
    connections: int = 0
    """How many a process holds at most; 0 is as many as it may have files."""
    connections_per_address: int = 0
    """How many of one IPv4 address or IPv6 /64; 0 is half of all."""
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    """Passwords that shard URIs name."""

    @property
    def exchangers(self) -> tuple[str, ...]:
        """Names of our own mail exchangers, as they stand in the MX records of domains here."""
        return self.mx_hosts or (f"mx.{self.hostname}",)

    @property
    def own_domain(self) -> str:
        """The domain in which the system itself takes mail: reverse-paths, reports, postmaster."""
        return self.forward_domain or self.hostname.lower()

    @property
    def feedback_addresses(self) -> frozenset[str]:
        """Addresses, in lower case, to which reports about our mail may come."""
        return frozenset({self.feedback_address or f"fbl@{self.own_domain}", f"postmaster@{self.own_domain}"})

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> MailSettings:
        """Read all settings.

        Raises:
            SettingsInvalid: with every problem found, not only the first.
        """
        return _Reader(environment).settings()

    @classmethod
    def for_command_line(cls, environment: Mapping[str, str], directory: Path) -> MailSettings:
        """Read the settings; without MONGO_URI take those of the development stack in `directory`.

        Raises:
            SettingsInvalid: neither the environment nor a running stack says where the directory is.
        """
        if environment.get("MONGO_URI"):
            return cls.from_environment(environment)
        endpoints = directory / ENDPOINTS_FILE
        if not endpoints.is_file():
            raise SettingsInvalid(
                [f"MONGO_URI is not set and {ENDPOINTS_FILE} is not here: set it, or start the stack (eider stack up)"]
            )
        try:
            stack = json.loads(endpoints.read_text(encoding="utf-8"))
            found = {
                "MONGO_URI": stack["mongo"]["directory"],
                "REDIS_URL": stack["redis"],
                "EIDER_SEALING_KEYS": stack["sealing_keys"],
            }
        except (ValueError, KeyError, TypeError) as error:
            raise SettingsInvalid([f"{endpoints} is not complete: stop and start the stack again"]) from error
        return cls.from_environment({**found, **environment})


def parse_smarthost(url: str) -> Smarthost:
    """Read `smtp[s]://[user:password@]host[:port]`; what is not a letter or digit in user and password as `%40`.

    Raises:
        ValueError: it is none; the message names no secret.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("not a URL") from None
    if parts.scheme not in {"smtp", "smtps"} or not parts.hostname or parts.path.strip("/") or parts.query:
        raise ValueError("must look like smtp://user:password@host:587 or smtps://host")
    is_tls = parts.scheme == "smtps"
    password = Secret(unquote(parts.password)) if parts.password else None
    default = 465 if is_tls else 587 if parts.username else 25
    return Smarthost(parts.hostname, port or default, is_tls, unquote(parts.username or ""), password)


class _Reader(Environment):
    """Reads the settings of the mail processes."""

    def settings(self) -> MailSettings:
        """Return the settings or raise with all problems."""
        mongo_uri = self._mongo_uri()
        redis_url = self.text("REDIS_URL")
        if redis_url and not redis_url.startswith(("redis://", "rediss://", "unix://")):
            self.problems.append("REDIS_URL must begin with redis://, rediss:// or unix://")
        health = self._addresses("EIDER_HEALTH_LISTEN")
        settings = MailSettings(
            mongo_uri=Secret(mongo_uri),
            sealing_keys=self._sealing_keys(),
            redis_url=Secret(redis_url) if redis_url else None,
            acme=self._acme(),
            hostname=self.text("EIDER_HOSTNAME") or platform.node() or "localhost",
            client_host=self.text("EIDER_CLIENT_HOST"),
            client_ports=self._client_ports(),
            forward_domain=self.text("EIDER_FORWARD_DOMAIN").lower(),
            feedback_address=self._feedback_address(),
            feedback_reporters=frozenset(self.text("EIDER_FEEDBACK_REPORTERS").lower().replace(",", " ").split()),
            servers=self._servers(),
            health_listen=health[0] if health else None,
            proxy_from=self.networks("EIDER_PROXY_FROM"),
            lmtp_peers=LOOPBACK + self.networks("EIDER_LMTP_PEERS"),
            lookup_peers=LOOPBACK + self.networks("EIDER_LOOKUP_PEERS"),
            lmtp_client_authority_pem=self.file("EIDER_LMTP_CLIENT_CA"),
            verdict_peers=self.networks("EIDER_VERDICT_PEERS"),
            rspamd_url=self.web_address("EIDER_RSPAMD_URL"),
            rspamd_learn_url=self.web_address("EIDER_RSPAMD_LEARN_URL"),
            rspamd_password=self.secret("EIDER_RSPAMD_PASSWORD"),
            leaked_passwords_url=self.web_address("EIDER_LEAKED_PASSWORDS_URL"),
            dns=DnsSettings(self._addresses("EIDER_DNS_SERVERS"), self.flag("EIDER_DNS_TRUSTED")),
            outgoing=self._outgoing(),
            smarthost=self._smarthost(),
            mx_hosts=tuple(name.rstrip(".").lower() for name in self.entries("EIDER_MX_HOSTS")),
            limits=self._limits(),
            connections=self.number("EIDER_CONNECTIONS", 1, 1 << 20),
            connections_per_address=self.number("EIDER_CONNECTIONS_PER_ADDRESS", 1, 1 << 20),
            secrets={name: Secret(value) for name, value in self.variables.items() if name.startswith(SECRET_PREFIX)},
        )
        if self.problems:
            raise SettingsInvalid(self.problems)
        return settings

    def _mongo_uri(self) -> str:
        uri = self.text("MONGO_URI")
        if not uri:
            self.problems.append("MONGO_URI is not set: the URI of the directory, with its database name")
        elif not re.match(r"mongodb(\+srv)?://[^/]+/[^/?]+", uri):
            self.problems.append("MONGO_URI must look like mongodb://host:port/database")
        return uri

    def _acme(self) -> AcmeSettings | None:
        url = self.text("EIDER_ACME_DIRECTORY")
        if not url:
            return None
        if not url.startswith("https://"):
            self.problems.append("EIDER_ACME_DIRECTORY must begin with https://")
        return AcmeSettings(url, self.text("EIDER_ACME_CONTACT"), self.text("EIDER_ACME_CA") or None)

    def _sealing_keys(self) -> dict[int, Secret]:
        keys: dict[int, Secret] = {}
        text = self.text("EIDER_SEALING_KEYS")
        if not text:
            self.problems.append("EIDER_SEALING_KEYS is not set: NUMBER:BASE64[,...], 32 random bytes each")
            return keys
        for entry in text.split(","):
            number, _, encoded = entry.strip().partition(":")
            try:
                key = base64.b64decode(encoded, validate=True)
            except (binascii.Error, ValueError):
                key = b""
            if not number.isdecimal() or not 0 < int(number) < 1 << 32 or len(key) != SEALING_KEY_BYTES:
                self.problems.append("EIDER_SEALING_KEYS: each entry is NUMBER:BASE64 of exactly 32 bytes")
                continue
            if int(number) in keys:
                self.problems.append(f"EIDER_SEALING_KEYS has key {int(number)} twice")
            keys[int(number)] = Secret(key)
        return keys

    def _outgoing(self) -> OutgoingSettings:
        ports: dict[int, int] = {}
        allowed = self.networks("EIDER_OUTGOING_ALLOW")
        for entry in self.entries("EIDER_OUTGOING_PORTS"):
            wanted, _, instead = entry.partition(":")
            if not (wanted.isdecimal() and instead.isdecimal() and int(wanted) < 65536 and int(instead) < 65536):
                self.problems.append(f"EIDER_OUTGOING_PORTS: {entry!r} is not PORT:PORT")
                continue
            ports[int(wanted)] = int(instead)
        if ports and not allowed:
            self.problems.append("EIDER_OUTGOING_PORTS is for development: it needs EIDER_OUTGOING_ALLOW")
        return OutgoingSettings(allowed, self.networks("EIDER_OWN_ADDRESSES"), ports, self.file("EIDER_OUTGOING_CA"))

    def _smarthost(self) -> Smarthost | None:
        url = self.text("EIDER_SMARTHOST")
        if not url:
            return None
        try:
            return parse_smarthost(url)
        except ValueError as error:
            self.problems.append(f"EIDER_SMARTHOST: {error}")
            return None

    def _feedback_address(self) -> str:
        address = self.text("EIDER_FEEDBACK_ADDRESS").lower()
        if address and not re.fullmatch(r"[^@\s<>]+@[^@\s<>]+", address):
            self.problems.append("EIDER_FEEDBACK_ADDRESS must look like fbl@mail.example")
        return address

    def _client_ports(self) -> ClientPorts:
        try:
            return ClientPorts.parse(self.text("EIDER_CLIENT_PORTS"))
        except ValueError as error:
            self.problems.append(f"EIDER_CLIENT_PORTS: {error}")
            return ClientPorts()

    def _addresses(self, name: str) -> tuple[ListenAddress, ...]:
        return tuple(ListenAddress(host, port) for host, port in self.endpoints(name))

    def _servers(self) -> dict[str, ServerSettings]:
        servers = {}
        for variable in sorted(self.variables):
            match = re.fullmatch(r"EIDER_([A-Z0-9]+)_LISTEN", variable)
            if match is None or match[1] == "HEALTH":
                continue
            listen = self._addresses(variable)
            if listen:
                servers[match[1].lower()] = ServerSettings(listen, self.flag(f"EIDER_{match[1]}_LOCAL"))
        return servers

    def _limits(self) -> Limits:
        message_bytes = self.number("EIDER_MESSAGE_BYTES", 65536, 1 << 30, "a number of bytes")
        return replace(DEFAULT_LIMITS, message_bytes=message_bytes) if message_bytes else DEFAULT_LIMITS
