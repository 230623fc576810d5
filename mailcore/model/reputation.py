"""What other services think of somebody's mail: counts of what became of it, and when they are reason to hold it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Final

from bson import ObjectId

from mailcore.model.ids import TenantId, UserId
from mailcore.model.limits import ReputationLimits


class Fate(StrEnum):
    """What is counted, each recipient apart; mail that somebody wrote, not what is sent on or answered by itself."""

    SENT = "sent"
    """Another service took it."""
    BOUNCED = "bounced"
    """It refused it for good, because of the address or of what it thinks of the message."""
    SUPPRESSED = "suppressed"
    """Not sent: the address had bounced or complained before."""
    COMPLAINED = "complained"
    BURST = "burst"
    """Messages that were held because they came far faster than people write."""
    LIMITED = "limited"
    """Messages that were refused because a limit was reached."""


TROUBLE: Final = frozenset(Fate) - {Fate.SENT}


@dataclass(frozen=True, slots=True)
class Counts:
    """How often each fate was met in some time."""

    sent: int = 0
    bounced: int = 0
    suppressed: int = 0
    complained: int = 0
    burst: int = 0
    limited: int = 0

    @classmethod
    def of(cls, stored: Mapping[str, int]) -> Counts:
        """Read what is stored under the names of fates."""
        return cls(**{fate.value: int(stored.get(fate.value, 0)) for fate in Fate})

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(Counts)))

    @property
    def tried(self) -> int:
        """Recipients that it was sent to, or would have been."""
        return self.sent + self.bounced + self.suppressed

    @property
    def bounce_rate(self) -> float:
        """From 0 to 1, of what was handed to other services."""
        return _rate(self.bounced, self.sent + self.bounced)

    @property
    def complaint_rate(self) -> float:
        """From 0 to 1, of what other services took."""
        return _rate(self.complained, self.sent)

    @property
    def suppressed_rate(self) -> float:
        """From 0 to 1, of all that was tried."""
        return _rate(self.suppressed, self.tried)

    def to_document(self) -> dict[str, int]:
        """Return them by the names of fates."""
        return {fate.value: getattr(self, fate.value) for fate in Fate}


NOTHING_SENT: Final = Counts()


@dataclass(frozen=True, slots=True)
class Rates:
    """What was counted in the last 24 hours and in the last seven days."""

    day: Counts = NOTHING_SENT
    week: Counts = NOTHING_SENT


class HoldCause(StrEnum):
    """Why somebody's outgoing mail is held back."""

    BOUNCES = "bounces"
    COMPLAINTS = "complaints"
    SUPPRESSED = "suppressed"
    BURST = "burst"
    STAFF = "staff"


@dataclass(frozen=True, slots=True)
class SendingHold:
    """Outgoing mail of a user or of a tenant waits in the queue.

    Attributes:
        id: of this very hold; a later one of the same user has another.
        stops: new mail is refused, too.
        note: what staff said of it last.
        appeal: what the held said; "" as long as they said nothing.
        is_told: owners and user have been written to.
    """

    id: ObjectId
    cause: HoldCause
    since: datetime
    counts: Counts = NOTHING_SENT
    stops: bool = False
    note: str = ""
    appeal: str = ""
    is_told: bool = False


@dataclass(frozen=True, slots=True)
class HeldSender:
    """A hold and whose mail it holds; `user_id` None: that of the whole tenant."""

    tenant_id: TenantId
    user_id: UserId | None
    hold: SendingHold


def cause_of(counts: Counts, limits: ReputationLimits) -> HoldCause | None:
    """Return why mail with these counts is to be held, None if it is not: few messages prove nothing."""
    if counts.burst:
        return HoldCause.BURST
    if counts.complained >= limits.complaints and counts.complaint_rate > limits.complaint_rate:
        return HoldCause.COMPLAINTS
    if counts.bounced >= limits.bounces and counts.bounce_rate > limits.bounce_rate:
        return HoldCause.BOUNCES
    if counts.suppressed >= limits.suppressed and counts.suppressed_rate > limits.suppressed_rate:
        return HoldCause.SUPPRESSED
    return None


def cause_in(rates: Rates, limits: ReputationLimits) -> tuple[HoldCause, Counts] | None:
    """Return why, and the counts that show it: of the day, else of the week."""
    for counts in (rates.day, rates.week):
        cause = cause_of(counts, limits)
        if cause is not None:
            return cause, counts
    return None


Verdicts = dict[UserId | None, tuple[HoldCause, Counts]]


def judge(own: Mapping[UserId, Rates], joint: Mapping[UserId, Rates], limits: ReputationLimits) -> Verdicts:
    """Return whose mail of a tenant is to be held: single users, and None for the whole tenant.

    `own` is what counts for users, `joint` what counts for the tenant, which is held only for what is left without the
    users who explain it.
    """
    found: Verdicts = {}
    for user_id, rates in own.items():
        verdict = cause_in(rates, limits)
        if verdict is not None:
            found[user_id] = verdict
    rest = [rates for user_id, rates in joint.items() if user_id not in found]
    verdict = cause_in(together(rest), limits)
    return found if verdict is None else found | {None: verdict}


def together(several: Iterable[Rates]) -> Rates:
    """Return the sum."""
    found = list(several)
    return Rates(sum((one.day for one in found), Counts()), sum((one.week for one in found), Counts()))


def _rate(part: int, whole: int) -> float:
    return part / whole if whole else float(part > 0)
