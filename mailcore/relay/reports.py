"""What senders are told of their messages: that they failed, are late, or arrived if they asked (RFC 3461)."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from mailcore.errors import StoreDamaged, UserNotFound
from mailcore.message.delivery_report import Report, ReportedRecipient, ReportKind, build_report
from mailcore.model.actor import Actor, ActorKind, Door
from mailcore.model.limits import OutboundLimits
from mailcore.model.outbound import (
    NewOutbound,
    Notify,
    OutboundEntry,
    OutboundRecipient,
    Reason,
    RecipientState,
    RecipientStatus,
    ReturnContent,
)
from mailcore.services.outbound.dkim import Dkim
from mailcore.services.outbound.outbound_work import Claim, OutboundWork
from mailcore.services.outbound.queueing import Queueing
from mailcore.services.outbound.trace import Step, Trace, TraceRow

log = logging.getLogger(__name__)

RELAY: Final = Actor(ActorKind.SYSTEM, Door.RELAY, "relay")
MOST_RETURNED: Final = 1 << 20
"""A larger message never comes back whole."""


@dataclass(frozen=True, slots=True)
class _Told:
    """A kind of report, and what it leaves behind at a recipient."""

    notify: Notify
    mark: str


FAILED: Final = _Told(Notify.FAILURE, "failed")
DELAYED: Final = _Told(Notify.DELAY, "delayed")
SENT: Final = _Told(Notify.SUCCESS, "sent")


class Reports:
    """Queues reports, each once: its key is made of the message, the kind and the recipients.

    They are signed with the keys of our own domain, where it has any.
    """

    def __init__(
        self,
        queueing: Queueing,
        work: OutboundWork,
        trace: Trace,
        dkim: Dkim,
        limits: OutboundLimits,
        hostname: str,
        own_domain: str,
    ) -> None:
        self._queueing = queueing
        self._work = work
        self._trace = trace
        self._dkim = dkim
        self._limits = limits
        self._hostname = hostname
        self._own_domain = own_domain

    def report(self, claim: Claim) -> None:
        """Tell the sender whatever is due, and mark it told; nobody is told of mail from the null reverse-path.

        Raises:
            StoreUnavailable, StoreFull: a report could not be signed or queued: it is due again with the entry.
            LeaseLost: another relay has the entry.
        """
        if not claim.entry.reverse_path:
            return
        for told in (FAILED, DELAYED, SENT):
            about = {number: status for number, status in claim.recipients() if self._is_due(claim, status, told)}
            if about:
                try:
                    self._queue(claim, about, told)
                except UserNotFound:
                    log.warning("relay.nobody_to_report_for", extra={"queue_id": claim.entry.id})
                marked = {
                    number: replace(status, reported=status.reported | {told.mark}) for number, status in about.items()
                }
                self._work.record(claim, marked)

    def is_any_due(self, claim: Claim, entry: OutboundEntry) -> bool:
        """Whether the sender is to be told something, once the entry is as given."""
        return bool(entry.reverse_path) and any(
            self._is_due(claim, status, told) for status in entry.recipients for told in (FAILED, DELAYED, SENT)
        )

    def _is_due(self, claim: Claim, status: RecipientStatus, told: _Told) -> bool:
        if told.mark in status.reported or not status.wants(told.notify):
            return False
        if told is FAILED:
            return status.state is RecipientState.FAILED
        if told is SENT:
            return status.state is RecipientState.SENT and not status.relayed_dsn
        late = claim.entry.created_at + timedelta(seconds=self._limits.warning_s)
        return status.state is RecipientState.QUEUED and status.attempts > 0 and claim.now() >= late

    def _queue(self, claim: Claim, about: dict[int, RecipientStatus], told: _Told) -> None:
        entry = claim.entry
        try:
            returned = b"".join(self._work.content(claim).read())
        except StoreDamaged:
            returned = b""  # the sender is to hear of it all the same
        asked = entry.return_content
        fits = entry.size_bytes <= (MOST_RETURNED if asked is ReturnContent.FULL else self._limits.returned_bytes)
        report = Report(
            reporting_host=self._hostname,
            sender=entry.reverse_path,
            at=claim.now(),
            arrived_at=entry.created_at,
            queue_id=entry.id,
            message_id=entry.header_message_id,
            recipients=[self._about(claim, status, told) for status in about.values()],
            returned=returned,
            is_whole=told is FAILED and asked is not ReturnContent.HEADERS and fits,
            envelope_id=entry.envelope_id,
        )
        message = build_report(report)
        numbers = ",".join(map(str, sorted(about)))
        queue_id = self._queueing.enqueue(
            NewOutbound(
                user_id=entry.user_id,
                tenant_id=entry.tenant_id,
                reverse_path="",
                forward_paths=(OutboundRecipient(entry.reverse_path, frozenset()),),
                message=self._dkim.sign_for_host(self._own_domain, message) + message,
                reason=Reason.REPORT,
                key=f"report\0{entry.id}\0{told.mark}\0{numbers}".encode(),
                is_utf8=not entry.reverse_path.isascii(),
            ),
            RELAY,
        )
        for status in about.values():
            self._trace.note(
                entry.tenant_id,
                TraceRow(
                    Step.REPORTED,
                    entry.id,
                    entry.header_message_id,
                    entry.reverse_path,
                    status.address,
                    entry.user_id,
                    {"report": told.mark, "report_queue_id": queue_id},
                ),
            )
        log.info("relay.reported", extra={"queue_id": entry.id, "report": told.mark, "report_queue_id": queue_id})

    def _about(self, claim: Claim, status: RecipientStatus, told: _Told) -> ReportedRecipient:
        answer = status.answer
        assert answer is not None, "nobody is told of what was not tried"
        kind = {
            "failed": ReportKind.FAILED,
            "delayed": ReportKind.DELAYED,
            "sent": ReportKind.DELIVERED if status.is_local else ReportKind.RELAYED,
        }[told.mark]
        return ReportedRecipient(
            address=status.address,
            kind=kind,
            status=answer.enhanced,
            original=status.original_recipient,
            diagnostic=f"{answer.code} {answer.enhanced} {answer.text}" if answer.code else "",
            remote=answer.remote,
            text=answer.text,
            last_attempt_at=status.last_at,
            retried_until=claim.entry.expires_at if told is DELAYED else None,
        )
