"""What is served over HTTP for a domain that is proven to be a tenant's: to senders, and to mail programs."""

from __future__ import annotations

from collections.abc import Sequence

from mailcore.errors import DomainInvalid
from mailcore.model import client_settings
from mailcore.model.address import domain_name
from mailcore.model.client_ports import ClientPorts
from mailcore.model.mta_sts import policy_text
from mailcore.services.addresses.domains import Domains


class DomainDocuments:
    """Writes them; what it knows of a domain is up to ten seconds old."""

    def __init__(self, domains: Domains, mx_hosts: Sequence[str], client_host: str, ports: ClientPorts) -> None:
        self._domains = domains
        self._mx_hosts = tuple(mx_hosts)
        self._client_host = client_host
        self._ports = ports

    def sts_policy(self, host: str) -> str | None:
        """Return the policy that `mta-sts.DOMAIN` serves (RFC 8461 §3.2), or None."""
        label, _, name = host.lower().partition(".")
        domain = self._domains.find_verified(name) if label == "mta-sts" else None
        return None if domain is None or domain.sts_mode is None else policy_text(domain.sts_mode, self._mx_hosts)

    def autoconfig(self, host: str, address: str) -> str | None:
        """Return the configuration for an address, or for the domain in the host `autoconfig.DOMAIN`, or None."""
        label, _, name = host.lower().partition(".")
        domain = self.hosted(address.rpartition("@")[2] if address else name if label == "autoconfig" else "")
        return None if domain is None else client_settings.autoconfig(domain, self._client_host, self._ports)

    def autodiscover(self, request: bytes) -> str | None:
        """Return what Outlook is told about the address that it asks for, or None; its XML is searched, never parsed.

        Raises:
            ValueError: it asks for no address.
        """
        address = client_settings.asked_address(request)
        if address is None:
            raise ValueError("no address is asked for")
        if self.hosted(address.rpartition("@")[2]) is None:
            return None
        return client_settings.autodiscover(address, self._client_host, self._ports)

    def autodiscover_url(self, address: str) -> str | None:
        """Return where newer Outlooks find the older form (Autodiscover version 2), or None."""
        domain = self.hosted(address.rpartition("@")[2])
        return None if domain is None else f"https://autodiscover.{domain}/autodiscover/autodiscover.xml"

    def hosted(self, name: str) -> str | None:
        """Return a proven domain in A-labels, or None; whether an address of it exists is nobody's business."""
        try:
            domain = domain_name(name)
        except DomainInvalid:
            return None
        return domain if self._domains.is_verified(domain) else None
