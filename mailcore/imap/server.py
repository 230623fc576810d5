"""The ports of the IMAP server."""

from __future__ import annotations

from mailcore.imap.connection import ImapConnection
from mailcore.model.actions import Connection, Peer, Wake
from mailcore.net.listener import Endpoint
from mailcore.net.ports import sign_in_ports
from mailcore.net.tls import TlsAcceptor
from mailcore.services import MailServices
from mailcore.settings import MailSettings

TOO_MANY = b"* BYE [UNAVAILABLE] Too many connections, try again later\r\n"
TOO_MANY_OF_ADDRESS = b"* BYE [LIMIT] Too many connections from your address\r\n"


def endpoints(services: MailServices, settings: MailSettings, tls: TlsAcceptor) -> tuple[Endpoint, ...]:
    """Return the ports to listen on: `imap` with STARTTLS once there is a certificate, `imaps` with TLS at once."""

    def open_(peer: Peer, wake: Wake, *, plaintext_allowed: bool) -> Connection:
        return ImapConnection(services, peer, wake, plaintext_allowed=plaintext_allowed, offers_starttls=tls.is_ready)

    return sign_in_ports("imap", settings, tls, open_, refusal=TOO_MANY, refusal_of_address=TOO_MANY_OF_ADDRESS)
