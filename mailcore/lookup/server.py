"""The ports of the recipient lookup."""

from __future__ import annotations

from mailcore.lookup.answers import Answers
from mailcore.lookup.connection import LookupConnection
from mailcore.model.actions import Connection, Peer, Wake
from mailcore.model.peers import Peers, is_loopback
from mailcore.net.listener import Endpoint, StartRefused
from mailcore.net.tls import TlsAcceptor
from mailcore.services import MailServices
from mailcore.settings import MailSettings

NAME = "lookup"


def endpoints(services: MailServices, settings: MailSettings, _tls: TlsAcceptor) -> tuple[Endpoint, ...]:
    """Return the ports to listen on.

    Raises:
        StartRefused: anybody could ask who has an address here: not loopback, and no listed peers.
    """
    server = settings.servers.get(NAME)
    if server is None:
        return ()
    peers = Peers(settings.lookup_peers)
    for listen in server.listen:
        if peers.are_local and not is_loopback(listen.host):
            raise StartRefused(
                f"lookup: {listen.host}:{listen.port} can be reached from outside: "
                "list the transfer agents in EIDER_LOOKUP_PEERS, or listen on 127.0.0.1"
            )
    own_domain = settings.own_domain
    answers = Answers(services.domains, services.resolutions, services.delivery, own_domain)

    def open_connection(_peer: Peer, _wake: Wake) -> Connection:
        return LookupConnection(answers)

    return tuple(
        Endpoint(server=NAME, host=listen.host, port=listen.port, open=open_connection, admit=peers.has)
        for listen in server.listen
    )
