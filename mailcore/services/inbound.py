"""What becomes of incoming mail for one recipient: the one place where the order of all who have a say is written."""

from __future__ import annotations

from mailcore.errors import MessageRejected
from mailcore.model.plan import PLAIN, Plan
from mailcore.services.arrival import Arrival
from mailcore.services.recipient import Recipient


class Inbound:
    """Plans what is to be done with a message, and carries out what follows from its copies."""

    def plan(self, _arrival: Arrival, _recipient: Recipient) -> Plan:
        """Return what is to become of a message for a recipient: one copy in INBOX."""
        return PLAIN

    def carry_out(self, recipient: Recipient, plan: Plan) -> None:
        """Do what follows once the copies are committed.

        Raises:
            MessageRejected: the recipient refuses the message.
        """
        if plan.rejection is not None:
            raise MessageRejected(recipient.user_id, reason=plan.rejection)
