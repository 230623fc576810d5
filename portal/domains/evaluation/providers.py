"""How records of other mail providers look, so that leftovers can be named."""

from __future__ import annotations

import ipaddress
from typing import Final

PROVIDERS: Final = {
    "Google": ("google.com", "googlemail.com", "psmtp.com"),
    "Microsoft 365": ("outlook.com", "office365.com", "microsoftonline.com", "lync.com"),
    "Zoho": ("zoho.com", "zoho.eu", "zohomail.com", "zohomail.eu"),
    "Fastmail": ("messagingengine.com", "fastmail.com"),
    "Proton": ("protonmail.ch", "proton.me", "protonmail.com"),
    "Migadu": ("migadu.com",),
    "Yahoo": ("yahoodns.net", "yahoo.com"),
    "iCloud": ("icloud.com",),
    "IONOS": ("ionos.com", "ionos.de", "1and1.com", "1und1.de", "kundenserver.de", "ui-dns.com"),
    "STRATO": ("rzone.de", "strato.de"),
    "GoDaddy": ("secureserver.net",),
    "Namecheap": ("privateemail.com", "registrar-servers.com"),
    "OVHcloud": ("ovh.net", "ovh.com"),
    "Gandi": ("gandi.net",),
    "Rackspace": ("emailsrvr.com",),
    "Hetzner": ("your-server.de",),
    "mailbox.org": ("mailbox.org",),
    "Mimecast": ("mimecast.com",),
    "Proofpoint": ("pphosted.com",),
}
"""Name -> domains under which its hosts are."""

ANOTHER_HOST: Final = "another host"
"""What a provider is called that is none of these."""

PROXIES: Final = {
    "Cloudflare": tuple(
        ipaddress.ip_network(network)
        for network in (
            "103.21.244.0/22", "103.22.200.0/22", "103.31.4.0/22", "104.16.0.0/13", "104.24.0.0/14", "108.162.192.0/18",
            "131.0.72.0/22", "141.101.64.0/18", "162.158.0.0/15", "172.64.0.0/13", "173.245.48.0/20", "188.114.96.0/20",
            "190.93.240.0/20", "197.234.240.0/22", "198.41.128.0/17", "2400:cb00::/32", "2606:4700::/32",
            "2803:f800::/32", "2405:b500::/32", "2405:8100::/32", "2a06:98c0::/29", "2c0f:f248::/32",
        )
    ),
}  # fmt: skip
"""Networks that answer in place of a host, and pass on web traffic only."""


def provider_of(host: str) -> str | None:
    """Return whose host that is, if it is known."""
    for provider, domains in PROVIDERS.items():
        if any(f".{host}".endswith(f".{domain}") for domain in domains):
            return provider
    return None


def proxy_of(address: str) -> str | None:
    """Return which proxy an address belongs to, if it is known."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return None
    for proxy, networks in PROXIES.items():
        if any(ip in network for network in networks):
            return proxy
    return None
