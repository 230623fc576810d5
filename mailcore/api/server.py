"""The port of the API."""

from __future__ import annotations

from mailcore.api.app import create_app
from mailcore.net.memory import give_back_large_blocks
from mailcore.net.tls import TlsAcceptor
from mailcore.net.web import WebEndpoint
from mailcore.services import MailServices
from mailcore.settings import MailSettings


def endpoints(services: MailServices, settings: MailSettings, _: TlsAcceptor) -> tuple[WebEndpoint, ...]:
    """Return the ports to listen on: plain HTTP; TLS ends at the load balancer."""
    server = settings.servers.get("api")
    if server is None:
        return ()
    give_back_large_blocks()
    app = create_app(services)
    return tuple(WebEndpoint("api", listen.host, listen.port, app) for listen in server.listen)
