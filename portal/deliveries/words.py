"""Steps of messages and reasons of holds in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from flask_babel import lazy_gettext as _

from mailcore.model.reputation import HoldCause
from mailcore.services.outbound.trace import Step, TraceRow

STEPS: Final[Mapping[Step, Any]] = {
    Step.RECEIVED: _("Came in from outside"),
    Step.REFUSED: _("Refused when it came in"),
    Step.QUEUED: _("Taken over to be sent"),
    Step.HELD: _("Held back"),
    Step.RELEASED: _("Let go"),
    Step.CANCELLED: _("Taken back"),
    Step.SENT: _("The next server took it"),
    Step.DELIVERED: _("In the mailbox"),
    Step.DEFERRED: _("Not taken yet, will be tried again"),
    Step.FAILED: _("Could not be delivered"),
    Step.SUPPRESSED: _("Not sent: the address refused mail before"),
    Step.REPORTED: _("The sender was told"),
    Step.COMPLAINED: _("The recipient reported it as spam"),
    Step.INTERRUPTED: _("Interrupted: it may arrive twice"),
}
CAUSES: Final[Mapping[HoldCause, Any]] = {
    HoldCause.BOUNCES: _("Other services refused many of the addresses."),
    HoldCause.COMPLAINTS: _("Several recipients reported the mail as spam."),
    HoldCause.SUPPRESSED: _("Much of the mail goes to addresses that refused mail before."),
    HoldCause.BURST: _("Far more was sent within minutes than people write."),
    HoldCause.STAFF: _("Our staff want to be sure that all is well."),
}
_ADDRESS: Final = _("The address does not exist there. Ask the recipient for the right one.")
_FULL: Final = _("The mailbox there is full. Ask the recipient to make room, then send again.")
_LATER: Final = _("Nothing to do: it is tried again by itself for four days.")
_POLICY: Final = _("The other service does not want it. Check that your domain's records are green under Domains.")
_LIST: Final = _("Take the address off the list of addresses that get no mail once the recipient agrees.")
_OTHER: Final = _("The answer of the other server says why. Write to the recipient some other way.")


def advice(row: TraceRow) -> Any:
    """Return what to do about a step, "" if nothing is to be done."""
    if row.step is Step.DEFERRED:
        return _LATER
    if row.step in {Step.SUPPRESSED, Step.COMPLAINED}:
        return _LIST
    if row.step is not Step.FAILED:
        return ""
    answer = f" {row.detail.get('answer', '')} "
    for status, words in ((" 5.1.", _ADDRESS), (" 5.2.2", _FULL), (" 5.7.", _POLICY)):
        if status in answer:
            return words
    return _OTHER
