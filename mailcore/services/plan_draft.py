"""A plan in the making: what each program of a recipient wants, one after the other.

A program behind another sees the message as that one left it, and has a say only while the message is kept: what was
filed away, dropped or refused is settled.
"""

from __future__ import annotations

from dataclasses import replace

from bson import ObjectId

from mailcore.errors import MailboxNameInvalid
from mailcore.model.flags import FlagSet
from mailcore.model.ids import MailboxId
from mailcore.model.mailbox import INBOX, SpecialUse, parse_mailbox_name
from mailcore.model.plan import AutomaticReply, Destination, Filing, Forward
from mailcore.sieve import (
    Action,
    FileInto,
    Keep,
    MarkDuplicate,
    MarkSpam,
    Outcome,
    Redirect,
    Reject,
    Reply,
    Vacation,
)


class Draft:
    """What is decided so far."""

    def __init__(self, *, is_spam: bool) -> None:
        self.is_spam = is_spam
        """By the filter's verdict and the user's level, until a program says otherwise."""
        self.is_kept = True
        """Nothing has settled where the message goes."""
        self.filings: list[Filing] = []
        self.forwards: list[Forward] = []
        self.replies: list[AutomaticReply] = []
        self.rejection: str | None = None
        self.duplicate_ids: list[tuple[bytes, int]] = []
        self.header: bytes | None = None
        """As programs changed it, for those behind them and for what is kept."""
        self.errors: list[str] = []
        self._flags = FlagSet()

    @property
    def is_alive(self) -> bool:
        """Whether anybody gets the message."""
        return self.rejection is None and (self.is_kept or bool(self.filings) or bool(self.forwards))

    def take(self, outcome: Outcome) -> None:
        """Take up what one program wants; of one that failed only that it did."""
        if outcome.error is not None:
            self.errors.append(outcome.error)
            return
        self.is_kept = False
        header = self.header
        for action in outcome.actions:
            self._take(action, header)

    def _take(self, action: Action, header: bytes | None) -> None:
        if isinstance(action, Keep):
            self.is_kept = True
            self._flags = _joined(self._flags, action.flags)
            self.header = action.header or header
        elif isinstance(action, FileInto):
            flags = _joined(self._flags, action.flags)
            self.filings.append(Filing(_destinations(action), flags, action.create, action.header or header))
        elif isinstance(action, Redirect):
            self.forwards.append(Forward(action.address, action.header or header))
        elif isinstance(action, Reject):
            self.rejection = action.reason
        elif isinstance(action, MarkSpam):
            self.is_spam = action.is_spam
        elif isinstance(action, MarkDuplicate):
            self.duplicate_ids.append((action.id, action.seconds))
        elif isinstance(action, Vacation | Reply):
            self.replies.append(_reply(action))

    def keep(self) -> Filing:
        """Return the copy of a message that is kept: in Junk if it is spam, else in INBOX."""
        return Filing((SpecialUse.JUNK,) if self.is_spam else (INBOX,), self._flags, header=self.header)

    def all_filings(self, *, keeps: bool) -> tuple[Filing, ...]:
        """Return every copy, each mailbox once; `keeps` says whether one that is only kept counts."""
        wanted = [*self.filings, self.keep()] if keeps and self.is_kept else self.filings
        by_place: dict[tuple[Destination, ...], Filing] = {}
        for filing in wanted:
            known = by_place.get(filing.destinations)
            joined = filing if known is None else replace(known, flags=_joined(known.flags, filing.flags))
            by_place[filing.destinations] = joined
        return tuple(by_place.values())


def _joined(one: FlagSet, other: FlagSet) -> FlagSet:
    if not (one.system or one.keywords):
        return other
    keywords = {name.lower(): name for name in (*other.keywords, *one.keywords)}
    return FlagSet(one.system | other.system, tuple(keywords.values()))


def _destinations(action: FileInto) -> tuple[Destination, ...]:
    """Return the mailboxes a script means, the first that is there counts: by id, by special use, by name."""
    found: list[Destination] = []
    if action.mailbox_id is not None and ObjectId.is_valid(action.mailbox_id):
        found.append(MailboxId(ObjectId(action.mailbox_id)))
    if action.special_use is not None:
        found += [use for use in SpecialUse if use.value.lower() == action.special_use.lower()]
    try:
        found.append(parse_mailbox_name(action.mailbox))
    except MailboxNameInvalid:
        found.append(INBOX)
    return tuple(found)


def _reply(action: Vacation | Reply) -> AutomaticReply:
    if isinstance(action, Reply):
        return AutomaticReply(f"rule:{action.handle}", action.subject or "", action.text, every_s=action.seconds)
    return AutomaticReply(
        handle=f"vacation:{action.handle}",
        subject=action.subject or "",
        text="" if action.mime else action.reason,
        mime=action.reason.encode("utf-8", "replace") if action.mime else b"",
        from_address=action.sender or "",
        addresses=action.addresses,
        every_s=action.seconds,
        kind="vacation",
    )
