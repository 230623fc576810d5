"""The search grammar `q`: words, "phrases", OR, parentheses, -not, and keys such as from:ada or has:attachment.

What it reads is a function from a mailbox to criteria, since `in:` depends on the mailbox.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Final

from mailcore.api.errors import invalid
from mailcore.model.flags import FLAGGED, SEEN
from mailcore.model.mailbox import INBOX, MailboxEntry, SpecialUse
from mailcore.model.search import (
    And,
    Criterion,
    Dated,
    Everything,
    HasFlag,
    InHeader,
    InText,
    InThread,
    LargerThan,
    Moment,
    Not,
    Nothing,
    Or,
    SmallerThan,
    Uids,
)
from mailcore.model.uid_set import UidSet

Query = Callable[[MailboxEntry], Criterion]

MAX_TERMS: Final = 100
MAX_DEPTH: Final = 20
_TOKEN: Final = re.compile(r'\s*(?:(-?\()|(\))|(-?[A-Za-z]+:)?("[^"]*"?|[^\s()"]+)|(-?[A-Za-z]+:))')
_PLACES: Final = {
    "sent": SpecialUse.SENT,
    "trash": SpecialUse.TRASH,
    "spam": SpecialUse.JUNK,
    "junk": SpecialUse.JUNK,
    "drafts": SpecialUse.DRAFTS,
    "archive": SpecialUse.ARCHIVE,
}


@dataclass(slots=True)
class Parsed:
    """What `q` asks for; `with_attachments` is what no column tells, and is asked of all of it."""

    query: Query
    with_attachments: bool | None = None


def parse_query(text: str) -> Parsed:
    """Read a search.

    Raises:
        ApiError: too much of it, or a key whose value is none.
    """
    return _Parser(text).read()


def everything(_: MailboxEntry) -> Criterion:
    """Match all."""
    return Everything()


def always(criterion: Criterion) -> Query:
    """Return the same criteria for every mailbox."""
    return lambda _: criterion


def all_of(queries: list[Query]) -> Query:
    """Return what matches all of them."""
    if len(queries) == 1:
        return queries[0]
    return lambda entry: And(tuple(query(entry) for query in queries))


def any_of(queries: list[Query]) -> Query:
    """Return what matches any of them."""
    if len(queries) == 1:
        return queries[0]
    return lambda entry: Or(tuple(query(entry) for query in queries))


def negated(query: Query) -> Query:
    """Return what does not match."""
    return lambda entry: Not(query(entry))


def in_mailbox(name: str) -> Query:
    """Match a mailbox by its id, its name, its last name, or what it is for."""
    wanted = name.casefold()

    def query(entry: MailboxEntry) -> Criterion:
        use = _PLACES.get(wanted)
        known = {str(entry.id), entry.name.casefold(), entry.name.rpartition("/")[2].casefold()}
        matches = wanted in known or (use is not None and entry.special_use is use)
        return Everything() if matches or (wanted == "inbox" and entry.name == INBOX) else Nothing()

    return query


def to_anybody(text: str) -> Criterion:
    """Match recipients."""
    return Or(tuple(InHeader(name, text) for name in ("to", "cc", "bcc")))


def thread_criterion(text: str) -> Criterion:
    """Match a conversation by its id; nothing where that is none.

    Raises:
        ApiError: it cannot be one.
    """
    if not re.fullmatch(r"[0-9a-fA-F]{1,24}", text):
        raise invalid({"thread": "must be the id of a conversation"})
    number = int(text, 16)
    return InThread(number) if number < 1 << 64 else Nothing()


def words(text: str, *, together: bool = True) -> Criterion:
    """Match words in header or body, in quotes as they stand: all of them, or any."""
    found = [match[1] or match[2] for match in re.finditer(r'"([^"]+)"?|([^\s"]+)', text)][:MAX_TERMS]
    criteria = tuple(InText(word) for word in found)
    if not criteria:
        return Everything()
    return And(criteria) if together else Or(criteria)


@dataclass(slots=True)
class _Level:
    """What was read between two parentheses: alternatives, each a list of terms."""

    is_negated: bool = False
    alternatives: list[list[Query]] = field(default_factory=lambda: [[]])


class _Parser:
    """Reads a query without recursion."""

    def __init__(self, text: str) -> None:
        self._text = text.strip()
        self._levels = [_Level()]
        self._with_attachments: bool | None = None
        self._terms = 0

    def read(self) -> Parsed:
        position = 0
        while match := _TOKEN.match(self._text, position):
            position = match.end()
            self._take(match)
        while len(self._levels) > 1:
            self._close()
        return Parsed(_joined(self._levels[0]), self._with_attachments)

    def _take(self, match: re.Match[str]) -> None:
        if match[1]:
            if len(self._levels) > MAX_DEPTH:
                raise invalid({"q": f"at most {MAX_DEPTH} parentheses in each other"})
            self._levels.append(_Level(is_negated=match[1][0] == "-"))
        elif match[2]:
            if len(self._levels) > 1:
                self._close()
        elif match[4] == "OR" and not match[3]:
            if self._levels[-1].alternatives[-1]:
                self._levels[-1].alternatives.append([])
        elif match[4]:
            self._term(match[3] or "", match[4])

    def _term(self, key: str, value: str) -> None:
        self._terms += 1
        if self._terms > MAX_TERMS:
            raise invalid({"q": f"at most {MAX_TERMS} terms"})
        is_negated = key.startswith("-")
        if not key and value.startswith("-") and len(value) > 1:
            is_negated, value = True, value[1:]
        value = value.strip('"')
        name = key.strip("-:").lower()
        if (name, value.lower()) in {("has", "attachment"), ("attachments", "true")}:
            if len(self._levels) > 1 or len(self._levels[0].alternatives) > 1:
                raise invalid({"q": "has:attachment stands outside of parentheses and OR"})
            self._with_attachments = not is_negated
            return
        if not value:
            return
        query = _term_query(name, value, f"{key}{value}")
        self._levels[-1].alternatives[-1].append(negated(query) if is_negated else query)

    def _close(self) -> None:
        level = self._levels.pop()
        query = _joined(level)
        self._levels[-1].alternatives[-1].append(negated(query) if level.is_negated else query)


def _joined(level: _Level) -> Query:
    alternatives = [all_of(terms) for terms in level.alternatives if terms]
    return any_of(alternatives) if alternatives else everything


def _term_query(name: str, value: str, whole: str) -> Query:
    """Return what one term asks for; a key that is none is a word."""
    if name in {"in", "mailbox"}:
        return in_mailbox(value)
    criterion = _keyed(name, value)
    return always(criterion if criterion is not None else InText(whole if name else value))


def _keyed(name: str, value: str) -> Criterion | None:
    lowered = value.lower()
    match name:
        case "from" | "cc" | "bcc" | "subject":
            return InHeader(name, value)
        case "to":
            return to_anybody(value)
        case "thread":
            return thread_criterion(value)
        case "id":
            return Uids(UidSet.of([number(name, value)]))
        case "minsize" | "larger":
            return LargerThan(number(name, value) - 1)
        case "maxsize" | "smaller":
            return SmallerThan(number(name, value) + 1)
        case "datestart" | "after" | "newer":
            return Dated(Moment.INTERNAL, since=day(name, value))
        case "dateend" | "before" | "older":
            return Dated(Moment.INTERNAL, before=day(name, value))
        case "flagged" | "seen" | "unseen":
            return _flag(name, is_on=lowered not in {"false", "no", "0"})
        case "is" if lowered in {"starred", "flagged"}:
            return _flag("flagged", is_on=True)
        case "is" if lowered in {"read", "unread", "seen", "unseen"}:
            return _flag("seen", is_on=lowered in {"read", "seen"})
    return None


def _flag(name: str, *, is_on: bool) -> Criterion:
    criterion = HasFlag(FLAGGED if name == "flagged" else SEEN)
    return criterion if is_on != (name == "unseen") else Not(criterion)


def number(name: str, value: str) -> int:
    """Return a number of bytes or an id.

    Raises:
        ApiError: it is none.
    """
    if not value.isascii() or not value.isdigit() or not 0 < len(value) <= 10:
        raise invalid({name: "must be a number"})
    return max(1, min(int(value), 0xFFFFFFFF))


def day(name: str, value: str) -> date:
    """Return a day, also from 2026/11/25, or so long ago: 7d, 2m, 1y.

    Raises:
        ApiError: it is none.
    """
    ago = re.fullmatch(r"(\d{1,4})([dmy])", value.lower())
    if ago:
        today = datetime.now(UTC).date()
        days = int(ago[1]) * {"d": 1, "m": 30, "y": 365}[ago[2]]
        return today - timedelta(days=min(days, (today - date.min).days))
    try:
        return date.fromisoformat(value.replace("/", "-")[:10])
    except ValueError:
        raise invalid({name: "must be a day such as 2026-11-25"}) from None
