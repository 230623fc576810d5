"""The ports of the ManageSieve server."""

from __future__ import annotations

from mailcore.managesieve.connection import ManageSieveConnection
from mailcore.managesieve.replies import TOO_MANY_CONNECTIONS
from mailcore.model.actions import Connection, Peer, Wake
from mailcore.net.listener import Endpoint
from mailcore.net.ports import sign_in_ports
from mailcore.net.tls import TlsAcceptor
from mailcore.services import MailServices
from mailcore.settings import MailSettings


def endpoints(services: MailServices, settings: MailSettings, tls: TlsAcceptor) -> tuple[Endpoint, ...]:
    """Return the ports to listen on: `managesieve`, with STARTTLS once there is a certificate."""

    def open_(peer: Peer, wake: Wake, *, plaintext_allowed: bool) -> Connection:
        return ManageSieveConnection(
            services, peer, wake, plaintext_allowed=plaintext_allowed, offers_starttls=tls.is_ready
        )

    refusal = TOO_MANY_CONNECTIONS.encode()
    return sign_in_ports("managesieve", settings, tls, open_, refusal=refusal, refusal_of_address=refusal)
