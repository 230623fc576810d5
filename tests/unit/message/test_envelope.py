"""ENVELOPE, address lists, encoded words, dates, message identifiers."""

# ruff: noqa: E501 - tables of messages

from __future__ import annotations

import datetime as dt

import pytest

from mailcore.message.addresses import list_addresses
from mailcore.message.envelope import (
    HeaderAddress,
    decode_header,
    header_date,
    header_day,
    message_ids,
    parse_addresses,
    serialize_envelope,
)
from mailcore.message.imap_string import MAX_STRING_BYTES, imap_nstring, imap_string
from tests.unit.message.imap_grammar import imapclient_reads, read_envelope

RFC_9051 = (
    b"Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\r\nFrom: Terry Gray <gray@cac.washington.edu>\r\n"
    b"Subject: IMAP4rev2 WG mtg summary and minutes\r\nTo: imap@cac.washington.edu\r\n"
    b"cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>\r\n"
    b"Message-Id: <B27397-0100000@cac.washington.ed>\r\nMIME-Version: 1.0\r\n\r\n"
)


def test_envelope_of_the_rfc() -> None:
    """RFC 9051 §8."""
    assert serialize_envelope(RFC_9051) == (
        b'("Wed, 17 Jul 1996 02:23:25 -0700 (PDT)" "IMAP4rev2 WG mtg summary and minutes" '
        b'(("Terry Gray" NIL "gray" "cac.washington.edu")) (("Terry Gray" NIL "gray" "cac.washington.edu")) '
        b'(("Terry Gray" NIL "gray" "cac.washington.edu")) ((NIL NIL "imap" "cac.washington.edu")) '
        b'((NIL NIL "minutes" "CNRI.Reston.VA.US")("John Klensin" NIL "KLENSIN" "MIT.EDU")) NIL NIL '
        b'"<B27397-0100000@cac.washington.ed>")'
    )


def test_envelope_of_nothing() -> None:
    assert serialize_envelope(b"") == b"(" + b" ".join([b"NIL"] * 10) + b")"


def test_sender_and_reply_to_default_to_from_when_absent_or_empty() -> None:
    """RFC 9051 §7.5.2."""
    envelope = read_envelope(serialize_envelope(b"From: a@b\r\nSender: \r\nReply-To: c@d\r\n\r\n"))
    assert envelope[2:5] == [[(None, None, b"a", b"b")], [(None, None, b"a", b"b")], [(None, None, b"c", b"d")]]


def test_first_of_repeated_fields_counts() -> None:
    envelope = read_envelope(serialize_envelope(b"Subject: one\r\nTo: a@b\r\nsubject: two\r\nTo: c@d\r\n\r\n"))
    assert envelope[1] == b"one"
    assert envelope[5] == [(None, None, b"a", b"b")]


def test_8_bit_and_nul_make_valid_strings() -> None:
    """Attack N10: literals for 8-bit, NUL left out, quotes escaped; another parser agrees."""
    raw = b'Subject: "q\\" \xc3\xa9\xff\0\r\nFrom: "a\\"b" <c@d>\r\nMessage-ID: {3}\r\n abc\r\n\r\n'
    serialized = serialize_envelope(raw)
    envelope = read_envelope(serialized)
    assert envelope[1] == b'"q\\" \xc3\xa9\xff'
    assert envelope[2] == [(b'a"b', None, b"c", b"d")]
    assert imapclient_reads("ENVELOPE", serialized).subject == envelope[1]
    assert imapclient_reads("ENVELOPE", serialized).message_id == b"{3} abc"


def test_long_values_and_lists_are_cut() -> None:
    raw = b"Subject: " + b"s" * 50_000 + b"\r\nFrom: " + b"f@x," * 5000 + b"\r\nTo: " + b"t@y, " * 50_000 + b"\r\n\r\n"
    envelope = read_envelope(serialize_envelope(raw))
    assert len(envelope[1]) == MAX_STRING_BYTES
    assert 500 < len(envelope[2]) < 5000
    assert 1000 < len(envelope[5]) < 50_000
    group = read_envelope(serialize_envelope(b"To: g: " + b"t@y, " * 50_000 + b";\r\n\r\n"))[5]
    assert group[0] == (None, None, b"g", None)
    assert group[-1] == (None, None, None, None)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(b"", b'""', id="empty"),
        pytest.param(b"a b", b'"a b"', id="plain"),
        pytest.param(b'"\\', b'"\\"\\\\"', id="escaped"),
        pytest.param(b"a\tb\x7f", b'"a\tb\x7f"', id="controls"),
        pytest.param(b"a\0b", b'"ab"', id="nul"),
        pytest.param(b"a\r\nb\nc\rd", b'"a b c d"', id="line ends"),
        pytest.param(b"\xe9", b"{1}\r\n\xe9", id="8 bit"),
        pytest.param(b"\0\xe9\r\n", b"{2}\r\n\xe9 ", id="8 bit cleaned"),
    ],
)
def test_imap_string(value: bytes, expected: bytes) -> None:
    """RFC 9051 §9, `string`."""
    assert imap_string(value) == expected == imap_nstring(value)
    assert imap_nstring(None) == b"NIL"


def test_cut_strings_keep_whole_characters() -> None:
    text = "é".encode() * MAX_STRING_BYTES
    assert imap_string(b"x" + text).endswith("é".encode())


G = (None, None)
ADDRESSES = [
    # RFC 5322 appendix A.1
    pytest.param(b"John Doe <jdoe@machine.example>", [(b"John Doe", None, b"jdoe", b"machine.example")], id="A.1.1"),
    pytest.param(
        b'"Joe Q. Public" <john.q.public@example.com>', [(b"Joe Q. Public", None, b"john.q.public", b"example.com")], id="A.1.2"
    ),
    pytest.param(
        b'Mary Smith <mary@x.test>, jdoe@example.org, Who? <one@y.test>, <boss@nil.test>, "Giant; \\"Big\\" Box" <s@e.net>',
        [
            (b"Mary Smith", None, b"mary", b"x.test"),
            (None, None, b"jdoe", b"example.org"),
            (b"Who?", None, b"one", b"y.test"),
            (None, None, b"boss", b"nil.test"),
            (b'Giant; "Big" Box', None, b"s", b"e.net"),
        ],
        id="A.1.2 list",
    ),
    pytest.param(
        b"A Group:Ed Jones <c@a.test>,joe@where.test,John <jdoe@one.test>;",
        [
            (*G, b"A Group", None),
            (b"Ed Jones", None, b"c", b"a.test"),
            (None, None, b"joe", b"where.test"),
            (b"John", None, b"jdoe", b"one.test"),
            (*G, None, None),
        ],
        id="A.1.3 group",
    ),
    pytest.param(b"Undisclosed recipients:;", [(*G, b"Undisclosed recipients", None), (*G, None, None)], id="A.1.3 empty"),
    # A.5 and A.6
    pytest.param(b"Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>", [(b"Pete", None, b"pete", b"silly.test")], id="A.5"),
    pytest.param(
        b"A Group(Some people)\t:Chris Jones <c@(Chris's host.)public.example>,\tjoe@example.org (\tnested (c)), ;",
        [
            (*G, b"A Group", None),
            (b"Chris Jones", None, b"c", b"public.example"),
            (b"nested (c)", None, b"joe", b"example.org"),
            (*G, None, None),
        ],
        id="A.5 group",
    ),
    pytest.param(b"Joe Q. Public <john.q.public@example.com>", [(b"Joe Q. Public", None, b"john.q.public", b"example.com")], id="A.6.1"),
    pytest.param(
        b"Mary Smith <@node.test:mary@example.net>, , jdoe@test  . example",
        [(b"Mary Smith", b"@node.test", b"mary", b"example.net"), (None, None, b"jdoe", b"test.example")],
        id="A.6.1 route",
    ),
    pytest.param(b"<@a,@b:u@d>, x@y", [(None, b"@a,@b", b"u", b"d"), (None, None, b"x", b"y")], id="route of two"),
    pytest.param(b"gray@cac (Terry Gray)", [(b"Terry Gray", None, b"gray", b"cac")], id="comment as name"),
    pytest.param(b'"quoted local"@x', [(None, None, b"quoted local", b"x")], id="quoted local part"),
    pytest.param(b"a@b <c@d>", [(b"a@b", None, b"c", b"d")], id="address as name"),
    pytest.param(b"u@[192.0.2.1]", [(None, None, b"u", b"[192.0.2.1]")], id="domain literal"),
    pytest.param(b"root", [(None, None, b"root", b"")], id="no domain"),
    pytest.param(b"MAILER-DAEMON (Mail System)", [(b"Mail System", None, b"MAILER-DAEMON", b"")], id="no domain, comment"),
    pytest.param(b"Smith, John <j@x>", [(None, None, b"Smith", b""), (b"John", None, b"j", b"x")], id="unquoted comma"),
    pytest.param(b"a@b; c@d", [(None, None, b"a", b"b"), (None, None, b"c", b"d")], id="semicolons"),
    pytest.param(b"<a@b, c@d", [(None, None, b"a", b"b"), (None, None, b"c", b"d")], id="angle not closed"),
    pytest.param(b'"never closed <a@b>', [(None, None, b"never closed <a@b>", b"")], id="quote not closed"),
    pytest.param(b"a@b (never closed, c@d", [(b"never closed, c@d", None, b"a", b"b")], id="comment not closed"),
    pytest.param(b"=?utf-8?q?J=C3=B6rg?= <j@x>", [(b"=?utf-8?q?J=C3=B6rg?=", None, b"j", b"x")], id="encoded word"),
    pytest.param("Jörg <jörg@müller.example>".encode(), [("Jörg".encode(), None, "jörg".encode(), "müller.example".encode())], id="RFC 6532"),
    pytest.param(b"a@b@c", [(None, None, b"a", b"b@c")], id="two at"),
    pytest.param(b"<>", [], id="empty path"),
    pytest.param(b" , ,;", [], id="separators only"),
    pytest.param(b"g: a@b", [(*G, b"g", None), (None, None, b"a", b"b"), (*G, None, None)], id="group not closed"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "expected"), ADDRESSES)
def test_address_list(value: bytes, expected: list[tuple[bytes | None, ...]]) -> None:
    """RFC 5322 §3.4, §4.4."""
    assert list_addresses(value) == expected
    read_envelope(serialize_envelope(b"To: " + value + b"\r\n\r\n"))


def test_addresses_for_people_are_decoded() -> None:
    value = b'=?utf-8?b?SsO2cmc=?=\r\n <j@x>, Team: "A, B" <a@b>, c@d;, =?iso-8859-1?q?=E9?= <e@f>, root'
    assert parse_addresses(value) == [
        HeaderAddress("Jörg", "j@x"),
        HeaderAddress("A, B", "a@b", "Team"),
        HeaderAddress("", "c@d", "Team"),
        HeaderAddress("é", "e@f"),
        HeaderAddress("", "root"),
    ]


WORDS = [
    # RFC 2047 §8
    (b"=?ISO-8859-1?Q?a?=", "a"),
    (b"=?ISO-8859-1?Q?a?= b", "a b"),
    (b"=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab"),
    (b"=?ISO-8859-1?Q?a?=\r\n    =?ISO-8859-1?Q?b?=", "ab"),
    (b"=?ISO-8859-1?Q?a_b?=", "a b"),
    (b"=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=", "a b"),
    (b"=?US-ASCII?Q?Keith_Moore?= <moore@cs.utk.edu>", "Keith Moore <moore@cs.utk.edu>"),
    (b"=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?=\r\n =?ISO-8859-2?B?dSB1bmRlcnN0YW5kIHRoZSBleGFtcGxlLg==?=",
     "If you can read this you understand the example."),
    # what senders do
    (b"=?utf-8?b?w6k?=", "é"),
    (b"=?utf-8?q?=C3?= =?utf-8?q?=A9?=", "é"),
    (b"a=?utf-8?q?b?=c", "abc"),
    (b"=?utf-8*en?q?caf=C3=A9?=", "café"),
    (b"=?x-unknown?q?caf=E9?=", "café"),
    (b"=?utf-8?q?not closed", "=?utf-8?q?not closed"),
    (b"=?utf-8?x?abc?=", "=?utf-8?x?abc?="),
    ("schon Unicode: é".encode(), "schon Unicode: é"),
    (b"caf\xe9", "café"),
    (b"a\r\n b\x00\x07c", "a b c"),
    (b"=?utf-8?q?=0D=0ABcc:_x?=", "Bcc: x"),
    (b"=?gb2312?b?xOO6ww==?=", "你好"),
    (b"=?iso-2022-jp?b?GyRCRnxLXBsoQg==?=", "日本"),
    (b"=?ks_c_5601-1987?b?x9GxuQ==?=", "한국"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "expected"), WORDS)
def test_decode_header(value: bytes, expected: str) -> None:
    """RFC 2047."""
    assert decode_header(value) == expected


@pytest.mark.parametrize(
    ("value", "day", "seconds"),
    [
        pytest.param(b"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)", (1996, 7, 17), 837595405, id="usual"),
        pytest.param(b"Fri, 21 Nov 1997 09:55:06 -0600", (1997, 11, 21), 880127706, id="RFC 5322 A.1"),
        pytest.param(b"21 Nov 97 09:55:06 GMT", (1997, 11, 21), 880106106, id="RFC 5322 A.6.2"),
        pytest.param(b"Thu,\r\n      13\r\n        Feb\r\n          1969\r\n      23:32\r\n               -0330", (1969, 2, 13), -27723480, id="A.5"),
        pytest.param(b"1 Jan 2024 00:30 +0100", (2024, 1, 1), 1704065400, id="no seconds"),
        pytest.param(b"Tue, 31 Dec 2024 23:59:60 +0000", (2024, 12, 31), 1735689600, id="leap second"),
        pytest.param(b"Mon, 30 Feb 2024 10:00:00 +0000", None, None, id="no such day"),
        pytest.param(b"Mon, 1 Foo 2024 10:00:00 +0000", None, None, id="no such month"),
        pytest.param(b"Mon, 1 Jan 2024 25:00:00 +0000", None, None, id="no such hour"),
        pytest.param(b"yesterday", None, None, id="words"),
        pytest.param(b"\xff" * 1000, None, None, id="noise"),
        pytest.param(b"", None, None, id="empty"),
    ],
)  # fmt: skip
def test_date(value: bytes, day: tuple[int, int, int] | None, seconds: int | None) -> None:
    """RFC 5322 §3.3, §4.3."""
    header = b"Subject: x\r\nDate: " + value + b"\r\n\r\n"
    assert header_date(header) == seconds
    assert header_day(header) == (dt.date(*day) if day else None)


def test_absent_date_is_none() -> None:
    assert header_date(b"Subject: Date: 1 Jan 2024 00:00:00 +0000\r\n\r\n") is None


def test_message_ids_in_order_without_repeats() -> None:
    header = b"References: <a@x>\r\n <b\r\n @x> junk <a@x><c@x\r\nMessage-ID: none\r\n\r\n"
    assert message_ids(header, b"References") == [b"<a@x>", b"<b@x>"]
    assert message_ids(header, b"Message-ID") == []
    assert message_ids(header, b"In-Reply-To") == []
