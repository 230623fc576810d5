"""The ports of the POP3 server."""

from __future__ import annotations

from mailcore.model.actions import Connection, Peer, Wake
from mailcore.net.listener import Endpoint
from mailcore.net.ports import sign_in_ports
from mailcore.net.tls import TlsAcceptor
from mailcore.pop3.connection import Pop3Connection
from mailcore.pop3.replies import TOO_MANY_CONNECTIONS
from mailcore.services import MailServices
from mailcore.settings import MailSettings


def endpoints(services: MailServices, settings: MailSettings, tls: TlsAcceptor) -> tuple[Endpoint, ...]:
    """Return the ports to listen on: `pop3` with STLS once there is a certificate, `pop3s` with TLS at once."""

    def open_(peer: Peer, wake: Wake, *, plaintext_allowed: bool) -> Connection:
        return Pop3Connection(services, peer, wake, plaintext_allowed=plaintext_allowed, offers_stls=tls.is_ready)

    refusal = TOO_MANY_CONNECTIONS.encode()
    return sign_in_ports("pop3", settings, tls, open_, refusal=refusal, refusal_of_address=refusal)
