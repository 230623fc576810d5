"""Delivery of incoming mail: who receives it, and one committed copy for each recipient.

Order (each step acknowledged by the majority before the next): references, blobs, message, the push on
the mailbox's head, which is the commit, then the notice, then the queue for what is sent because of it, then
the answer. A crash leaves only what a sweep proves unreferenced.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

from mailcore import fault
from mailcore.errors import (
    MailError,
    OverQuota,
    RateExceeded,
    Unavailable,
)
from mailcore.model.actor import Actor
from mailcore.model.ids import TenantId, UserId
from mailcore.model.limits import Spending
from mailcore.model.plan import JUNK, PLAIN, Filing, Plan
from mailcore.model.verdict import Verdict
from mailcore.services.accounts.usage import Usage
from mailcore.services.addresses.recipient import Recipient
from mailcore.services.addresses.resolution import Resolution, Resolutions
from mailcore.services.content.content import ContentStore
from mailcore.services.content.encryption import Encryptions
from mailcore.services.content.prepared import PreparedMessage
from mailcore.services.content.storing import NewRowContent
from mailcore.services.events.journal import Direction, Journal, JournalEntry
from mailcore.services.inbound.arrival import Arrival
from mailcore.services.inbound.filing import Filer, FilingAttempt
from mailcore.services.inbound.inbound import Inbound
from mailcore.services.inbound.onward import Onward
from mailcore.services.outbound.feedback import Feedback
from mailcore.services.tenants.quotas import Quotas
from mailcore.services.tenants.tallies import Tallies
from mailcore.store.directory import Directory
from mailcore.store.placement import Placement

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DeliveryTarget:
    """Whom an address reaches, and the trace headers of its copies (RFC 5321 §4.4), whole lines."""

    resolution: Resolution
    trace: bytes = b""


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """What became of a message for one address: done if `error` is None."""

    error: MailError | None = None


@dataclass(frozen=True, slots=True)
class _Part:
    """What is done for one recipient."""

    recipient: Recipient
    key: bytes
    plan: Plan = PLAIN
    attempts: tuple[FilingAttempt, ...] = ()
    error: MailError | None = None


class Delivery:
    """Takes messages in."""

    def __init__(
        self,
        resolutions: Resolutions,
        directory: Directory,
        placement: Placement,
        content: ContentStore,
        filer: Filer,
        quotas: Quotas,
        inbound: Inbound,
        onward: Onward,
        journal: Journal,
        usage: Usage,
        feedback: Feedback,
        encryptions: Encryptions,
        tallies: Tallies,
    ) -> None:
        self._tallies = tallies
        self._feedback = feedback
        self._encryptions = encryptions
        self._usage = usage
        self._resolutions = resolutions
        self._directory = directory
        self._placement = placement
        self._content = content
        self._filer = filer
        self._quotas = quotas
        self._inbound = inbound
        self._onward = onward
        self._journal = journal

    def resolve(
        self, address: str, sender: str | None = None, *, max_age_s: float = 0.0, only_asks: bool = False
    ) -> Resolution:
        """Return who receives mail for an address; that nobody does is never said from memory.

        Args:
            address: as the sender gave it.
            sender: the reverse-path, None if it is the null one, or ANYBODY.
            max_age_s: as for `Resolutions.resolve`.
            only_asks: no mail follows, so nothing is counted.

        Raises:
            OverQuota: it is the one user's, who has no room; `since` tells how long already.
            RateExceeded: the user has got as much as may be for now, at all or by a wildcard alone.
            And as `Resolutions.resolve`.
        """
        try:
            return self._resolve(address, sender, max_age_s, only_asks=only_asks)
        except MailError as error:
            self._tallies.refused(address, error)
            raise

    def _resolve(self, address: str, sender: str | None, max_age_s: float, *, only_asks: bool) -> Resolution:
        resolution = self._resolutions.resolve(address, sender, max_age_s=max_age_s)
        if resolution.is_direct:
            recipient = resolution.recipients[0]
            self.check_room(recipient)
            if resolution.catch_all:
                self._count(recipient.user_id, Spending.CATCH_ALL, only_asks=only_asks)
            if recipient.home.limits.received_per_hour:
                self._count(recipient.user_id, Spending.RECEIVED, only_asks=only_asks)
        return resolution

    def _count(self, user_id: UserId, what: Spending, *, only_asks: bool) -> None:
        if not only_asks:
            self._usage.spend(user_id, what)
        elif not self._usage.is_left(user_id, what):
            raise RateExceeded(user_id, what.value)

    def check_room(self, recipient: Recipient) -> None:
        """Make sure that a recipient may get mail at all.

        Raises:
            OverQuota: `since` tells how long already it may not.
            StoreUnavailable: not known now.
        """
        self._check_quota(recipient, 0)

    def deliver(
        self,
        raw: bytes,
        targets: Sequence[DeliveryTarget],
        ident: str | None,
        actor: Actor,
        reverse_path: str = "",
        verdict: Verdict | None = None,
    ) -> Iterator[DeliveryResult]:
        """Do with a message what each recipient wants, and yield what became of it, in their order.

        A result comes after the commit of the recipient's copies and after all that is sent because of them is
        queued. Round trips: one insert for each shard, one push for each copy; with attachments two to four more
        for each tenant; those of rules, forwards and replies only where a recipient has any.

        Args:
            raw: the message as it arrived, without trace headers of this hop.
            targets: the addresses; what fails for one changes nothing for the others.
            ident: the sending agent's queue id; the same message repeated under it is delivered once.
            actor: the sending agent.
            reverse_path: whom the message comes from; "" is the null reverse-path, which nothing answers.
            verdict: what the spam filter says of it; None: nobody looked.
        """
        arrival = Arrival(raw, self._content.prepare(raw), reverse_path, ident, actor, verdict)
        unreported = self._report(arrival, targets)
        begun = [[self._begin(arrival, target, each, unreported) for each in _receivers(target)] for target in targets]
        attempts = [attempt for parts in begun for part in parts for attempt in part.attempts]
        outcomes = iter(self._content.put_many([attempt.as_copy() for attempt in attempts], ahead=True))
        for target, parts in zip(targets, begun, strict=True):
            errors = [self._finish(arrival, target, part, list(islice(outcomes, len(part.attempts)))) for part in parts]
            if target.resolution.is_feedback:
                errors.append(self._take_report(arrival))
            if not target.resolution.is_direct:
                errors.append(self._send_on(arrival, target, unreported))
            result = DeliveryResult(_common(errors))
            if target.resolution.tenant_id is not None:
                is_spam = verdict is not None and verdict.is_spam
                self._tallies.arrived(target.resolution.tenant_id, result.error, is_spam=is_spam)
            fault.hit("delivery.before_reply")
            yield result

    def _report(self, arrival: Arrival, targets: Sequence[DeliveryTarget]) -> dict[TenantId, MailError]:
        """Tell the journals of tenants that have one; return of which it could not be told."""
        paths: dict[TenantId, list[str]] = {}
        for target in targets:
            for tenant_id, address in target.resolution.reached:
                paths.setdefault(tenant_id, []).append(address)
        unreported: dict[TenantId, MailError] = {}
        for tenant_id, addresses in paths.items():
            entry = JournalEntry(
                tenant_id,
                Direction.INCOMING,
                arrival.reverse_path,
                tuple(dict.fromkeys(addresses)),
                arrival.raw,
                arrival.ident,
            )
            try:
                self._journal.record(arrival.actor, entry)
            except MailError as error:
                unreported[tenant_id] = error
        return unreported

    def _begin(
        self,
        arrival: Arrival,
        target: DeliveryTarget,
        recipient: Recipient,
        unreported: Mapping[TenantId, MailError],
    ) -> _Part:
        """Find out what is to be done for a recipient."""
        key = arrival.key(recipient)
        try:
            if recipient.tenant_id in unreported:
                raise unreported[recipient.tenant_id]
            self._check_quota(recipient, len(arrival.raw))
            plan = self._inbound.plan(arrival, recipient, key)
            if len(plan.filings) > 1:
                self._check_quota(recipient, len(arrival.raw) * (len(plan.filings) - 1))
            attempts = []
            for number, filing in enumerate(plan.filings):
                prepared = self._prepared(arrival, recipient, filing).with_prefix(target.trace)
                copy_key = arrival.key(recipient, number) if number else key
                attempts.append(FilingAttempt(recipient, prepared, filing, copy_key, arrival, number))
        except MailError as error:
            return _Part(recipient, key, error=error)
        return _Part(recipient, key, plan, tuple(attempts))

    def _prepared(self, arrival: Arrival, recipient: Recipient, filing: Filing) -> PreparedMessage:
        """Return a copy as it is stored: with the header that a program made, encrypted if the recipient wants that.

        Raises:
            EncryptionFailed: it cannot be.
        """
        choice = recipient.home.encryption
        encrypts = choice.has_keys and (choice.of_stored or self._filer.encrypts(recipient.user_id, filing))
        if filing.header is None and not encrypts:
            return arrival.prepared
        raw = arrival.raw if filing.header is None else arrival.with_header(filing.header)
        return self._content.prepare(self._encryptions.encrypt(choice, raw) if encrypts else raw)

    def _finish(
        self, arrival: Arrival, target: DeliveryTarget, part: _Part, outcomes: Sequence[NewRowContent | MailError]
    ) -> MailError | None:
        """Commit what was stored and queue what follows; return why not."""
        try:
            if part.error is not None:
                raise part.error
            for attempt, outcome in zip(part.attempts, outcomes, strict=True):
                self._filer.file(attempt, outcome, arrival.actor)
            if part.plan is not PLAIN and part.plan is not JUNK:
                is_direct = target.resolution.is_direct
                self._inbound.carry_out(arrival, part.recipient, part.key, part.plan, target.trace, is_direct=is_direct)
        except MailError as error:
            return error
        return None

    def _send_on(
        self, arrival: Arrival, target: DeliveryTarget, unreported: Mapping[TenantId, MailError]
    ) -> MailError | None:
        try:
            for tenant_id, _ in target.resolution.reached:
                if tenant_id in unreported:
                    raise unreported[tenant_id]
            self._onward.send(arrival, target.resolution, target.trace)
        except MailError as error:
            return error
        return None

    def _take_report(self, arrival: Arrival) -> MailError | None:
        try:
            self._feedback.take(arrival)
        except MailError as error:
            return error
        return None

    def _check_quota(self, recipient: Recipient, size_bytes: int) -> None:
        """Raises: OverQuota with the time of the first refusal since mail last fitted."""
        user_id = recipient.user_id
        try:
            self._quotas.check(user_id, size_bytes)
        except OverQuota as error:
            since = self._directory.user_changes.mark_over_quota(user_id, datetime.now(UTC))
            self._placement.forget(user_id)
            raise OverQuota(*error.details, since=since) from error
        if recipient.home.over_quota_since is not None and size_bytes:
            self._directory.user_changes.clear_over_quota(user_id)
            self._placement.forget(user_id)


def _receivers(target: DeliveryTarget) -> Sequence[Recipient]:
    """Return who gets copies now; of a post that moderators must see first nobody does."""
    return () if target.resolution.moderators else target.resolution.recipients


def _common(errors: Sequence[MailError | None]) -> MailError | None:
    """Return the one answer for an address that several receive mail for.

    What may work later is tried again, and finds what was done. What one of many does not take for good is no
    reason to refuse it for all (RFC 5321 §3.9.2): it is refused if nobody takes it.
    """
    found = [error for error in errors if error is not None]
    for error in found:
        if isinstance(error, Unavailable):
            return error
    if found and len(found) < len(errors):
        log.warning("delivery.some_refused", extra={"reasons": [type(error).__name__ for error in found]})
        return None
    return found[0] if found else None
