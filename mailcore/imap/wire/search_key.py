"""SEARCH keys to criteria (RFC 3501 §6.4.4, rule `search-key`)."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, timedelta

from mailcore.errors import SyntaxFault
from mailcore.imap.wire.cursor import Cursor
from mailcore.imap.wire.modseq import read_modseq
from mailcore.imap.wire.object_ids import email_criterion, thread_criterion
from mailcore.model import flags
from mailcore.model import search as model
from mailcore.model.search import Criterion, Moment

_DAY = timedelta(days=1)
_FLAG_ENTRY = re.compile(rb"/flags/\\?[^\x00-\x20\x7f-\xff(){%*\"\\\]]+")


class KeyReader:
    """Reads the keys of one SEARCH; depth is bounded, so that reading may recurse."""

    def __init__(self, cursor: Cursor, charset: str) -> None:
        """`charset`: the codec of strings, "ascii" or "utf-8"."""
        self.cursor = cursor
        self._charset = charset
        self._depth = 0

    def keys(self) -> Criterion:
        """Read `search-key *(SP search-key)`; all must match."""
        criteria = [self.key()]
        while self.cursor.accept(b" "):
            criteria.append(self.key())
        return criteria[0] if len(criteria) == 1 else model.And(tuple(criteria))

    def key(self) -> Criterion:
        """Read one `search-key`."""
        self._depth += 1
        if self._depth > model.MAX_DEPTH:
            raise SyntaxFault("search is nested too deeply")
        first = self.cursor.peek()
        if first == b"(":
            self.cursor.expect(b"(")
            criterion = self.keys()
            self.cursor.expect(b")")
        elif first.isdigit() or first in {b"*", b"$"}:
            criterion = model.Numbered(self.cursor.sequence_set())
        else:
            reader = SEARCH_KEYS.get(self.cursor.word())
            if reader is None:
                raise SyntaxFault("unknown search key")
            criterion = reader(self)
        self._depth -= 1
        return criterion

    def text(self) -> str:
        """Read SP and a string in the search's charset."""
        self.cursor.space()
        try:
            return self.cursor.astring().decode(self._charset)
        except UnicodeDecodeError:
            raise SyntaxFault("string is not in the charset") from None

    def day(self) -> date:
        """Read SP and a date."""
        self.cursor.space()
        return self.cursor.date()

    def number(self) -> int:
        """Read SP and a number."""
        self.cursor.space()
        return self.cursor.number64()


Reader = Callable[[KeyReader], Criterion]


def _flag(bit: int) -> Reader:
    return lambda _reader: model.HasFlag(bit)


def _no_flag(bit: int) -> Reader:
    return lambda _reader: model.Not(model.HasFlag(bit))


def _field(name: str) -> Reader:
    return lambda reader: model.InHeader(name, reader.text())


def _header(reader: KeyReader) -> Criterion:
    name = reader.text()
    return model.InHeader(name, reader.text())


def _keyword(reader: KeyReader) -> Criterion:
    reader.cursor.space()
    return model.HasKeyword(reader.cursor.atom().decode("ascii"))


def _before(moment: Moment) -> Reader:
    return lambda reader: model.Dated(moment, before=reader.day())


def _since(moment: Moment) -> Reader:
    return lambda reader: model.Dated(moment, since=reader.day())


def _on(moment: Moment) -> Reader:
    def read(reader: KeyReader) -> Criterion:
        day = reader.day()
        return model.Dated(moment, since=day, before=None if day == date.max else day + _DAY)

    return read


def _younger(reader: KeyReader) -> Criterion:
    reader.cursor.space()
    return model.YoungerThan(reader.cursor.nz_number())


def _modseq(reader: KeyReader) -> Criterion:
    """Read `[SP entry-name SP entry-type-req] SP mod-sequence-valzer`; a message has one MODSEQ for all entries."""
    reader.cursor.space()
    if reader.cursor.peek() == b'"':
        if not _FLAG_ENTRY.fullmatch(reader.cursor.string()):
            raise SyntaxFault("unknown metadata entry")
        reader.cursor.space()
        if reader.cursor.word() not in {"ALL", "PRIV", "SHARED"}:
            raise SyntaxFault("all, priv or shared expected")
        reader.cursor.space()
    return model.ChangedFrom(read_modseq(reader.cursor))


def _after_space(read: Callable[[Cursor], Criterion]) -> Reader:
    def read_behind(reader: KeyReader) -> Criterion:
        reader.cursor.space()
        return read(reader.cursor)

    return read_behind


def _not(reader: KeyReader) -> Criterion:
    reader.cursor.space()
    return model.Not(reader.key())


def _or(reader: KeyReader) -> Criterion:
    reader.cursor.space()
    left = reader.key()
    reader.cursor.space()
    return model.Or((left, reader.key()))


def _uid(reader: KeyReader) -> Criterion:
    reader.cursor.space()
    return model.Identified(reader.cursor.sequence_set())


SEARCH_KEYS: dict[str, Reader] = {
    "ALL": lambda _reader: model.Everything(),
    "ANSWERED": _flag(flags.ANSWERED),
    "BCC": _field("Bcc"),
    "BEFORE": _before(Moment.INTERNAL),
    "BODY": lambda reader: model.InBody(reader.text()),
    "CC": _field("Cc"),
    "DELETED": _flag(flags.DELETED),
    "DRAFT": _flag(flags.DRAFT),
    "EMAILID": _after_space(email_criterion),
    "FLAGGED": _flag(flags.FLAGGED),
    "FROM": _field("From"),
    "HEADER": _header,
    "KEYWORD": _keyword,
    "LARGER": lambda reader: model.LargerThan(reader.number()),
    "MODSEQ": _modseq,
    "NEW": lambda _reader: model.Nothing(),
    "NOT": _not,
    "OLD": lambda _reader: model.Everything(),
    "OLDER": lambda reader: model.Not(_younger(reader)),
    "ON": _on(Moment.INTERNAL),
    "OR": _or,
    "RECENT": lambda _reader: model.Nothing(),
    "SAVEDATESUPPORTED": lambda _reader: model.Everything(),
    "SAVEDBEFORE": _before(Moment.SAVED),
    "SAVEDON": _on(Moment.SAVED),
    "SAVEDSINCE": _since(Moment.SAVED),
    "SEEN": _flag(flags.SEEN),
    "SENTBEFORE": _before(Moment.SENT),
    "SENTON": _on(Moment.SENT),
    "SENTSINCE": _since(Moment.SENT),
    "SINCE": _since(Moment.INTERNAL),
    "SMALLER": lambda reader: model.SmallerThan(reader.number()),
    "SUBJECT": _field("Subject"),
    "TEXT": lambda reader: model.InText(reader.text()),
    "THREADID": _after_space(thread_criterion),
    "TO": _field("To"),
    "UID": _uid,
    "UNANSWERED": _no_flag(flags.ANSWERED),
    "UNDELETED": _no_flag(flags.DELETED),
    "UNDRAFT": _no_flag(flags.DRAFT),
    "UNFLAGGED": _no_flag(flags.FLAGGED),
    "UNKEYWORD": lambda reader: model.Not(_keyword(reader)),
    "UNSEEN": _no_flag(flags.SEEN),
    "X-GM-LABELS": lambda reader: model.Labelled(reader.text()),
    "X-GM-MSGID": lambda reader: model.MessageNumbered(reader.number()),
    "X-GM-THRID": lambda reader: model.ThreadNumbered(reader.number()),
    "YOUNGER": _younger,
}
"""Every key by name; an extension adds its row here."""
