"""SEARCH keys (RFC 3501 §6.4.4)."""

from __future__ import annotations

from datetime import date

import pytest

from mailcore.errors import SyntaxFault
from mailcore.imap.wire.search_key import SEARCH_KEYS, KeyReader
from mailcore.model import flags
from mailcore.model import search as model
from mailcore.model.search import Criterion, Moment
from mailcore.model.uid_set import SequenceSet
from tests.unit.imap.wire.commands import cursor_of

_DAY = date(1994, 2, 1)
_NEXT = date(1994, 2, 2)

GOOD = [
    (b"ALL", model.Everything()),
    (b"ANSWERED", model.HasFlag(flags.ANSWERED)),
    (b"UNANSWERED", model.Not(model.HasFlag(flags.ANSWERED))),
    (b"DELETED", model.HasFlag(flags.DELETED)),
    (b"UNDELETED", model.Not(model.HasFlag(flags.DELETED))),
    (b"DRAFT", model.HasFlag(flags.DRAFT)),
    (b"UNDRAFT", model.Not(model.HasFlag(flags.DRAFT))),
    (b"FLAGGED", model.HasFlag(flags.FLAGGED)),
    (b"UNFLAGGED", model.Not(model.HasFlag(flags.FLAGGED))),
    (b"SEEN", model.HasFlag(flags.SEEN)),
    (b"UNSEEN", model.Not(model.HasFlag(flags.SEEN))),
    (b"RECENT", model.Nothing()),
    (b"NEW", model.Nothing()),
    (b"OLD", model.Everything()),
    (b"KEYWORD $Junk", model.HasKeyword("$Junk")),
    (b"UNKEYWORD $Junk", model.Not(model.HasKeyword("$Junk"))),
    (b"BCC x", model.InHeader("Bcc", "x")),
    (b"CC x", model.InHeader("Cc", "x")),
    (b'FROM "Smith"', model.InHeader("From", "Smith")),
    (b"SUBJECT {3}\r\na b", model.InHeader("Subject", "a b")),
    (b"TO x", model.InHeader("To", "x")),
    (b'HEADER X-Spam ""', model.InHeader("X-Spam", "")),
    (b"BODY x", model.InBody("x")),
    (b"TEXT x", model.InText("x")),
    (b"LARGER 10", model.LargerThan(10)),
    (b"SMALLER 10", model.SmallerThan(10)),
    (b"BEFORE 1-Feb-1994", model.Dated(Moment.INTERNAL, before=_DAY)),
    (b"ON 1-Feb-1994", model.Dated(Moment.INTERNAL, since=_DAY, before=_NEXT)),
    (b"SINCE 1-Feb-1994", model.Dated(Moment.INTERNAL, since=_DAY)),
    (b"SENTBEFORE 1-Feb-1994", model.Dated(Moment.SENT, before=_DAY)),
    (b"SENTON 1-Feb-1994", model.Dated(Moment.SENT, since=_DAY, before=_NEXT)),
    (b"SENTSINCE 1-Feb-1994", model.Dated(Moment.SENT, since=_DAY)),
    (b"ON 31-Dec-9999", model.Dated(Moment.INTERNAL, since=date.max)),
    (b"1:3", model.Numbered(SequenceSet(((1, 3),)))),
    (b"*", model.Numbered(SequenceSet(((0, 0),)))),
    (b"UID 5", model.Identified(SequenceSet(((5, 5),)))),
    (b"NOT SEEN", model.Not(model.HasFlag(flags.SEEN))),
    (b"OR SEEN ALL", model.Or((model.HasFlag(flags.SEEN), model.Everything()))),
    (b"(SEEN ALL)", model.And((model.HasFlag(flags.SEEN), model.Everything()))),
    (b"SEEN ALL", model.And((model.HasFlag(flags.SEEN), model.Everything()))),
    (b"((ALL))", model.Everything()),
    (b"$", model.Numbered(SequenceSet((), saved=True))),
    (b"UID $", model.Identified(SequenceSet((), saved=True))),
    (b"YOUNGER 60", model.YoungerThan(60)),
    (b"OLDER 60", model.Not(model.YoungerThan(60))),
    (b"SAVEDBEFORE 1-Feb-1994", model.Dated(Moment.SAVED, before=_DAY)),
    (b"SAVEDON 1-Feb-1994", model.Dated(Moment.SAVED, since=_DAY, before=_NEXT)),
    (b"SAVEDSINCE 1-Feb-1994", model.Dated(Moment.SAVED, since=_DAY)),
    (b"SAVEDATESUPPORTED", model.Everything()),
    (b"MODSEQ 620162338", model.ChangedFrom(620162337)),
    (b'MODSEQ "/flags/\\\\draft" all 1', model.ChangedFrom(0)),
    (b"MODSEQ 0", model.ChangedFrom(-1)),
    (b"EMAILID M" + b"0f" * 12, model.MessageIs(b"\x0f" * 12)),
    (b"EMAILID M1", model.Nothing()),
    (b"THREADID T00000000000000ff", model.InThread(255)),
    (b'X-GM-LABELS "two words"', model.Labelled("two words")),
    (b'X-GM-LABELS "\\\\Inbox"', model.Labelled("\\Inbox")),
    (b"X-GM-MSGID 7", model.MessageNumbered(7)),
    (b"X-GM-THRID 7", model.ThreadNumbered(7)),
]

BAD = [
    b"", b"()", b"(ALL", b"ALL  SEEN", b"NOT", b"OR ALL", b"HEADER x", b"FROM", b"LARGER x", b"LARGER -1",
    b"ON 99-Feb-1994", b"UID x", b"XYZZY", b"KEYWORD (x)", b"FROM {1}\r\n\xff",
    b"$1", b"$,1", b"YOUNGER 0", b"OLDER 4294967296", b"MODSEQ", b"MODSEQ x", b'MODSEQ "/flags/" all 1',
    b'MODSEQ "/flags/x" 1', b"EMAILID", b"EMAILID {0}\r\n", b"X-GM-MSGID x", b"X-GM-LABELS",
]  # fmt: skip


@pytest.mark.parametrize(("data", "criterion"), GOOD)
def test_keys(data: bytes, criterion: Criterion) -> None:
    cursor = cursor_of(data)
    assert KeyReader(cursor, "utf-8").keys() == criterion
    cursor.end()


def test_every_key_of_the_table_is_tried() -> None:
    tried = {data.split(b" ")[0].decode() for data, _ in GOOD}
    assert set(SEARCH_KEYS) <= tried


@pytest.mark.parametrize("data", BAD)
def test_what_is_no_key_is_refused(data: bytes) -> None:
    cursor = cursor_of(data)
    with pytest.raises(SyntaxFault):
        KeyReader(cursor, "utf-8").keys()
        cursor.end()


@pytest.mark.parametrize(
    "data", [b"(" * 60_000, b"NOT " * 60_000 + b"ALL", b"OR ALL " * 60_000 + b"ALL", b"(" * 101 + b"ALL" + b")" * 101]
)
def test_deep_nesting_is_refused_without_recursion(data: bytes) -> None:
    """N6."""
    with pytest.raises(SyntaxFault):
        KeyReader(cursor_of(data), "utf-8").keys()


def test_as_deep_as_allowed() -> None:
    reader = KeyReader(cursor_of(b"(" * 99 + b"ALL" + b")" * 99), "utf-8")
    assert reader.keys() == model.Everything()


def test_strings_are_read_in_the_charset() -> None:
    data = "SUBJECT {2}\r\nü".encode()
    assert KeyReader(cursor_of(data), "utf-8").keys() == model.InHeader("Subject", "ü")
    with pytest.raises(SyntaxFault):
        KeyReader(cursor_of(data), "ascii").keys()
