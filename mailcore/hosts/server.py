"""The ports of tenants' service hosts: `https`, certificates by the name that is asked for, and `http`."""

from __future__ import annotations

from mailcore.hosts.app import create_app
from mailcore.net.listener import StartRefused
from mailcore.net.tls import TlsAcceptor
from mailcore.net.web import WebEndpoint
from mailcore.services import MailServices
from mailcore.settings import MailSettings


def endpoints(services: MailServices, settings: MailSettings, tls: TlsAcceptor) -> tuple[WebEndpoint, ...]:
    """Return the ports to listen on; an authority asks the plain one.

    Raises:
        StartRefused: the settings name neither.
    """
    app = create_app(services)
    found = [
        WebEndpoint(name, listen.host, listen.port, app, tls if name == "https" else None)
        for name in ("http", "https")
        if (server := settings.servers.get(name)) is not None
        for listen in server.listen
    ]
    if not found:
        raise StartRefused("hosts: neither EIDER_HTTPS_LISTEN nor EIDER_HTTP_LISTEN is set")
    return tuple(found)
