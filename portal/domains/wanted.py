"""Which records a domain should have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from mailcore.model.client_ports import USUAL_PORTS, ClientPorts
from mailcore.model.dkim import DkimKey
from portal.domains.records import RecordKind, Wanted

OWNERSHIP_LABEL: Final = "_eider"
TOKEN_PREFIX: Final = "eider-domain-verification="  # noqa: S105  no secret: it is published
DKIM_SLOTS: Final = ("eider1", "eider2")
"""Selectors of domains whose keys are in our zone: one signs while the other's key is replaced."""


@dataclass(frozen=True, slots=True)
class ServiceNames:
    """Our own names, as they stand in the records of domains here.

    Attributes:
        mx_hosts: our exchangers, the best first.
        spf_include: the name whose SPF record lists what sends our mail.
        client_host: where mail programs sign in.
        web_host: what serves MTA-STS policies and the configuration of mail programs.
        dkim_zone: the zone of ours that CNAMEs of DKIM keys lead into; "" if there is none, then keys are texts.
        report_address: who reads reports of DMARC and TLS.
        ports: of client_host.
    """

    mx_hosts: tuple[str, ...]
    spf_include: str
    client_host: str
    web_host: str
    dkim_zone: str = ""
    report_address: str = ""
    ports: ClientPorts = USUAL_PORTS

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> ServiceNames:
        """Read what is set; the rest follows from EIDER_HOSTNAME."""
        host = environment.get("EIDER_HOSTNAME", "localhost")
        hosts = [name.strip().rstrip(".").lower() for name in environment.get("EIDER_MX_HOSTS", "").split(",")]
        return cls(
            tuple(name for name in hosts if name) or (f"mx.{host}",),
            environment.get("EIDER_SPF_INCLUDE", f"_spf.{host}"),
            environment.get("EIDER_CLIENT_HOST", host),
            environment.get("EIDER_WEB_HOST", host),
            environment.get("EIDER_DKIM_ZONE", ""),
            environment.get("EIDER_REPORT_ADDRESS", f"reports@{host}"),
            ClientPorts.parse(environment.get("EIDER_CLIENT_PORTS", "")),
        )

    def ours(self) -> tuple[str, ...]:
        """Return the names that nobody else may claim, nor anything above or below them."""
        every = (*self.mx_hosts, self.spf_include.partition(".")[2], self.client_host, self.web_host, self.dkim_zone)
        return tuple(name for name in every if "." in name)

    def without_dkim_zone(self) -> ServiceNames:
        """Return the names for a domain whose owner publishes the keys."""
        return replace(self, dkim_zone="")

    def dkim_target(self, domain: str, selector: str) -> str:
        """Return the name in our zone where the key of a domain's selector is."""
        return f"{selector}.{domain}.{self.dkim_zone}"


def ownership_record(domain: str, token: str) -> Wanted:
    """The record that only who controls the domain's DNS can make."""
    return Wanted(
        RecordKind.OWNERSHIP, f"{OWNERSHIP_LABEL}.{domain}", "TXT", (f"{TOKEN_PREFIX}{token}",), is_required=True
    )


def wanted_records(
    domain: str, token: str, keys: Iterable[DkimKey], policy_id: str, names: ServiceNames
) -> tuple[Wanted, ...]:
    """Return the whole set, in the order in which one would enter it.

    `keys` are those of the domain, whatever their state: those that retire have to stay published. `policy_id` is that
    of the MTA-STS policy as it is served now.
    """
    return (
        ownership_record(domain, token),
        Wanted(RecordKind.MX, domain, "MX", _exchangers(names), is_required=True),
        Wanted(RecordKind.SPF, domain, "TXT", (f"v=spf1 include:{names.spf_include} ~all",), is_required=True),
        *_dkim(domain, keys, names),
        Wanted(
            RecordKind.DMARC, f"_dmarc.{domain}", "TXT", (f"v=DMARC1; p=none; rua=mailto:{names.report_address}",),
            is_required=True,
        ),
        Wanted(RecordKind.MTA_STS_HOST, f"mta-sts.{domain}", "CNAME", (f"{names.web_host}.",)),
        Wanted(RecordKind.MTA_STS, f"_mta-sts.{domain}", "TXT", (f"v=STSv1; id={policy_id};",)),
        Wanted(
            RecordKind.TLS_RPT, f"_smtp._tls.{domain}", "TXT", (f"v=TLSRPTv1; rua=mailto:{names.report_address}",)
        ),
        Wanted(RecordKind.AUTOCONFIG, f"autoconfig.{domain}", "CNAME", (f"{names.web_host}.",)),
        Wanted(RecordKind.AUTODISCOVER, f"autodiscover.{domain}", "CNAME", (f"{names.web_host}.",)),
        *_services(domain, names),
    )  # fmt: skip


def _exchangers(names: ServiceNames) -> tuple[str, ...]:
    return tuple(f"{10 * (number + 1)} {host}." for number, host in enumerate(names.mx_hosts))


def _dkim(domain: str, keys: Iterable[DkimKey], names: ServiceNames) -> Iterable[Wanted]:
    if names.dkim_zone:
        return [
            Wanted(
                RecordKind.DKIM, f"{slot}._domainkey.{domain}", "CNAME", (f"{names.dkim_target(domain, slot)}.",),
                is_required=True,
            )
            for slot in DKIM_SLOTS
        ]  # fmt: skip
    return [
        Wanted(RecordKind.DKIM, key.record_name, "TXT", (key.record_value,), is_required=True)
        for key in keys
        if key.domain == domain
    ]


def _services(domain: str, names: ServiceNames) -> Iterable[Wanted]:
    for service, port in names.ports.by_service.items():
        yield Wanted(RecordKind.SRV, f"{service}._tcp.{domain}", "SRV", (f"0 1 {port} {names.client_host}.",))
    yield Wanted(RecordKind.SRV, f"_autodiscover._tcp.{domain}", "SRV", (f"0 1 443 {names.web_host}.",))
