"""Ports that mail programs connect to, as the world sees them: behind a load balancer they are not ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Final


@dataclass(frozen=True, slots=True)
class ClientPorts:
    """Ports by service; TLS from the start (RFC 8314 §3) but for `submission` and `sieve`, which upgrade."""

    imaps: int = 993
    pop3s: int = 995
    submissions: int = 465
    submission: int = 587
    sieve: int = 4190

    @classmethod
    def parse(cls, text: str) -> ClientPorts:
        """Read `imaps=1993,submissions=1465`; what is not named has its usual port.

        Raises:
            ValueError: not of that form, an unknown service, or no port.
        """
        known = {each.name for each in fields(cls)}
        found: dict[str, int] = {}
        for entry in filter(None, (part.strip() for part in text.split(","))):
            name, _, port = entry.partition("=")
            if name not in known or not port.isdecimal() or not 0 < int(port) < 65536:
                raise ValueError(f"{entry!r} is not one of {', '.join(sorted(known))} with a port, such as imaps=993")
            found[name] = int(port)
        return replace(cls(), **found)

    @property
    def by_service(self) -> Mapping[str, int]:
        """The ports by the names of RFC 6186 and RFC 8314 §5.1."""
        return {
            "_imaps": self.imaps,
            "_pop3s": self.pop3s,
            "_submissions": self.submissions,
            "_submission": self.submission,
            "_sieve": self.sieve,
        }


USUAL_PORTS: Final = ClientPorts()
