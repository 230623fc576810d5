"""What to look for, as a tree of values (RFC 9051 §6.4.4); the IMAP keys, and the base of other doors' searches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from enum import Enum

from mailcore.model.uid_set import SequenceSet, UidSet

MAX_DEPTH = 100
"""Deeper trees are refused where they are read, so walking one may recurse."""


@dataclass(frozen=True, slots=True)
class Everything:
    """Every message."""


@dataclass(frozen=True, slots=True)
class Nothing:
    r"""No message: RECENT and NEW where there is no \Recent."""


@dataclass(frozen=True, slots=True)
class And:
    """All of them; none given means every message."""

    criteria: tuple[Criterion, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """At least one of them."""

    criteria: tuple[Criterion, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """Those that do not match."""

    criterion: Criterion


@dataclass(frozen=True, slots=True)
class Numbered:
    """Messages by sequence number; a session turns it into `Uids` before it asks a service."""

    numbers: SequenceSet


@dataclass(frozen=True, slots=True)
class Identified:
    """Messages by UID as the client wrote it; a session turns it into `Uids`."""

    uids: SequenceSet


@dataclass(frozen=True, slots=True)
class Uids:
    """Messages with these UIDs."""

    uids: UidSet


@dataclass(frozen=True, slots=True)
class HasFlag:
    """A bit of `model.flags`, system flags only."""

    bit: int


@dataclass(frozen=True, slots=True)
class HasKeyword:
    """A keyword, case-insensitive."""

    keyword: str


class Moment(Enum):
    """Which date of a message is meant."""

    INTERNAL = "internal"
    SENT = "sent"
    """The Date field as written, its own time zone (RFC 9051 §6.4.4 SENTON)."""
    SAVED = "saved"
    """When it came into this mailbox (RFC 8514)."""


@dataclass(frozen=True, slots=True)
class Dated:
    """Day within [since, before); None is open. Time of day does not count."""

    moment: Moment
    since: date | None = None
    before: date | None = None


@dataclass(frozen=True, slots=True)
class YoungerThan:
    """Internal date at most so many seconds ago (RFC 5032)."""

    interval_s: int


@dataclass(frozen=True, slots=True)
class ChangedFrom:
    """Changed at this place of the mailbox's log or later (RFC 7162 §3.1.5)."""

    modseq: int


@dataclass(frozen=True, slots=True)
class MessageIs:
    """This very message, in whatever mailboxes it is (RFC 8474 EMAILID)."""

    message_oid: bytes


@dataclass(frozen=True, slots=True)
class MessageNumbered:
    """The message with this number (X-GM-MSGID)."""

    number: int


@dataclass(frozen=True, slots=True)
class Labelled:
    """A label as the client wrote it (X-GM-LABELS); a session turns it into `Uids` or flags."""

    label: str


@dataclass(frozen=True, slots=True)
class InThread:
    """Part of this conversation (RFC 8474 THREADID)."""

    thread: int


@dataclass(frozen=True, slots=True)
class ThreadNumbered:
    """Part of the conversation with this number (X-GM-THRID)."""

    number: int


@dataclass(frozen=True, slots=True)
class LargerThan:
    """RFC822.SIZE above this many bytes."""

    size_bytes: int


@dataclass(frozen=True, slots=True)
class SmallerThan:
    """RFC822.SIZE below this many bytes."""

    size_bytes: int


@dataclass(frozen=True, slots=True)
class InHeader:
    """A field of this name contains the text; empty text: the field is there."""

    field: str
    text: str


@dataclass(frozen=True, slots=True)
class InBody:
    """The body contains the text."""

    text: str


@dataclass(frozen=True, slots=True)
class InText:
    """Header or body contains the text."""

    text: str


Criterion = (
    Everything
    | Nothing
    | And
    | Or
    | Not
    | Numbered
    | Identified
    | Uids
    | HasFlag
    | HasKeyword
    | Dated
    | YoungerThan
    | ChangedFrom
    | MessageIs
    | MessageNumbered
    | Labelled
    | InThread
    | ThreadNumbered
    | LargerThan
    | SmallerThan
    | InHeader
    | InBody
    | InText
)


def replace_leaves(criterion: Criterion, replace: Callable[[Criterion], Criterion]) -> Criterion:
    """Return the tree with `replace` applied to everything that is not And, Or, Not."""
    match criterion:
        case And(criteria):
            return And(tuple(replace_leaves(child, replace) for child in criteria))
        case Or(criteria):
            return Or(tuple(replace_leaves(child, replace) for child in criteria))
        case Not(child):
            return Not(replace_leaves(child, replace))
        case _:
            return replace(criterion)


def any_leaf(criterion: Criterion, is_such: Callable[[Criterion], bool]) -> bool:
    """Return whether the tree has such a leaf: anything that is not And, Or, Not."""
    match criterion:
        case And(criteria) | Or(criteria):
            return any(any_leaf(child, is_such) for child in criteria)
        case Not(child):
            return any_leaf(child, is_such)
        case _:
            return is_such(criterion)
