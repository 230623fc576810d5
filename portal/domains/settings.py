"""What the portal must know about our own names and name servers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mailcore.model.secret import Secret
from portal.domains.wanted import ServiceNames


@dataclass(frozen=True, slots=True)
class PowerDns:
    """The HTTP API of a PowerDNS server of ours."""

    url: str
    key: Secret = field(repr=False)


@dataclass(frozen=True, slots=True)
class DomainSettings:
    """Read once, as a part of the portal's settings.

    Attributes:
        names: as they stand in the records of domains here.
        dkim_zone_server: where our zone of DKIM keys is written; None: it is filled by other means.
        powerdns_url: the API of the PowerDNS that tenants have their zones on, each with a key of its own; "" if none.
        security_contact: a URI, for who finds a hole.
    """

    names: ServiceNames = field(default_factory=lambda: ServiceNames.from_environment({}))
    dkim_zone_server: PowerDns | None = None
    powerdns_url: str = ""
    security_contact: str = "mailto:security@localhost"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> DomainSettings:
        """Read EIDER_MX_HOSTS, EIDER_SPF_INCLUDE, EIDER_CLIENT_HOST, EIDER_WEB_HOST, EIDER_REPORT_ADDRESS,
        EIDER_DKIM_ZONE, EIDER_DKIM_ZONE_SERVER, EIDER_DKIM_ZONE_KEY, EIDER_POWERDNS_URL and EIDER_SECURITY_CONTACT.
        """  # noqa: D205  a list of variables
        host = environment.get("EIDER_HOSTNAME", "localhost")
        server, key = environment.get("EIDER_DKIM_ZONE_SERVER", ""), environment.get("EIDER_DKIM_ZONE_KEY", "")
        return cls(
            ServiceNames.from_environment(environment),
            PowerDns(server, Secret(key)) if server and key else None,
            environment.get("EIDER_POWERDNS_URL", ""),
            environment.get("EIDER_SECURITY_CONTACT", f"mailto:security@{host}"),
        )
