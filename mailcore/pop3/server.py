"""The ports of the POP3 server."""

from __future__ import annotations

from mailcore.model.actions import Connection, Peer, Wake
from mailcore.net.listener import Endpoint
from mailcore.net.tls import TlsAcceptor
from mailcore.pop3.connection import Pop3Connection
from mailcore.pop3.replies import TOO_MANY_CONNECTIONS
from mailcore.services import MailServices
from mailcore.settings import MailSettings

NAME = "pop3"
IMPLICIT_TLS_NAME = "pop3s"


def endpoints(services: MailServices, settings: MailSettings, tls: TlsAcceptor | None) -> tuple[Endpoint, ...]:
    """Return the ports to listen on: `pop3` with STLS where there is a certificate, `pop3s` with TLS at once."""
    found: list[Endpoint] = []
    for name in (NAME, IMPLICIT_TLS_NAME):
        server = settings.servers.get(name)
        if server is None:
            continue
        plaintext_allowed = server.is_local

        def open_connection(peer: Peer, wake: Wake, *, plaintext_allowed: bool = plaintext_allowed) -> Connection:
            return Pop3Connection(
                services, peer, wake, plaintext_allowed=plaintext_allowed, offers_stls=tls is not None
            )

        found += [
            Endpoint(
                server=NAME,
                host=listen.host,
                port=listen.port,
                open=open_connection,
                tls=tls,
                implicit_tls=name == IMPLICIT_TLS_NAME,
                refusal=TOO_MANY_CONNECTIONS.encode(),
            )
            for listen in server.listen
        ]
    return tuple(found)
