"""Argument grammar: each rule whole, and followed by what must not be there."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone

import pytest

from mailcore.errors import MailboxNameInvalid, SyntaxFault
from mailcore.imap.wire.cursor import Cursor
from mailcore.model import flags
from mailcore.model.flags import FlagSet
from mailcore.model.uid_set import SequenceSet, UidSet
from tests.unit.imap.wire.commands import cursor_of

RULES: dict[str, Callable[[Cursor], object]] = {
    "atom": Cursor.atom,
    "word": Cursor.word,
    "number": Cursor.number,
    "nz_number": Cursor.nz_number,
    "string": Cursor.string,
    "astring": Cursor.astring,
    "nstring": Cursor.nstring,
    "mailbox": Cursor.mailbox,
    "new_mailbox": Cursor.new_mailbox,
    "list_mailbox": Cursor.list_mailbox,
    "sequence_set": Cursor.sequence_set,
    "flag_set": Cursor.flag_set,
    "date": Cursor.date,
    "date_time": Cursor.date_time,
}

GOOD = [
    ("atom", b"INBOX", b"INBOX"),
    ("word", b"Flags.Silent", "FLAGS.SILENT"),
    ("number", b"0", 0),
    ("number", b"4294967295", 4294967295),
    ("nz_number", b"1", 1),
    ("string", b'"a b"', b"a b"),
    ("string", rb'"a\"\\b"', rb'a"\b'),
    ("string", b'""', b""),
    ("string", b"{3}\r\na\r\n", b"a\r\n"),
    ("astring", b"a]b", b"a]b"),
    ("astring", b"{1+}\r\n ", b" "),
    ("nstring", b"NIL", None),
    ("nstring", b'"NIL"', b"NIL"),
    ("mailbox", b"inbox", "INBOX"),
    ("mailbox", b"iNbOx/a", "INBOX/a"),
    ("mailbox", b'"Inboxes"', "Inboxes"),
    ("mailbox", b"Entw&APw-rfe", "Entwürfe"),
    ("mailbox", b"~peter/mail/&U,BTFw-/&ZeVnLIqe-", "~peter/mail/台北/日本語"),  # RFC 3501 §5.1.3
    ("mailbox", b"{3}\r\na b", "a b"),
    ("new_mailbox", b"a/b/", "a/b"),
    ("list_mailbox", b"%/*]", "%/*]"),
    ("list_mailbox", b'""', ""),
    ("sequence_set", b"1", SequenceSet(((1, 1),))),
    ("sequence_set", b"2,4:7,9,12:*", SequenceSet(((2, 2), (4, 7), (9, 9), (12, 0)))),  # RFC 3501 §9
    ("sequence_set", b"*:4,5:7", SequenceSet(((0, 4), (5, 7)))),
    ("flag_set", rb"(\Seen $Forwarded)", FlagSet(flags.SEEN, ("$Forwarded",))),
    ("flag_set", rb"\seen \DELETED", FlagSet(flags.SEEN | flags.DELETED)),
    ("flag_set", rb"(\Recent)", FlagSet()),
    ("flag_set", b"()", FlagSet()),
    ("flag_set", b"(Work work WORK)", FlagSet(0, ("Work",))),
    ("date", b"1-Feb-1994", date(1994, 2, 1)),
    ("date", b'"01-feb-1994"', date(1994, 2, 1)),
    ("date_time", b'"17-Jul-1996 02:44:25 -0700"', 837596665),  # RFC 3501 §7.4.2
    ("date_time", b'" 1-Jan-1970 00:00:00 +0000"', 0),
    ("date_time", b'"31-Dec-1969 23:59:59 +0000"', -1),
]

BAD = [
    ("atom", b"(x"),
    ("atom", b'"x"'),
    ("number", b"4294967296"),
    ("number", b"99999999999999999999999"),
    ("number", b"x"),
    ("nz_number", b"0"),
    ("string", b"x"),
    ("string", b'"x'),
    ("string", rb'"\x"'),
    ("string", b'"a\0b"'),
    ("string", b'"\xc3\xbc"'),
    ("string", b"~{1}\r\nx"),
    ("astring", b""),
    ("sequence_set", b"0"),
    ("sequence_set", b"1,,2"),
    ("sequence_set", b"1:2:3"),
    ("sequence_set", b",1"),
    ("sequence_set", b"1:"),
    ("sequence_set", b"4294967296"),
    ("flag_set", rb"(\Unknown)"),
    ("flag_set", b"(a  b)"),
    ("flag_set", b"(a"),
    ("date", b"31-Feb-1994"),
    ("date", b"1-Foo-1994"),
    ("date", b'"1-Feb-1994'),
    ("date_time", b"17-Jul-1996"),
    ("date_time", b'"17-Jul-1996 24:44:25 -0700"'),
    ("date_time", b'"17-Jul-1996 02:44:25 -0760"'),
]

NO_NAMES = [
    pytest.param(b"&AEE-", id="an ASCII letter in disguise"),
    pytest.param(b"&U,BTFw-&ZeVnLIqe-", id="two shifts side by side"),
    pytest.param(b"&U,BTFw", id="not closed"),
    pytest.param(b"&Jjo!", id="RFC 3501's superfluous shift"),
    pytest.param(b"a&b", id="lone ampersand"),
    pytest.param(b"&2AA-", id="half a surrogate pair"),
    pytest.param(b"&AAo-", id="line feed in disguise"),
    pytest.param(b'""', id="empty"),
    pytest.param(b"a//b", id="empty part"),
    pytest.param(b"/a", id="leading delimiter"),
    pytest.param(b"/".join([b"x"] * 33), id="too deep"),
    pytest.param(b"x" * 256, id="too long"),
    pytest.param(b"{3}\r\na\r\n", id="line end"),
    pytest.param(b"{3}\r\na\0b", id="NUL"),
    pytest.param(b"{2}\r\n\xc3\xbc", id="8-bit without UTF8=ACCEPT"),
]


@pytest.mark.parametrize(("rule", "data", "value"), GOOD)
def test_rule_reads_its_value_and_nothing_more(rule: str, data: bytes, value: object) -> None:
    cursor = cursor_of(data)
    assert RULES[rule](cursor) == value
    cursor.end()
    followed = cursor_of(data + b" ()")
    if rule == "flag_set" and not data.startswith(b"("):
        return  # goes on at a space
    assert RULES[rule](followed) == value
    with pytest.raises(SyntaxFault):
        followed.end()


@pytest.mark.parametrize(("rule", "data"), BAD)
def test_rule_refuses(rule: str, data: bytes) -> None:
    cursor = cursor_of(data)
    with pytest.raises(SyntaxFault):
        RULES[rule](cursor)
        cursor.end()


@pytest.mark.parametrize("data", NO_NAMES)
def test_only_canonical_names_are_names(data: bytes) -> None:
    """RFC 3501 §5.1.3; attack W20."""
    with pytest.raises(MailboxNameInvalid):
        cursor_of(data).mailbox()


def test_names_are_utf8_once_enabled() -> None:
    """RFC 6855 §3: no modified UTF-7 any more."""
    assert cursor_of('"Entwürfe"'.encode(), utf8=True).mailbox() == "Entwürfe"
    assert cursor_of(b'"Entw&APw-rfe"', utf8=True).mailbox() == "Entw&APw-rfe"
    assert cursor_of('"Entwu\u0308rfe"'.encode(), utf8=True).mailbox() == "Entwürfe"
    with pytest.raises(SyntaxFault):
        cursor_of(b'"\xff"', utf8=True).mailbox()


def test_date_time_is_that_of_the_calendar() -> None:
    zone = timezone(timedelta(hours=5, minutes=30))
    assert (
        cursor_of(b'"29-Feb-2024 23:59:59 +0530"').date_time()
        == datetime(2024, 2, 29, 23, 59, 59, tzinfo=zone).timestamp()
    )


def test_a_mark_in_the_middle_of_text_is_no_literal() -> None:
    cursor = cursor_of(b"{5}x")
    with pytest.raises(SyntaxFault):
        cursor.astring()


RESOLVED = [
    (b"1:3", 10, ((1, 3),)),
    (b"3:1", 10, ((1, 3),)),
    (b"*", 10, ((10, 10),)),
    (b"*:8", 10, ((8, 10),)),
    (b"559:*", 10, ((10, 559),)),
    (b"5,1,3:4", 10, ((1, 1), (3, 5))),
    (b"*", 0, ()),
    (b"1:*", 0, ()),
]


@pytest.mark.parametrize(("data", "largest", "ranges"), RESOLVED)
def test_star_is_the_largest(data: bytes, largest: int, ranges: tuple[tuple[int, int], ...]) -> None:
    assert cursor_of(data).sequence_set().resolve(largest) == UidSet(ranges)


def test_a_long_set_takes_linear_time() -> None:
    """N6: 100,000 members, outside the limit a connection has."""
    data = b",".join(b"%d" % number for number in range(1, 200_001, 2))
    assert len(cursor_of(data).sequence_set().resolve(200_000)) == 100_000
