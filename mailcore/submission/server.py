"""The ports of the submission server."""

from __future__ import annotations

from mailcore.model.actions import Connection, Peer, Wake
from mailcore.model.actor import Door
from mailcore.net.listener import Endpoint
from mailcore.net.ports import sign_in_ports
from mailcore.net.tls import TlsAcceptor
from mailcore.services import MailServices
from mailcore.services.accounts.door_session import DoorSession
from mailcore.settings import MailSettings
from mailcore.smtp import replies
from mailcore.smtp.connection import SmtpConnection
from mailcore.submission.policy import SubmissionPolicy


def endpoints(services: MailServices, settings: MailSettings, tls: TlsAcceptor) -> tuple[Endpoint, ...]:
    """Return the ports to listen on: `submission` with STARTTLS, `submissions` with TLS at once (RFC 8314 §3.3)."""
    policy = SubmissionPolicy(services, settings)

    def open_(peer: Peer, wake: Wake, *, plaintext_allowed: bool) -> Connection:
        is_ready = tls.is_ready
        door = DoorSession(
            services, peer, wake, Door.SUBMISSION, plaintext_allowed=plaintext_allowed, offers_tls=is_ready
        )
        return SmtpConnection(policy, peer, is_ready, door)

    refusal = replies.TOO_MANY_CONNECTIONS.to_wire()
    return sign_in_ports("submission", settings, tls, open_, refusal=refusal, refusal_of_address=refusal)
