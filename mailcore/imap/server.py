"""The ports of the IMAP server."""

from __future__ import annotations

from mailcore.imap.connection import ImapConnection
from mailcore.model.actions import Connection, Peer, Wake
from mailcore.net.listener import Endpoint
from mailcore.net.tls import TlsAcceptor
from mailcore.services import MailServices
from mailcore.settings import MailSettings

NAME = "imap"
IMPLICIT_TLS_NAME = "imaps"
TOO_MANY = b"* BYE [UNAVAILABLE] Too many connections, try again later\r\n"
TOO_MANY_OF_ADDRESS = b"* BYE [LIMIT] Too many connections from your address\r\n"


def endpoints(services: MailServices, settings: MailSettings, tls: TlsAcceptor | None) -> tuple[Endpoint, ...]:
    """Return the ports to listen on: `imap` with STARTTLS where there is a certificate, `imaps` with TLS at once."""
    found: list[Endpoint] = []
    for name in (NAME, IMPLICIT_TLS_NAME):
        server = settings.servers.get(name)
        if server is None:
            continue
        plaintext_allowed = server.is_local

        def open_connection(peer: Peer, wake: Wake, *, plaintext_allowed: bool = plaintext_allowed) -> Connection:
            return ImapConnection(
                services, peer, wake, plaintext_allowed=plaintext_allowed, offers_starttls=tls is not None
            )

        found += [
            Endpoint(
                server=NAME,
                host=listen.host,
                port=listen.port,
                open=open_connection,
                tls=tls,
                implicit_tls=name == IMPLICIT_TLS_NAME,
                refusal=TOO_MANY,
                refusal_of_address=TOO_MANY_OF_ADDRESS,
            )
            for listen in server.listen
        ]
    return tuple(found)
