"""One leased message: its recipients sorted by where they are, tried, recorded, reported, and the lease ended."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from mailcore.errors import DomainInvalid, MailError, ValueInvalid
from mailcore.metrics import Tally
from mailcore.model.address import domain_name
from mailcore.model.forward_target import TargetUrl, read_target_url
from mailcore.model.outbound import (
    AUTHORED,
    HELD_WITH_SENDER,
    SENDING_HOLD,
    Answer,
    Reason,
    RecipientState,
    RecipientStatus,
)
from mailcore.model.reputation import Fate
from mailcore.model.tenant import State
from mailcore.net.outgoing import OutgoingClient
from mailcore.relay.client import Forward, Mail
from mailcore.relay.delivery import Attempt, Deliverer
from mailcore.relay.lines import Hold, Line, Lines
from mailcore.relay.posting import post_message
from mailcore.relay.reports import RELAY, Reports
from mailcore.relay.routes import Route, Routes
from mailcore.services.inbound.delivery import Delivery, DeliveryTarget
from mailcore.services.outbound.outbound_work import Claim, LeaseLost, OutboundWork, answered
from mailcore.services.outbound.reputation import Reputation, is_bounce
from mailcore.services.outbound.slots import Slots
from mailcore.services.outbound.suppressions import Suppressions
from mailcore.services.outbound.trace import Step, Trace, TraceRow
from mailcore.services.tenants.standing import sends_by_itself
from mailcore.smtp import replies, trace
from mailcore.store.placement import Home, Placement

log = logging.getLogger(__name__)

RELAYED = Tally("eider_relay_recipients", "Recipients that relays dealt with", ("outcome",))
BUSY_S = 5.0
"""A destination that has all the connections it may have is tried again after about so long; that counts as no try."""
SLOT_S = 10.0
"""So long a message waits for one of them first."""
SLOT_LOOK_S = 0.1
TROUBLE_S = 60.0
SUSPENDED_S = 600.0
"""So often one looks whether somebody who may not sign in may send again: a stolen login sends nothing meanwhile."""

Together = Callable[[Sequence[Callable[[], None]]], None]
"""Carries out several things at once and returns when all are done; raises what one of them raised."""
Group = list[tuple[int, RecipientStatus]]


@dataclass(frozen=True, slots=True)
class Parts:
    """What handling a message takes."""

    work: OutboundWork
    routes: Routes
    deliverer: Deliverer
    client: OutgoingClient
    delivery: Delivery
    placement: Placement
    reports: Reports
    suppressions: Suppressions
    reputation: Reputation
    lines: Lines
    slots: Slots
    trace: Trace
    hostname: str


class Handling:
    """Deals with one claim."""

    def __init__(self, parts: Parts, claim: Claim, together: Together) -> None:
        self._parts = parts
        self._claim = claim
        self._together = together
        self._wait_s = 0.0

    def run(self) -> None:
        """Try everybody who is due, write down what became of them, tell the sender, and end the lease."""
        claim = self._claim
        if claim.was_interrupted:
            self._note_interrupted()
        try:
            if self._is_to_wait():
                self._parts.work.hold(claim, SENDING_HOLD)
                return
            self._try_all()
            self._parts.reports.report(claim)
            self._parts.work.settle(claim, self._wait_s)
        except LeaseLost:
            log.warning("relay.lease.lost", extra={"queue_id": claim.entry.id})
        except MailError as error:
            log.warning(
                "relay.put_back", extra={"queue_id": claim.entry.id, "reason": f"{type(error).__name__}: {error}"}
            )
            self._parts.work.put_back(claim, TROUBLE_S)

    # -- whom -------------------------------------------------------------------------------

    def _is_to_wait(self) -> bool:
        """Whether all outgoing mail of whose it is waits, whatever else is to be done: it must not expire either."""
        entry = self._claim.entry
        return entry.reason in HELD_WITH_SENDER and self._parts.placement.home(entry.user_id).sending_hold is not None

    def _all(self) -> Group:
        return self._claim.recipients()

    def _try_all(self) -> None:
        claim = self._claim
        now = claim.now()
        waiting = [(number, each) for number, each in self._all() if each.state is RecipientState.QUEUED]
        if now >= claim.entry.expires_at:
            self._expire(waiting)
            return
        due = [(number, each) for number, each in waiting if each.due_at is None or each.due_at <= now]
        home = self._parts.placement.home(claim.entry.user_id)
        if self._is_stopped(home):
            self._wait_s = SUSPENDED_S
            return
        if claim.entry.via:
            self._try_target(claim.entry.via, due)
            return
        due = self._without_suppressed(due)
        tasks = [lambda route=route, group=group: self._try(route, group) for route, group in self._sorted(home, due)]
        self._together(tasks)

    def _is_stopped(self, home: Home) -> bool:
        """Whether it waits because whose it is may not sign in, or, where it is sent on by itself, not send.

        A bounce on its way back, without a reverse-path, goes all the same (decision 46).
        """
        entry = self._claim.entry
        if entry.reason in AUTHORED:
            return home.state is not State.ACTIVE
        if entry.reason is not Reason.FORWARD or not entry.reverse_path:
            return False
        tenant = self._parts.placement.tenant(entry.tenant_id)
        return not sends_by_itself(tenant.admits if entry.of_tenant else home.state, tenant.standing)

    def _expire(self, waiting: Group) -> None:
        """Give up those for whom time is over, with the last that was heard of them."""
        for number, status in waiting:
            last = status.answer
            text = "Time is over" if last is None else f"Time is over; at last: {last.text}"
            answer = Answer(0 if last is None else last.code, "5.4.7", text, "" if last is None else last.remote)
            self._settle({number: answer}, Attempt())

    def _without_suppressed(self, due: Group) -> Group:
        """Fail those to whom this tenant's mail is not sent for a while; if that cannot be known now, none is."""
        claim = self._claim
        if not due or not claim.entry.reverse_path:
            return due
        try:
            found = self._parts.suppressions.among(claim.entry.tenant_id, [each.address for _, each in due])
        except MailError as error:
            log.warning("relay.suppressions.unknown", extra={"reason": type(error).__name__})
            return due
        for number, status in due:
            suppression = found.get(status.address.casefold())
            if suppression is not None:
                text = f"Not sent: the address was refused on {suppression.at:%Y-%m-%d}: {suppression.reason}"
                self._settle({number: Answer(0, "5.7.1", text)}, Attempt(), step=Step.SUPPRESSED)
        return [(number, each) for number, each in due if each.address.casefold() not in found]

    def _sorted(self, home: Home, due: Group) -> list[tuple[Route, Group]]:
        """Return routes with their recipients; those without a route are settled."""
        by_domain: dict[str, Group] = {}
        for number, status in due:
            by_domain.setdefault(status.domain.lower(), []).append((number, status))
        groups: dict[str, tuple[Route, Group]] = {}
        for domain, group in by_domain.items():
            route = self._parts.routes.find(home, domain, by_itself=self._claim.entry.reason is Reason.FORWARD)
            if isinstance(route, Answer):
                self._settle({number: route for number, _ in group}, Attempt())
            else:
                groups.setdefault(route.destination, (route, []))[1].extend(group)
        return list(groups.values())

    def _try_target(self, url: str, due: Group) -> None:
        """Send to a forwarding target that is a URL, which stands for all recipients."""
        try:
            target = read_target_url(url)
        except ValueInvalid as error:
            self._settle({number: Answer(0, "5.3.5", str(error)) for number, _ in due}, Attempt())
            return
        route = self._parts.routes.of_target(target)
        for one in [[each] for each in due] if target.is_web else [due] if due else []:
            self._try(route, one, target)

    # -- where ------------------------------------------------------------------------------

    def _try(self, route: Route, group: Group, target: TargetUrl | None = None) -> None:
        if route.is_local:
            self._deliver_here(group)
            return
        hold = self._hold(route)
        if hold is None:
            self._wait_s = BUSY_S
            return
        attempt = Attempt()
        try:
            if target is not None and target.is_web:
                attempt = self._post(target, group)
            else:
                attempt = self._send(route, group, hold.line)
        finally:
            self._parts.lines.let_go(route, hold, attempt.line)
        self._settle({group[place][0]: answer for place, answer in attempt.answers.items()}, attempt)

    def _hold(self, route: Route) -> Hold | None:
        """Return an open connection or a slot as soon as there is one, None if there is none for a while."""
        give_up_at = time.monotonic() + SLOT_S
        while True:
            hold = self._parts.lines.hold(route)
            if hold is not None or time.monotonic() >= give_up_at:
                return hold
            time.sleep(SLOT_LOOK_S)

    def _post(self, target: TargetUrl, group: Group) -> Attempt:
        content = self._parts.work.content(self._claim)
        ((_, status),) = group
        answer = post_message(
            self._parts.client, target, self._claim.entry, status.address, content, self._parts.hostname
        )
        return Attempt({0: answer})

    def _send(self, route: Route, group: Group, line: Line | None) -> Attempt:
        entry = self._claim.entry
        content = self._parts.work.content(self._claim)
        forwards = [Forward(_on_the_wire(each.address), each.notify, each.original_recipient) for _, each in group]
        reverse_path = _on_the_wire(entry.reverse_path) if entry.reverse_path else ""
        needs_utf8 = not all(path.isascii() for path in (reverse_path, *(forward.path for forward in forwards)))
        mail = Mail(
            reverse_path=reverse_path,
            read=content.read,
            size_bytes=entry.size_bytes,
            has_8bit=entry.has_8bit,
            needs_utf8=needs_utf8 or (entry.is_utf8 and entry.has_utf8_header),
            return_content=entry.return_content,
            envelope_id=entry.envelope_id,
        )
        return self._parts.deliverer.deliver(route, mail, forwards, line)

    def _deliver_here(self, group: Group) -> None:
        """Hand over in this process; each try has the same keys, so that a repeat finds what went before."""
        entry = self._claim.entry
        answers: dict[int, Answer] = {}
        targets: list[DeliveryTarget] = []
        numbers: list[int] = []
        for number, status in group:
            try:
                recipient = self._parts.delivery.resolve(status.address, entry.reverse_path or None)
            except MailError as error:
                answers[number] = _answer_of(error)
            else:
                targets.append(DeliveryTarget(recipient, self._trace_headers(status.address)))
                numbers.append(number)
        if targets:
            raw = b"".join(self._parts.work.content(self._claim).read())
            results = self._parts.delivery.deliver(raw, targets, entry.id, RELAY, entry.reverse_path)
            for number, result in zip(numbers, results, strict=True):
                answers[number] = HERE if result.error is None else _answer_of(result.error)
        self._settle(answers, Attempt(), is_local=True)

    def _trace_headers(self, address: str) -> bytes:
        """The trace headers of final delivery (RFC 5321 §4.4)."""
        entry = self._claim.entry
        return_path = f"Return-Path: <{entry.reverse_path}>\r\n".encode()
        received = (
            f"Received: by {self._parts.hostname} with local id {entry.id}\r\n"
            f"\tfor <{address}>;\r\n\t{trace.date_time(int(time.time()))}\r\n"
        )
        return return_path + trace.delivered_to(address) + received.encode()

    # -- what became of them ----------------------------------------------------------------

    def _settle(
        self, answers: Mapping[int, Answer], attempt: Attempt, *, is_local: bool = False, step: Step | None = None
    ) -> None:
        """Record answers (majority) before anything else is done about them."""
        claim = self._claim
        now = claim.now()
        changes: dict[int, RecipientStatus] = {}
        for number, answer in answers.items():
            status = claim.entry.recipients[number]
            due_at = self._parts.work.after(status.attempts + 1, now, claim.entry.expires_at)
            settled = answered(status, answer, now, due_at)
            if settled.state is RecipientState.SENT:
                settled = replace(settled, is_local=is_local, relayed_dsn=attempt.dsn and not is_local)
            changes[number] = settled
        after = claim.with_changes(changes)
        waits = any(each.state is RecipientState.QUEUED for each in after.recipients)
        self._parts.work.record(claim, changes, ends=not waits and not self._parts.reports.is_any_due(claim, after))
        for settled in changes.values():
            self._note(settled, step or _step_of(settled), attempt)
            if not is_local:
                self._count(settled, step)
            if settled.state is RecipientState.FAILED:
                self._note_bounce(settled)

    def _count(self, status: RecipientStatus, step: Step | None) -> None:
        """Count what another service made of what somebody wrote."""
        entry = self._claim.entry
        fate = Fate.SUPPRESSED if step is Step.SUPPRESSED else _fate_of(status)
        if fate is not None and entry.reason in AUTHORED:
            self._parts.reputation.note(entry.tenant_id, entry.user_id, fate)

    def _note_bounce(self, status: RecipientStatus) -> None:
        answer = status.answer
        assert answer is not None
        if answer.code < 500 or not answer.remote:
            return
        entry = self._claim.entry
        try:
            self._parts.suppressions.note_bounce(
                entry.tenant_id, status.address, answer.enhanced, answer.text, entry.id
            )
        except MailError as error:
            log.warning("relay.suppression.lost", extra={"queue_id": entry.id, "reason": type(error).__name__})

    def _note(self, status: RecipientStatus, step: Step, attempt: Attempt) -> None:
        answer = status.answer
        detail = {"tls": attempt.tls} if attempt.tls else {}
        if answer is not None:
            said = (str(answer.code) if answer.code else "", answer.enhanced, answer.text)
            detail |= {"answer": " ".join(filter(None, said)), "remote": answer.remote}
        if attempt.may_be_twice:
            detail["outcome_of_sending"] = "unknown"
        entry = self._claim.entry
        if entry.via:
            detail["target"] = entry.target_host
        row = TraceRow(
            step, entry.id, entry.header_message_id, entry.reverse_path, status.address, entry.user_id, detail
        )
        self._parts.trace.note(entry.tenant_id, row)
        RELAYED.inc(step.value)
        log.info(
            "relay.recipient",
            extra={
                "queue_id": entry.id,
                "tenant": str(entry.tenant_id),
                "message_id": entry.header_message_id,
                "recipient": status.address,
                "outcome": step.value,
                "attempts": status.attempts,
                **detail,
            },
        )

    def _note_interrupted(self) -> None:
        """Tell that whoever had the message ended without a word: those it had not recorded may get it twice."""
        claim = self._claim
        log.warning("relay.interrupted", extra={"queue_id": claim.entry.id, "lease": claim.entry.lease})
        for _, status in self._all():
            if status.state is RecipientState.QUEUED:
                self._note(status, Step.INTERRUPTED, Attempt())


HERE = Answer(250, "2.1.5", "Delivered to the mailbox")


def _step_of(status: RecipientStatus) -> Step:
    if status.state is RecipientState.SENT:
        return Step.DELIVERED if status.is_local else Step.SENT
    return Step.FAILED if status.state is RecipientState.FAILED else Step.DEFERRED


def _fate_of(status: RecipientStatus) -> Fate | None:
    if status.state is RecipientState.SENT:
        return Fate.SENT
    is_bad = status.state is RecipientState.FAILED and status.answer is not None and is_bounce(status.answer)
    return Fate.BOUNCED if is_bad else None


def _answer_of(error: MailError) -> Answer:
    reply = replies.reply_for(error)
    return Answer(reply.code, reply.enhanced, " ".join(reply.lines))


def _on_the_wire(address: str) -> str:
    """Return an address as commands name it: A-labels where all else is ASCII, for servers without SMTPUTF8."""
    local, _, domain = address.rpartition("@")
    if not local.isascii() or domain.isascii():
        return address
    try:
        return f"{local}@{domain_name(domain)}"
    except DomainInvalid:
        return address
