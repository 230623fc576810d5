"""What becomes of incoming mail for one recipient: the one place where the order of all who have a say is written."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final

from mailcore.errors import MailError, MessageRejected
from mailcore.message.authentication_results import is_forged, own_results
from mailcore.model.ids import MailboxName, UserId
from mailcore.model.plan import JUNK, PLAIN, Forward, Plan
from mailcore.services.arrival import Arrival, compared
from mailcore.services.audit import Audit
from mailcore.services.autoreplies import Autoreplies
from mailcore.services.clock import now
from mailcore.services.forwarding import Forwarding
from mailcore.services.mailboxes import Mailboxes
from mailcore.services.plan_draft import Draft
from mailcore.services.recipient import Recipient
from mailcore.services.responder import Responder, Voice
from mailcore.sieve import Environment, MessageView, Script, Transaction
from mailcore.store.directory import Directory
from mailcore.store.placement import Home

log = logging.getLogger(__name__)

TOLD_EVERY_S: Final = 3600.0
"""A program that fails for every message is told of so often."""
MAX_TOLD: Final = 10_000
DUPLICATE_MOST_S: Final = 30 * 24 * 3600

ProgramsOf = Callable[[Home], Sequence[Script]]
"""The programs that have a say in a user's mail, in order: the tenant's, the user's rules, the user's script."""


class Inbound:
    """Plans what is to be done with a message, and carries out what follows from its copies.

    The filter's verdict comes first, against the user's spam level; then the programs in their order; then the
    addresses that the user has everything sent on to; then the user's automatic reply.
    """

    def __init__(
        self,
        directory: Directory,
        mailboxes: Mailboxes,
        programs_of: ProgramsOf,
        forwarding: Forwarding,
        autoreplies: Autoreplies,
        responder: Responder,
        audit: Audit,
        authserv_id: str,
    ) -> None:
        self._directory = directory
        self._mailboxes = mailboxes
        self._programs_of = programs_of
        self._forwarding = forwarding
        self._autoreplies = autoreplies
        self._responder = responder
        self._audit = audit
        self._authserv_id = authserv_id
        self._told: dict[tuple[UserId, str], float] = {}

    def plan(self, arrival: Arrival, recipient: Recipient, key: bytes) -> Plan:
        """Return what is to become of a message for a recipient; no round trip for who has set up nothing.

        Raises:
            StoreUnavailable: what the recipient wants is not known now.
        """
        home = recipient.home
        is_junk = arrival.verdict is not None and arrival.verdict.is_junk(home.settings.spam_level)
        if _wants_nothing(home):
            return JUNK if is_junk else PLAIN
        if self._forwarding.has_landed(arrival, recipient.address):
            return Plan(filings=())
        draft = Draft(is_spam=is_junk)
        self._run(arrival, recipient, key, draft)
        for error in draft.errors:
            self._tell(arrival, recipient, error)
        return self._finished(arrival, recipient, draft)

    def _finished(self, arrival: Arrival, recipient: Recipient, draft: Draft) -> Plan:
        """Turn what programs decided into a plan; what cannot be sent on is kept."""
        settings = recipient.home.settings
        if draft.rejection is not None:
            if draft.is_spam or is_forged(own_results(arrival.header, self._authserv_id)):
                log.info("inbound.rejection_untold", extra={"user": str(recipient.user_id)})
                return Plan(filings=())  # the agent before us would tell somebody who never sent it
            return Plan(filings=(), rejection=draft.rejection)
        if not draft.is_alive:
            return Plan(filings=(), duplicate_ids=tuple(draft.duplicate_ids))
        wanted = [*draft.forwards, *(Forward(target, draft.header) for target in settings.targets)]
        admitted: tuple[Forward, ...] = ()
        if not draft.is_spam:
            admitted = self._forwarding.admitted(arrival, recipient.home, recipient.address, wanted)
        goes_elsewhere = bool(admitted) and bool(settings.targets) and not settings.keeps_forwarded
        filings = draft.all_filings(keeps=not goes_elsewhere)
        if not filings and not admitted:
            filings = (draft.keep(),)
        replies = draft.replies
        if not draft.is_spam and not replies and (due := self._autoreplies.due(recipient.home)) is not None:
            replies = [due]
        return Plan(
            filings=filings,
            forwards=admitted,
            replies=() if draft.is_spam else tuple(replies[:1]),
            duplicate_ids=tuple(draft.duplicate_ids),
        )

    def _run(self, arrival: Arrival, recipient: Recipient, key: bytes, draft: Draft) -> None:
        """Let each program have its say, while the message is kept."""
        programs = self._programs_of(recipient.home)
        if not programs:
            return
        view, transaction = arrival.view, Transaction(arrival.reverse_path, recipient.address)
        for script in programs:
            if draft.header is not None and draft.header != view.raw[: view.body_start]:
                view = MessageView(arrival.with_header(draft.header))
            environment = self._environment(arrival, recipient, key, is_spam=draft.is_spam)
            try:
                outcome = script.run(view, transaction, environment)
            except MailError:
                raise
            except Exception as fault:
                log.exception("inbound.program_failed", extra={"user": str(recipient.user_id)})
                draft.errors.append(f"internal fault: {type(fault).__name__}")
                continue
            draft.take(outcome)
            if not draft.is_kept:
                return

    def _environment(self, arrival: Arrival, recipient: Recipient, key: bytes, *, is_spam: bool) -> Environment:
        user_id = recipient.user_id
        moment = now()

        def is_duplicate(found: bytes) -> bool:
            return recipient.home.shard.autoreplies.is_claimed(user_id, _duplicate(found), key, moment)

        def has_use(use: str, name: MailboxName | None) -> bool:
            tree = self._mailboxes.tree_cached(user_id)
            return any(
                each.special_use is not None and each.special_use.value.lower() == use.lower()
                for each in tree
                if name is None or each.name == name
            )

        return Environment(
            now=moment,
            has_mailbox=lambda name: self._mailboxes.tree_cached(user_id).find(name) is not None,
            has_mailbox_id=lambda text: any(str(each.id) == text for each in self._mailboxes.tree_cached(user_id)),
            has_special_use=has_use,
            is_duplicate=is_duplicate,
            spam_score=arrival.verdict.score if arrival.verdict is not None else None,
            is_spam=is_spam if arrival.verdict is not None or is_spam else None,
            items={"name": "Eider", "location": "MDA", "phase": "during", "host": self._authserv_id},
        )

    def _tell(self, arrival: Arrival, recipient: Recipient, error: str) -> None:
        """Let the owner know that a program failed, once in a while; what cannot be told now is told next time."""
        about = (recipient.user_id, error)
        if time.monotonic() < self._told.get(about, 0.0):
            return
        if len(self._told) >= MAX_TOLD:
            self._told.clear()
        try:
            self._audit.happened(arrival.actor, "filter.failed", recipient.user_id, {"why": error[:500]})
        except MailError as untold:
            log.warning("inbound.failure_untold", extra={"reason": type(untold).__name__})
        else:
            self._told[about] = time.monotonic() + TOLD_EVERY_S

    def carry_out(
        self, arrival: Arrival, recipient: Recipient, key: bytes, plan: Plan, trace: bytes, *, is_direct: bool
    ) -> None:
        """Queue what follows once the copies are committed; a repeat of the delivery queues nothing twice.

        Args:
            arrival: the message.
            recipient: for whom.
            key: stands for this delivery to this recipient.
            plan: what was planned for it.
            trace: the fields of this hop, whole lines.
            is_direct: the address is the recipient's own.

        Raises:
            MessageRejected: the recipient refuses the message.
            StoreUnavailable: not all is queued, as far as is known; the same delivery again is safe.
        """
        if plan.forwards:
            self._forwarding.send(
                arrival, recipient.home, recipient.address, key, plan.forwards, trace, is_kept=bool(plan.filings)
            )
        if plan.replies and self._responder.may_answer(arrival):
            voice = self._voice(recipient, is_direct=is_direct)
            for reply in plan.replies:
                self._responder.answer(arrival, voice, key, reply)
        for found, seconds in plan.duplicate_ids:
            moment = now()
            until = moment + timedelta(seconds=min(seconds, DUPLICATE_MOST_S))
            recipient.home.shard.autoreplies.claim(recipient.user_id, _duplicate(found), key, moment, until)
        if plan.rejection is not None:
            raise MessageRejected(recipient.user_id, reason=plan.rejection)

    def _voice(self, recipient: Recipient, *, is_direct: bool) -> Voice:
        """Return by whom a message is answered; two round trips."""
        user = self._directory.users.find(recipient.user_id)
        routes = self._directory.addresses.list_of_user(recipient.user_id)
        displays = {route.canonical: route.display for route in routes}
        came_to = compared(recipient.address)
        own = frozenset(displays) | ({came_to} if is_direct else frozenset())
        main = user.address if user is not None else recipient.address
        return Voice(recipient.home, displays.get(came_to, main), user.name if user is not None else "", own)


def _duplicate(found: bytes) -> str:
    return f"duplicate:{found.hex()}"


def _wants_nothing(home: Home) -> bool:
    """Whether mail simply goes to INBOX, or to Junk."""
    return not (home.settings.targets or home.autoreply_version)
