"""What mail programs are told about our servers, in the three forms that they ask for. No I/O."""

from __future__ import annotations

import re
from html import escape
from typing import Final

from mailcore.model.client_ports import ClientPorts

_ADDRESS: Final = re.compile(rb"<(?:\w+:)?EMailAddress>\s*([^<>\s]{3,320})\s*</", re.IGNORECASE)
_RESPONSE: Final = "http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a"


def autoconfig(domain: str, host: str, ports: ClientPorts) -> str:
    """Return the configuration that Thunderbird and others fetch (their config-v1.1 format)."""
    servers = [
        ("incoming", "imap", ports.imaps, "SSL"),
        ("incoming", "pop3", ports.pop3s, "SSL"),
        ("outgoing", "smtp", ports.submissions, "SSL"),
        ("outgoing", "smtp", ports.submission, "STARTTLS"),
    ]
    entries = "".join(
        f'    <{way}Server type="{kind}">\n'
        f"      <hostname>{escape(host)}</hostname>\n"
        f"      <port>{port}</port>\n"
        f"      <socketType>{security}</socketType>\n"
        "      <username>%EMAILADDRESS%</username>\n"
        "      <authentication>password-cleartext</authentication>\n"
        f"    </{way}Server>\n"
        for way, kind, port, security in servers
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<clientConfig version="1.1">\n'
        f'  <emailProvider id="{escape(domain)}">\n'
        f"    <domain>{escape(domain)}</domain>\n"
        f"    <displayName>{escape(domain)}</displayName>\n"
        f"    <displayShortName>{escape(domain)}</displayShortName>\n"
        f"{entries}  </emailProvider>\n</clientConfig>\n"
    )


def asked_address(body: bytes) -> str | None:
    """Return the address that an Autodiscover request is about; its XML is searched, never parsed."""
    found = _ADDRESS.search(body)
    return None if found is None else found[1].decode("utf-8", "replace")


def autodiscover(address: str, host: str, ports: ClientPorts) -> str:
    """Return what Outlook is told (MS-OXDSCLI §2.2.4, POX)."""
    protocols = "".join(
        f"      <Protocol>\n        <Type>{kind}</Type>\n        <Server>{escape(host)}</Server>\n"
        f"        <Port>{port}</Port>\n        <DomainRequired>off</DomainRequired>\n"
        f"        <LoginName>{escape(address)}</LoginName>\n        <SPA>off</SPA>\n        <SSL>on</SSL>\n"
        "        <AuthRequired>on</AuthRequired>\n      </Protocol>\n"
        for kind, port in (("IMAP", ports.imaps), ("POP3", ports.pop3s), ("SMTP", ports.submissions))
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        '<Autodiscover xmlns="http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006">\n'
        f'  <Response xmlns="{_RESPONSE}">\n    <Account>\n      <AccountType>email</AccountType>\n'
        f"      <Action>settings</Action>\n{protocols}    </Account>\n  </Response>\n</Autodiscover>\n"
    )
