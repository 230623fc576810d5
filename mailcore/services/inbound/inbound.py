"""What becomes of incoming mail for one recipient: the one place where the order of all who have a say is written."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Final

from mailcore.errors import MailError, MessageRejected
from mailcore.message.authentication_results import is_forged, own_results
from mailcore.model.filter import Verdict as Listed
from mailcore.model.ids import MailboxName
from mailcore.model.plan import JUNK, PLAIN, Forward, Plan
from mailcore.services.addresses.domain_access import DomainAccess
from mailcore.services.addresses.onward_targets import ConfirmedTargets
from mailcore.services.addresses.recipient import Recipient
from mailcore.services.inbound.arrival import Arrival, compared
from mailcore.services.inbound.autoreplies import Autoreplies
from mailcore.services.inbound.filters import Filters
from mailcore.services.inbound.forwarding import FORWARDS, Forwarding
from mailcore.services.inbound.plan_draft import Draft
from mailcore.services.inbound.programs import NONE
from mailcore.services.inbound.responder import Responder, Voice
from mailcore.services.mailboxes.mailboxes import Mailboxes
from mailcore.services.process.clock import now
from mailcore.services.process.offload import Offload
from mailcore.services.tenants.standing import sends_by_itself
from mailcore.sieve import Environment, Transaction
from mailcore.store.directory import Directory
from mailcore.store.placement import Home

log = logging.getLogger(__name__)

PAUSE_STEPS: Final = 2000
"""After programs that took so many, about two milliseconds, others have their turn."""
DUPLICATE_MOST_S: Final = 30 * 24 * 3600


class Inbound:
    """Plans what is to be done with a message, and carries out what follows from its copies.

    The filter's verdict comes first, against the user's spam level; then the lists of senders' domains; then the
    programs: the tenant's rules, the user's, the user's script; then the addresses that the user has everything sent
    on to; then the user's automatic reply.
    """

    def __init__(
        self,
        directory: Directory,
        mailboxes: Mailboxes,
        filters: Filters,
        domain_access: DomainAccess,
        forwarding: Forwarding,
        targets: ConfirmedTargets,
        autoreplies: Autoreplies,
        responder: Responder,
        offload: Offload,
        authserv_id: str,
    ) -> None:
        self._directory = directory
        self._mailboxes = mailboxes
        self._filters = filters
        self._domain_access = domain_access
        self._forwarding = forwarding
        self._targets = targets
        self._autoreplies = autoreplies
        self._responder = responder
        self._offload = offload
        self._authserv_id = authserv_id

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
        is_junk = self._by_lists(arrival, home, is_junk=is_junk)
        return self._finished(arrival, recipient, self._drafted(arrival, recipient, key, is_junk=is_junk))

    def _finished(self, arrival: Arrival, recipient: Recipient, draft: Draft) -> Plan:
        """Turn what programs decided into a plan; what cannot be sent on, or not to all yet, is kept."""
        settings = recipient.home.settings
        if draft.rejection is not None:
            if draft.is_spam or self._is_forged(arrival):
                log.info("inbound.rejection_untold", extra={"user": str(recipient.user_id)})
                return Plan(filings=())  # the agent before us would tell somebody who never sent it
            return Plan(filings=(), rejection=draft.rejection)
        if not draft.is_alive:
            return Plan(filings=(), duplicate_ids=tuple(draft.duplicate_ids))
        wanted = [*draft.forwards, *(Forward(target, asks=settings.targets_ask) for target in settings.targets)]
        admitted: tuple[Forward, ...] = ()
        withheld = 0
        may_leave = not draft.is_spam and sends_by_itself(recipient.home.state, recipient.home.standing)
        if may_leave:
            released = self._targets.released(recipient.home, wanted) if wanted else ()
            withheld = len(wanted) - len(released)
            admitted = self._forwarding.admitted(arrival, recipient.home, recipient.address, released)
        if withheld:
            FORWARDS.inc("unconfirmed", by=withheld)
            log.info("forward.unconfirmed", extra={"user": str(recipient.user_id), "targets": withheld})
        leaves = bool(admitted) and recipient.home.sending_hold is None  # what only waits is kept here all the same
        goes_elsewhere = leaves and not withheld and bool(settings.targets) and not settings.keeps_forwarded
        filings = draft.filings(keeps=not goes_elsewhere)
        if not filings and (withheld or not leaves):
            filings = (draft.keep(),)
        replies = draft.replies
        if may_leave and not replies and (due := self._autoreplies.due(recipient.home)) is not None:
            replies = [due]
        return Plan(
            filings=filings,
            forwards=admitted,
            replies=tuple(replies[:1]) if may_leave else (),
            duplicate_ids=tuple(draft.duplicate_ids),
        )

    def _by_lists(self, arrival: Arrival, home: Home, *, is_junk: bool) -> bool:
        """Return whether it is spam when the lists of senders' domains have spoken; none vouches for a forged one."""
        if not home.settings.tags:
            return is_junk
        said = self._domain_access.verdict(home, arrival.sender_domains)
        if said is Listed.BLOCK:
            return True
        return is_junk and (said is not Listed.ALLOW or self._is_forged(arrival))

    def _is_forged(self, arrival: Arrival) -> bool:
        return is_forged(own_results(arrival.header, self._authserv_id))

    def _drafted(self, arrival: Arrival, recipient: Recipient, key: bytes, *, is_junk: bool) -> Draft:
        """Let the programs have their say; one that fails counts as if it were not there, and its owner is told."""
        home = recipient.home
        programs = self._filters.programs_for(home) if home.filters_version or home.tenant_filters_version else NONE
        if not programs:
            return Draft(is_spam=is_junk)
        environment = self._environment(arrival, recipient, key, is_spam=is_junk)
        try:
            ruling = programs.run(arrival.view, Transaction(arrival.reverse_path, recipient.address), environment)
        except MailError:
            raise
        except Exception:  # whatever fails in here, the message is kept
            log.exception("inbound.programs_failed", extra={"user": str(recipient.user_id)})
            return Draft(is_spam=is_junk)
        if ruling.steps > PAUSE_STEPS:
            self._offload.pause()
        if ruling.faults:
            try:
                self._filters.note_faults(arrival.actor, home, ruling.faults)
            except MailError as error:
                log.warning("inbound.fault_untold", extra={"reason": type(error).__name__})
        is_spam = is_junk if ruling.is_spam is None else ruling.is_spam
        return Draft(is_spam=is_spam, actions=ruling.actions, vouched=ruling.vouched)

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
    settings = home.settings
    return not (
        settings.targets
        or settings.tags
        or home.filters_version
        or home.tenant_filters_version
        or home.autoreply_version
    )
