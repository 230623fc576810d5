"""Who may send: whoever is signed in, as themselves; the message goes to the submission service."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from mailcore import log, metrics
from mailcore.errors import AddressInvalid
from mailcore.model.actions import Peer, Tls
from mailcore.model.outbound import OutboundRecipient
from mailcore.services import MailServices
from mailcore.services.accounts.door_session import DoorSession
from mailcore.services.outbound.submission import Sender, Submitted, Taken
from mailcore.settings import MailSettings
from mailcore.smtp.transaction import Origin, Transaction
from mailcore.smtp.wire import future_release
from mailcore.smtp.wire.path import Path
from mailcore.smtp.wire.replies import Reply

logger = logging.getLogger(__name__)


class SubmissionPolicy:
    """Takes mail of users for anybody."""

    hello_verb = "EHLO"
    protocol = "ESMTP"
    software = "ESMTP Eider ready"
    refuses_bare_line_ends = True

    def __init__(self, services: MailServices, settings: MailSettings) -> None:
        """Take messages by the services."""
        self._submission = services.submission
        self.hostname = settings.hostname
        self.message_bytes = settings.limits.message_bytes
        self.recipients = settings.limits.recipients

    @property
    def extensions(self) -> tuple[str, ...]:
        """What is announced besides what LMTP has too."""
        return ("DSN", future_release.announcement(datetime.now(UTC)))

    def may_transact(self, peer: Peer, tls: Tls | None) -> Reply | None:
        """Let everybody who is signed in; MAIL asks for that itself."""
        del peer, tls
        return None

    def may_forward(self, peer: Peer, tls: Tls | None) -> bool:
        """Believe nobody what another client said."""
        del peer, tls
        return False

    def sender(self, transaction: Transaction[None], origin: Origin) -> None:
        """Check the reverse-path; one that is rewritten is so here.

        Raises:
            SenderNotOwned, StoreUnavailable: it is not the user's, or that is not known now.
        """
        path = transaction.reverse_path
        if path is None:
            return
        allowed = self._submission.reverse_path(_sender(_signed_in(origin)), path.address)
        if allowed != path.address:
            local_part, _, domain = allowed.rpartition("@")
            transaction.reverse_path = Path(local_part, domain)
            transaction.is_utf8 = transaction.is_utf8 or not transaction.reverse_path.is_ascii

    def recipient(self, path: Path, transaction: Transaction[None]) -> None:
        """Take every address; whether somebody is there is for the relay to find out.

        Raises:
            AddressInvalid: the bare Postmaster, who is nobody's in particular.
        """
        del transaction
        if not path.domain:
            raise AddressInvalid("an address needs a domain")

    def replies_due(self, transaction: Transaction[None]) -> int:
        """One for the whole message (RFC 5321 §4.1.1.4)."""
        del transaction
        return 1

    def accept(self, message: bytes, transaction: Transaction[None], origin: Origin) -> Iterator[Reply]:
        """Hand the message over; the reply names it for the client's log, and for whoever looks for it later."""
        began_s = time.monotonic()
        door = _signed_in(origin)
        taken = self._submission.submit(door.actor, _sender(door), _submitted(message, transaction, origin))
        assert door.identity is not None
        metrics.SUBMISSIONS.inc("held" if taken.held else "queued")
        metrics.SUBMISSION_SECONDS.observe(time.monotonic() - began_s)
        logger.info(
            "submission.taken",
            extra={
                "queue_id": taken.queue_id,
                "message_id": taken.message_id,
                "reverse_path": transaction.reverse_path.address if transaction.reverse_path else "",
                "recipients": len(transaction.recipients),
                "size_bytes": len(message),
                "held": taken.held or "",
                "in_sent": taken.is_in_sent,
                "fields": log.bound(),
            },
        )
        yield _reply(taken, str(door.identity.tenant_id))


def _signed_in(origin: Origin) -> DoorSession:
    """Return whose session it is; MAIL lets nobody else come here."""
    assert origin.signed_in is not None
    return origin.signed_in


def _sender(door: DoorSession) -> Sender:
    identity = door.identity
    assert identity is not None
    return Sender(identity.user_id, identity.tenant_id, identity.address)


def _submitted(message: bytes, transaction: Transaction[None], origin: Origin) -> Submitted:
    return Submitted(
        raw=message,
        reverse_path=transaction.reverse_path.address if transaction.reverse_path else "",
        recipients=[
            OutboundRecipient(accepted.path.address, accepted.notify, accepted.original_recipient)
            for accepted in transaction.recipients
        ],
        with_protocol=origin.with_protocol,
        return_content=transaction.return_content,
        envelope_id=transaction.envelope_id,
        hold_until=transaction.hold_until,
        hold_for_s=transaction.hold_for_s,
        is_utf8=transaction.is_utf8,
    )


def _reply(taken: Taken, tenant_id: str) -> Reply:
    message_id = f" message {taken.message_id}" if taken.message_id else ""
    state = "queued" if taken.held is None else "held"
    return Reply.of(250, "2.0.0", f"OK {state} as {taken.queue_id} tenant {tenant_id}{message_id}")
