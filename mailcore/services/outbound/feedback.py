"""Complaints: reports of other services that one of their users took mail from here for abuse (RFC 5965, RFC 6650).

A report is believed as far as it carries a mark of ours, which names the sender and the queue id; whom the message went
to is known from its trace, not from the report. The address is then suppressed for the sender's tenant, once. A report
that says anything else (forged, too old, of somebody whom the message did not go to) changes nothing.

Whoever sees a message, in the archive of a list too, sees its mark: toward a hold of the sender's mail only those
reports count that are signed for the recipient's domain, or by a service that the operator takes reports from.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from mailcore.errors import TenantNotFound, UserNotFound
from mailcore.message.authentication_results import own_results
from mailcore.message.feedback_report import FeedbackReport, read_feedback_report
from mailcore.metrics import Tally
from mailcore.model.ids import TenantId
from mailcore.model.outbound import QueueId
from mailcore.model.reputation import Fate
from mailcore.services.events.audit import Audit
from mailcore.services.inbound.arrival import Arrival
from mailcore.services.outbound.origin_marks import OriginMarks
from mailcore.services.outbound.reputation import Reputation
from mailcore.services.outbound.suppressions import Suppressions
from mailcore.services.outbound.trace import Step, Trace, TraceRow
from mailcore.services.process.clock import now
from mailcore.store.placement import Home, Placement

log = logging.getLogger(__name__)

FEEDBACK = Tally("eider_feedback_reports", "Reports of other services about mail from here", ("outcome",))
COMPLAINTS: Final = frozenset({"abuse", "fraud", "virus", "other", "opt-out", "opt-out-list"})
"""What the report may be for to count; `not-spam` and `auth-failure` are no complaints."""
MOST_BYTES: Final = 16 << 20
"""A larger report is not looked into."""
KEPT: Final = timedelta(days=400)
_FREE_TEXT: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|\([^()]*\)')
"""What others have a say in: quoted local parts, comments."""
_SIGNED: Final = re.compile(rb"(?:^|;)\s*dkim\s*=\s*pass\b[^;]*?\sheader\.(?:d=|i=[^\s;@]*@)([a-z0-9.-]+)")


@dataclass(frozen=True, slots=True)
class ComplaintRate:
    """How many of the messages that a tenant sent since an instant somebody complained of."""

    complaints: int
    sent: int
    """Counted for each recipient."""


class Feedback:
    """Takes reports, and counts complaints."""

    def __init__(
        self,
        placement: Placement,
        marks: OriginMarks,
        trace: Trace,
        suppressions: Suppressions,
        audit: Audit,
        reputation: Reputation,
        authserv_id: str,
        reporters: frozenset[str] = frozenset(),
    ) -> None:
        self._reporters = reporters
        self._reputation = reputation
        self._placement = placement
        self._marks = marks
        self._trace = trace
        self._suppressions = suppressions
        self._audit = audit
        self._authserv_id = authserv_id

    def take(self, arrival: Arrival) -> None:
        """Act on a message to a feedback address if it is a report of our mail; the same report again does nothing new.

        Raises:
            StoreUnavailable, StoreFull: not all was written down; the same delivery again is safe.
        """
        outcome = self._outcome(arrival)
        FEEDBACK.inc(outcome)
        log.info("feedback.report", extra={"outcome": outcome, "request": arrival.actor.request_id})

    def rate(self, tenant_id: TenantId, since: datetime) -> ComplaintRate:
        """Return how many complaints a tenant's mail has caused; two round trips. `since` is at most 30 days ago."""
        shard = self._placement.shard(self._placement.tenant(tenant_id).home_shard)
        sent = shard.trace.count(tenant_id, Step.SENT.value, since)
        return ComplaintRate(shard.complaints.count(tenant_id, since), sent)

    def _outcome(self, arrival: Arrival) -> str:
        if len(arrival.raw) > MOST_BYTES:
            return "too_large"
        report = read_feedback_report(arrival.raw, arrival.prepared.tree)
        if report is None:
            return "no_report"
        if report.kind not in COMPLAINTS:
            return "no_complaint"
        origin = self._marks.find(report.header)
        if origin is None:
            return "not_ours"
        user_id, queue_id = origin
        try:
            home = self._placement.home(user_id)
            rows = self._trace.search(home.tenant_id, queue_id=queue_id, limit=1000)
        except (UserNotFound, TenantNotFound):
            return "sender_gone"
        sent = {address for row in rows if row.step is Step.SENT for address in (row.recipient, *row.others)}
        signers = _signers(own_results(arrival.header, self._authserv_id))
        recipient = _complainant(report, sorted(sent), signers)
        if recipient is None:
            return "unknown_recipient"
        first = next(row for row in rows if row.step is Step.SENT)
        outcome = self._complain(arrival, home, queue_id, first, recipient, report)
        if outcome == "complaint" and self._is_vouched_for(recipient, signers):
            self._reputation.note(home.tenant_id, home.user_id, Fate.COMPLAINED)
        return outcome

    def _is_vouched_for(self, recipient: str, signers: Iterable[str]) -> bool:
        """Whether a report is the recipient's own service's, not of anybody who has seen the message."""
        return any(one in self._reporters or _are_related(_domain(recipient), one) for one in signers)

    def _complain(
        self, arrival: Arrival, home: Home, queue_id: QueueId, sent: TraceRow, recipient: str, report: FeedbackReport
    ) -> str:
        complaints = self._placement.shard(self._placement.tenant(home.tenant_id).home_shard).complaints
        if complaints.is_known(home.tenant_id, queue_id, recipient):
            return "repeated"
        self._suppressions.note_complaint(home.tenant_id, recipient, report.kind, queue_id)
        details = {"queue_id": queue_id, "recipient": recipient, "kind": report.kind, "reporter": report.reporter}
        with self._audit.of_user(arrival.actor, "feedback.complaint", home.user_id, details):
            complaints.add(home.tenant_id, home.user_id, queue_id, recipient, now(), KEPT)
        row = TraceRow(
            Step.COMPLAINED,
            queue_id,
            sent.message_id,
            sent.sender,
            recipient,
            home.user_id,
            {"kind": report.kind, "reporter": report.reporter},
        )
        self._trace.note(home.tenant_id, row)
        return "complaint"


def _complainant(report: FeedbackReport, sent: Sequence[str], signers: Iterable[str]) -> str | None:
    """Return who complained, None if that is not certain.

    Of one recipient the domain is enough, or nothing, for services take the rest out. Among several only a report
    that is signed for the recipient's domain may name one: else one recipient could complain in another's name.
    """
    named = {address.casefold() for address in report.recipients}
    if len(sent) == 1:
        domains = {_domain(address) for address in named}
        return sent[0] if not named or _domain(sent[0]) in domains else None
    found = [address for address in sent if address.casefold() in named]
    if len(found) == 1 and any(_are_related(_domain(found[0]), signer) for signer in signers):
        return found[0]
    return None


def _signers(results: Sequence[bytes]) -> set[str]:
    """Return the domains whose signatures our own filter found to be good."""
    plain = (_FREE_TEXT.sub(b"", value.lower()) for value in results)
    return {found.decode("ascii").rstrip(".") for value in plain for found in _SIGNED.findall(value)}


def _domain(address: str) -> str:
    return address.rpartition("@")[2].casefold()


def _are_related(one: str, other: str) -> bool:
    return one == other or one.endswith("." + other) or other.endswith("." + one)
