"""What becomes of incoming mail for one recipient: the one place where the order of all who have a say is written."""

from __future__ import annotations

from mailcore.errors import MessageRejected
from mailcore.model.plan import PLAIN, Filing, Forward, Plan
from mailcore.model.user_settings import DEFAULTS
from mailcore.services.arrival import Arrival, compared
from mailcore.services.autoreplies import Autoreplies
from mailcore.services.forwarding import Forwarding
from mailcore.services.recipient import Recipient
from mailcore.services.responder import Responder, Voice
from mailcore.store.directory import Directory
from mailcore.store.placement import Home


class Inbound:
    """Plans what is to be done with a message, and carries out what follows from its copies."""

    def __init__(
        self, directory: Directory, forwarding: Forwarding, autoreplies: Autoreplies, responder: Responder
    ) -> None:
        self._directory = directory
        self._forwarding = forwarding
        self._autoreplies = autoreplies
        self._responder = responder

    def plan(self, arrival: Arrival, recipient: Recipient) -> Plan:
        """Return what is to become of a message for a recipient; no round trip for who has set up nothing.

        Raises:
            StoreUnavailable: what the recipient wants is not known now.
        """
        home = recipient.home
        if _wants_nothing(home):
            return PLAIN
        if self._forwarding.has_landed(arrival, recipient.address):
            return Plan(filings=())
        forwards = tuple(Forward(target) for target in home.settings.targets)
        admitted = self._forwarding.admitted(arrival, home, recipient.address, forwards)
        stays = home.settings.keeps_forwarded or not admitted
        reply = self._autoreplies.due(home)
        return Plan(
            filings=(Filing(),) if stays else (),
            forwards=admitted,
            replies=() if reply is None else (reply,),
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


def _wants_nothing(home: Home) -> bool:
    """Whether mail simply goes to INBOX."""
    return (home.settings is DEFAULTS or not home.settings.targets) and not home.autoreply_version
