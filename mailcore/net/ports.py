"""Ports where people sign in: one in clear with an upgrade, one with TLS at once (RFC 8314)."""

from __future__ import annotations

from typing import Protocol

from mailcore.model.actions import Connection, Peer, Wake
from mailcore.net.listener import Endpoint
from mailcore.net.tls import TlsAcceptor
from mailcore.settings import MailSettings


class OpenSignIn(Protocol):
    """Makes the connection for a client that has come."""

    def __call__(self, peer: Peer, wake: Wake, *, plaintext_allowed: bool) -> Connection:
        """Return it; `plaintext_allowed` where only this machine can connect."""


def sign_in_ports(
    name: str,
    settings: MailSettings,
    tls: TlsAcceptor,
    open_: OpenSignIn,
    *,
    refusal: bytes,
    refusal_of_address: bytes,
) -> tuple[Endpoint, ...]:
    """Return the endpoints that the settings name for `name`, and with TLS at once for `name` + "s"."""
    found: list[Endpoint] = []
    for port_name in (name, name + "s"):
        server = settings.servers.get(port_name)
        if server is None:
            continue

        def open_connection(peer: Peer, wake: Wake, *, plaintext_allowed: bool = server.is_local) -> Connection:
            return open_(peer, wake, plaintext_allowed=plaintext_allowed)

        found += [
            Endpoint(
                server=name,
                host=listen.host,
                port=listen.port,
                open=open_connection,
                tls=tls,
                implicit_tls=port_name != name,
                refusal=refusal,
                refusal_of_address=refusal_of_address,
            )
            for listen in server.listen
        ]
    return tuple(found)
