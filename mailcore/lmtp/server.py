"""The ports of the LMTP server."""

from __future__ import annotations

from mailcore.lmtp.policy import LmtpPolicy
from mailcore.model.actions import Connection, Peer, Wake
from mailcore.model.peers import Peers, is_loopback
from mailcore.net.listener import Endpoint, StartRefused
from mailcore.net.tls import TlsAcceptor
from mailcore.services import MailServices
from mailcore.settings import MailSettings
from mailcore.smtp import replies
from mailcore.smtp.connection import SmtpConnection

NAME = "lmtp"


def endpoints(services: MailServices, settings: MailSettings, tls: TlsAcceptor) -> tuple[Endpoint, ...]:
    """Return the ports to listen on.

    Raises:
        StartRefused: anybody could deliver: not loopback, no listed peers, no client certificates.
    """
    server = settings.servers.get(NAME)
    if server is None:
        return ()
    authority = settings.lmtp_client_authority_pem
    acceptor = tls
    if authority is not None:
        acceptor = TlsAcceptor(services.certificates.certificate, authority)
        if not acceptor.look():
            raise StartRefused("lmtp: EIDER_LMTP_CLIENT_CA is set, but the server has no certificate of its own")
    if authority is None and Peers(settings.lmtp_peers).are_local:
        for listen in server.listen:
            if not is_loopback(listen.host):
                raise StartRefused(
                    f"lmtp: {listen.host}:{listen.port} can be reached from outside: "
                    "list the transfer agents in EIDER_LMTP_PEERS, or set EIDER_LMTP_CLIENT_CA, or listen on 127.0.0.1"
                )
    policy = LmtpPolicy(services.delivery, services.spam, settings, services.trace)

    def open_connection(peer: Peer, _wake: Wake) -> Connection:
        return SmtpConnection(policy, peer, acceptor.is_ready)

    return tuple(
        Endpoint(
            server=NAME,
            host=listen.host,
            port=listen.port,
            open=open_connection,
            tls=acceptor,
            refusal=replies.TOO_MANY_CONNECTIONS.to_wire(),
            admit=policy.is_listed if authority is None else None,
        )
        for listen in server.listen
    )
