"""How far what somebody sent is, in plain words, and what can still be done about it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import Any, Final

from flask_babel import gettext as _
from flask_babel import lazy_gettext

from mailcore.model.outbound import HELD_FOR_ABUSE, EntryState, OutboundEntry, RecipientState, RecipientStatus


class Fate(Enum):
    """How far a message is, for all of its recipients together."""

    SCHEDULED = "scheduled"
    """It goes out at a time that is to come."""
    ON_ITS_WAY = "on its way"
    DELAYED = "delayed"
    HELD = "held"
    DELIVERED = "delivered"
    PARTLY = "partly"
    """Some have it, others never will."""
    FAILED = "failed"
    TAKEN_BACK = "taken back"


NAMES: Final[Mapping[Fate, tuple[Any, str]]] = {
    Fate.SCHEDULED: (lazy_gettext("scheduled"), "waiting"),
    Fate.ON_ITS_WAY: (lazy_gettext("on its way"), "waiting"),
    Fate.DELAYED: (lazy_gettext("delayed"), "waiting"),
    Fate.HELD: (lazy_gettext("held back"), "bad"),
    Fate.DELIVERED: (lazy_gettext("delivered"), "good"),
    Fate.PARTLY: (lazy_gettext("not delivered to all"), "bad"),
    Fate.FAILED: (lazy_gettext("not delivered"), "bad"),
    Fate.TAKEN_BACK: (lazy_gettext("taken back"), "off"),
}
"""Word and kind of badge."""
WAITING: Final = frozenset({Fate.SCHEDULED, Fate.ON_ITS_WAY, Fate.DELAYED, Fate.HELD})
"""Can be taken back, as far as nobody has it yet."""
TRIED_LATER: Final = frozenset({Fate.SCHEDULED, Fate.DELAYED})
"""Can be sent now."""


def fate_of(entry: OutboundEntry, at: datetime) -> Fate:
    """Return how far a message is at a moment."""
    if entry.state is EntryState.CANCELLED:
        return Fate.TAKEN_BACK
    if entry.state is EntryState.HELD:
        return Fate.HELD
    states = {each.state for each in entry.recipients}
    if entry.state is EntryState.DONE:
        if RecipientState.FAILED not in states:
            return Fate.DELIVERED
        return Fate.FAILED if states == {RecipientState.FAILED} else Fate.PARTLY
    if any(each.attempts and each.state is RecipientState.QUEUED for each in entry.recipients):
        return Fate.DELAYED
    is_later = entry.next_at is not None and entry.next_at > at and not entry.is_leased
    return Fate.SCHEDULED if is_later else Fate.ON_ITS_WAY


def sentence(entry: OutboundEntry, fate: Fate) -> str:
    """Return what the fate of a message means for whoever sent it."""
    if fate is Fate.HELD and entry.held in HELD_FOR_ABUSE:
        return _("Your outgoing mail is on hold. Nothing is lost: it leaves once support ends the hold.")
    return {
        Fate.SCHEDULED: _("Nobody has it yet: take it back, or send it now."),
        Fate.ON_ITS_WAY: _("It is being handed over. This takes some seconds."),
        Fate.DELAYED: _("The other server does not take it yet. It is tried again by itself for four days."),
        Fate.HELD: _("An administrator keeps it back. Ask yours why."),
        Fate.DELIVERED: _("Whoever receives mail for the recipients took it over."),
        Fate.PARTLY: _("Some recipients did not get it; below you see who, and why."),
        Fate.FAILED: _("Nobody got it; below you see why. You were written to as well."),
        Fate.TAKEN_BACK: _("Who had not got it yet does not get it. Your copy stays where it is."),
    }[fate]


def of_recipient(one: RecipientStatus, fate: Fate) -> tuple[str, str]:
    """Return word and kind of badge for one recipient."""
    if one.state is RecipientState.SENT:
        return (_("in the mailbox"), "good") if one.is_local else (_("delivered"), "good")
    if one.state is RecipientState.FAILED:
        return _("not delivered"), "bad"
    if one.state is RecipientState.CANCELLED:
        return _("taken back"), "off"
    if one.attempts:
        return _("delayed"), "waiting"
    word, kind = NAMES[fate]
    return str(word), kind
