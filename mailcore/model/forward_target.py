"""Where mail may be forwarded to besides addresses: a web address that takes it by POST, or a mail server."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from mailcore.errors import AddressInvalid, DomainInvalid, ValueInvalid
from mailcore.model.address import Address, domain_name

LONGEST_URL: Final = 1024
PORTS: Final = {
    "http": frozenset({80}),
    "https": frozenset({443}),
    "smtp": frozenset({25, 587, 2525}),
    "smtps": frozenset({465}),
}
DEFAULT_PORTS: Final = {"http": 80, "https": 443, "smtp": 25, "smtps": 465}
_PRINTABLE: Final = re.compile(r"[\x21-\x7e]+")
_NEVER: Final = re.compile(r'[@"<>\\^`{|}#]')
"""Not in a URL (RFC 3986), or not for us: user names, fragments."""


@dataclass(frozen=True, slots=True)
class TargetUrl:
    """A target that is no address.

    Attributes:
        path: with the query; what stands in it may be secret.
    """

    scheme: str
    host: str
    port: int
    path: str = ""

    @property
    def is_web(self) -> bool:
        """Whether it takes messages by HTTP."""
        return self.scheme in {"http", "https"}

    @property
    def is_tls(self) -> bool:
        """Whether TLS comes first."""
        return self.scheme in {"https", "smtps"}

    @property
    def place(self) -> str:
        """Scheme, host and port: what logs and reports may show."""
        return f"{self.scheme}://{self.host}:{self.port}"


def is_url(text: str) -> bool:
    """Whether a target is meant to be a URL; no address has these characters outside of quotes."""
    return "://" in text and "@" not in text


def read_target_url(text: str) -> TargetUrl:
    """Read `http[s]://host/path` or `smtp[s]://host[:port]`.

    Raises:
        ValueInvalid: it is none of these, or on a port that is not for it; the text says what is right.
    """
    shown = f"{text[:100]!r}"
    if len(text) > LONGEST_URL or not _PRINTABLE.fullmatch(text) or _NEVER.search(text):
        raise ValueInvalid(f"{shown}: a URL to forward to has up to {LONGEST_URL} plain characters, and no user name")
    try:
        parts = urlsplit(text)
        scheme, host = parts.scheme.lower(), _host(parts.hostname or "")
        port = parts.port or DEFAULT_PORTS.get(scheme, 0)
    except (ValueError, DomainInvalid) as error:
        raise ValueInvalid(f"{shown}: write https://host/path or smtp://host:port") from error
    if scheme not in PORTS:
        raise ValueInvalid(f"{shown}: a target is an address or begins with http://, https://, smtp:// or smtps://")
    if port not in PORTS[scheme]:
        raise ValueInvalid(f"{shown}: ports for {scheme} are {', '.join(map(str, sorted(PORTS[scheme])))}")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if scheme in {"smtp", "smtps"}:
        if path != "/":
            raise ValueInvalid(f"{shown}: a mail server is written {scheme}://host:port, without a path")
        path = ""
    return TargetUrl(scheme, host, port, path)


def clean_target(text: str) -> tuple[str, str]:
    """Return a target in the form in which it is compared, and in that in which it is kept.

    Raises:
        ValueInvalid: it is neither an address nor a URL that mail may be sent to.
    """
    text = text.strip()
    if is_url(text):
        read_target_url(text)
        return text, text
    try:
        address = Address.parse(text)
    except AddressInvalid as error:
        raise ValueInvalid(f"{text[:100]!r} is no address to forward to: {error.details[0]}") from error
    return address.canonical, address.display


def _host(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return domain_name(text)
