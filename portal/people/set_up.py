"""How mail programs and phones are set up: servers, ports, and a code to be read by a phone's camera."""

from __future__ import annotations

from dataclasses import dataclass

import segno

from mailcore.settings import MailSettings


@dataclass(frozen=True, slots=True)
class Server:
    """One server as a program asks for it; TLS from the start (RFC 8314 §3)."""

    kind: str
    host: str
    port: int


def servers(settings: MailSettings) -> list[Server]:
    """Return where programs connect to."""
    host, ports = settings.client_host or settings.hostname, settings.client_ports
    return [
        Server("IMAP", host, ports.imaps),
        Server("SMTP", host, ports.submissions),
        Server("POP3", host, ports.pop3s),
    ]


def qr_code(text: str) -> str:
    """Return a QR code as an address for an image; black on white, whatever the colours of the page."""
    return str(segno.make(text, error="m").svg_data_uri(border=2, scale=6, dark="#000", light="#fff"))
