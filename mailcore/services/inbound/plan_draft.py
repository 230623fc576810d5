"""A plan in the making: what a recipient's programs want of a message, as copies and things to send."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from bson import ObjectId

from mailcore.errors import MailboxNameInvalid
from mailcore.model.flags import FlagSet
from mailcore.model.ids import MailboxId
from mailcore.model.mailbox import INBOX, SpecialUse, parse_mailbox_name
from mailcore.model.onward_target import target_key
from mailcore.model.plan import AutomaticReply, Destination, Filing, Forward
from mailcore.sieve import Action, FileInto, Keep, MarkDuplicate, Redirect, Reject, Reply, Vacation

_NO_FLAGS = FlagSet()


class Draft:
    """What is decided; without any programs the message is kept."""

    def __init__(
        self, *, is_spam: bool, actions: Iterable[Action] = (Keep(),), vouched: frozenset[str] = frozenset()
    ) -> None:
        """`vouched`: keys of targets that need not be confirmed."""
        self._vouched = vouched
        self.is_spam = is_spam
        """By the filter's verdict and the user's level, or by what a program said."""
        self.kept: Filing | None = None
        """The copy of a message that is only kept: in Junk if it is spam, else in INBOX."""
        self.filed: list[Filing] = []
        self.forwards: list[Forward] = []
        self.replies: list[AutomaticReply] = []
        self.rejection: str | None = None
        self.duplicate_ids: list[tuple[bytes, int]] = []
        for action in actions:
            self._take(action)

    @property
    def is_alive(self) -> bool:
        """Whether anybody gets the message."""
        return self.rejection is None and (self.kept is not None or bool(self.filed) or bool(self.forwards))

    def keep(self, flags: FlagSet = _NO_FLAGS, header: bytes | None = None) -> Filing:
        """Return where a message goes of which nobody says where it goes."""
        return Filing((SpecialUse.JUNK,) if self.is_spam else (INBOX,), flags, header=header)

    def filings(self, *, keeps: bool) -> tuple[Filing, ...]:
        """Return every copy, each mailbox once; `keeps` says whether one that is only kept counts."""
        by_place: dict[tuple[Destination, ...], Filing] = {}
        for filing in (*self.filed, self.kept if keeps else None):
            if filing is not None:
                known = by_place.get(filing.destinations)
                joined = filing if known is None else replace(known, flags=_joined(known.flags, filing.flags))
                by_place[filing.destinations] = joined
        return tuple(by_place.values())

    def _take(self, action: Action) -> None:
        if isinstance(action, Keep):
            self.kept = self.keep(action.flags, action.header)
        elif isinstance(action, FileInto):
            self.filed.append(Filing(_destinations(action), action.flags, action.create, action.header))
        elif isinstance(action, Redirect):
            asks = target_key(action.address) not in self._vouched
            self.forwards.append(Forward(action.address, action.header, asks))
        elif isinstance(action, Reject):
            self.rejection = action.reason
        elif isinstance(action, MarkDuplicate):
            self.duplicate_ids.append((action.id, action.seconds))
        elif isinstance(action, Vacation | Reply):
            self.replies.append(_reply(action))


def _joined(one: FlagSet, other: FlagSet) -> FlagSet:
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
