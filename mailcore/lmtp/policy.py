"""Who may be delivered to, and the hand-over of a message to the delivery service."""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import replace

from mailcore import metrics
from mailcore.errors import MessageRejected, OverQuota
from mailcore.model.actions import Peer, Tls
from mailcore.model.actor import Actor, ActorKind, Door
from mailcore.model.ids import TenantId
from mailcore.model.peers import Peers
from mailcore.services.addresses.resolution import Resolution
from mailcore.services.inbound.delivery import Delivery, DeliveryResult, DeliveryTarget
from mailcore.services.inbound.spam import Envelope, Spam
from mailcore.services.outbound.trace import Step, Trace, TraceRow
from mailcore.settings import MailSettings
from mailcore.smtp import replies, trace
from mailcore.smtp.transaction import Origin, Transaction
from mailcore.smtp.wire.path import Path
from mailcore.smtp.wire.replies import Reply

CERTIFICATE_NEEDED = Reply.of(530, "5.7.0", "Begin TLS with a client certificate first")

MESSAGE_ID = re.compile(rb"^message-id:[ \t]*<([^<>\s]{1,998})>", re.IGNORECASE | re.MULTILINE)
HEADER_LOOKED_AT = 64 * 1024
ROUTE_AGE_S = 2.0
"""So old may be what is known of a user's address; a transaction takes it for true much longer than that anyway."""

logger = logging.getLogger(__name__)


class LmtpPolicy:
    """LMTP for our own mail transfer agents: everybody who gets this far is one of them."""

    hello_verb = "LHLO"
    protocol = "LMTP"
    software = "LMTP Eider ready"
    extensions: tuple[str, ...] = ()
    refuses_bare_line_ends = False

    def __init__(self, delivery: Delivery, spam: Spam, settings: MailSettings, steps: Trace | None = None) -> None:
        """Screen by `spam` and deliver through `delivery`; trust the peers that `settings` lists; note `steps`."""
        self._delivery = delivery
        self._spam = spam
        self._steps = steps
        self._peers = Peers(settings.lmtp_peers)
        self.hostname = settings.hostname
        self.message_bytes = settings.limits.message_bytes
        self.recipients = settings.limits.recipients

    def is_listed(self, address: str) -> bool:
        """Whether a peer may deliver by its address alone."""
        return self._peers.has(address)

    def may_transact(self, peer: Peer, tls: Tls | None) -> Reply | None:
        """Let listed peers and holders of a client certificate deliver."""
        if self.is_listed(peer.address) or (tls is not None and tls.client_name is not None):
            return None
        return CERTIFICATE_NEEDED

    def may_forward(self, peer: Peer, tls: Tls | None) -> bool:
        """Believe XFORWARD of whoever may deliver."""
        return self.may_transact(peer, tls) is None

    def sender(self, transaction: Transaction[Resolution], origin: Origin) -> None:
        """Take mail from everybody: that was the transfer agent's question."""

    def recipient(self, path: Path, transaction: Transaction[Resolution]) -> Resolution:
        """Look the address up; the bare postmaster is ours (RFC 5321 §4.5.1).

        Raises:
            AddressNotFound, UserDisabled, PostingRefused, OverQuota, StoreUnavailable: it gets no mail (now).
        """
        address = path.address if path.domain else f"postmaster@{self.hostname}"
        sender = transaction.reverse_path.address if transaction.reverse_path else None
        return self._delivery.resolve(address, sender, max_age_s=ROUTE_AGE_S)

    def replies_due(self, transaction: Transaction[Resolution]) -> int:
        """One for each accepted recipient (RFC 2033 §4.2)."""
        return len(transaction.recipients)

    def accept(self, message: bytes, transaction: Transaction[Resolution], origin: Origin) -> Iterator[Reply]:
        """Deliver to each recipient and answer after each commit."""
        began_s = time.monotonic()
        transaction_id = secrets.token_hex(8)
        actor = Actor(
            kind=ActorKind.MTA,
            door=Door.LMTP,
            identity=origin.hello_name,
            remote_address=origin.address,
            request_id=origin.session,
        )
        reverse_path = transaction.reverse_path.address if transaction.reverse_path else ""
        screened = self._spam.screen(message, _envelope(transaction, origin, reverse_path))
        targets = self._targets(transaction, origin, transaction_id, screened.trace)
        outcomes: list[str] = []
        answered: list[tuple[Resolution, str, Reply]] = []
        try:
            results = self._delivery.deliver(
                screened.raw, targets, origin.queue_id, actor, reverse_path, screened.verdict
            )
            for accepted, result in zip(transaction.recipients, results, strict=True):
                reply = _reply(accepted.path.address, result)
                outcomes.append(f"{accepted.path.address} {reply.code} {reply.enhanced}")
                metrics.DELIVERIES.inc(reply.enhanced)
                answered.append((accepted.handle, accepted.path.address, reply))
                yield reply
        finally:  # also when the client is gone before it has heard every reply: it will send again
            metrics.RECEIVED_BYTES.inc(by=len(message))
            self._note(message, reverse_path, origin, answered)
            metrics.DELIVERY_SECONDS.observe(time.monotonic() - began_s)
            logger.info(
                "lmtp.message",
                extra={
                    "id": transaction_id,
                    "queue_id": origin.queue_id,
                    "reverse_path": reverse_path,
                    "size_bytes": len(message),
                    "recipients": outcomes,
                },
            )

    def _note(
        self, message: bytes, reverse_path: str, origin: Origin, answered: list[tuple[Resolution, str, Reply]]
    ) -> None:
        """Tell the trace: one row for all recipients of a tenant that were answered alike."""
        if self._steps is None:
            return
        alike: dict[tuple[TenantId, Reply], list[str]] = {}
        for resolution, address, reply in answered:
            tenant_id = resolution.tenant_id
            if tenant_id is not None:
                alike.setdefault((tenant_id, reply), []).append(address)
        found = MESSAGE_ID.search(message, 0, HEADER_LOOKED_AT)
        message_id = found[1].decode("ascii", "replace") if found is not None else ""
        for (tenant_id, reply), (first, *others) in alike.items():
            step = Step.DELIVERED if reply.code < 300 else Step.DEFERRED if reply.code < 500 else Step.REFUSED
            detail = {"answer": f"{reply.code} {reply.enhanced} {' '.join(reply.lines)}", "from": origin.address}
            row = TraceRow(step, origin.queue_id or "", message_id, reverse_path, first, None, detail)
            self._steps.note(tenant_id, replace(row, others=tuple(others)))

    def _targets(
        self, transaction: Transaction[Resolution], origin: Origin, transaction_id: str, verdict: bytes
    ) -> list[DeliveryTarget]:
        """Give each recipient its own trace headers."""
        accepted = transaction.recipients
        sole_recipient = accepted[0].path.address if len(accepted) == 1 else None
        above = trace.return_path(transaction.reverse_path)
        below = trace.received(origin, self.hostname, transaction_id, sole_recipient, int(time.time())) + verdict
        return [DeliveryTarget(each.handle, above + trace.delivered_to(each.path.address) + below) for each in accepted]


def _envelope(transaction: Transaction[Resolution], origin: Origin, reverse_path: str) -> Envelope:
    """Return what the spam filter is told of how a message came."""
    return Envelope(
        peer=origin.address,
        queue_id=origin.queue_id,
        client_address=origin.forwarded.get("ADDR", ""),
        hello_name=origin.forwarded.get("HELO", ""),
        reverse_path=reverse_path,
        forward_paths=tuple(accepted.path.address for accepted in transaction.recipients),
    )


def _reply(address: str, result: DeliveryResult) -> Reply:
    """Turn what became of a message for one address into its reply."""
    error = result.error
    if error is None:
        return replies.OK
    if not isinstance(error, (OverQuota, MessageRejected)):
        logger.warning(
            "lmtp.delivery.failed",
            extra={"recipient": address, "error": type(error).__name__, "details": error.details},
        )
    return replies.reply_for(error)
