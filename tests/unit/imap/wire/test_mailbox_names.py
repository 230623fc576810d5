"""Names and patterns: modified UTF-7 both ways, wildcards in linear time (W20, N9)."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailcore.errors import MailboxNameInvalid
from mailcore.imap.wire.mailbox_name import decode_utf7, encode_utf7
from mailcore.imap.wire.mailbox_pattern import MailboxPattern
from mailcore.model.ids import MailboxName

NAMES = [
    ("INBOX", b"INBOX"),
    ("R&D", b"R&-D"),
    ("台北", b"&U,BTFw-"),
    ("日本語/mail", b"&ZeVnLIqe-/mail"),
    ("ä&ö", b"&AOQ-&-&APY-"),
    ("💌", b"&2D3cjA-"),
    ("\t", b"&AAk-"),
]


@pytest.mark.parametrize(("name", "wire"), NAMES)
def test_modified_utf7(name: str, wire: bytes) -> None:
    assert encode_utf7(name) == wire
    assert decode_utf7(wire) == name


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_what_is_written_is_read_back(name: str) -> None:
    wire = encode_utf7(name)
    assert wire.isascii()
    assert b"\r" not in wire
    assert b"\n" not in wire
    assert decode_utf7(wire) == name


@given(st.binary())
def test_any_bytes_are_a_name_in_one_spelling_or_none(wire: bytes) -> None:
    try:
        name = decode_utf7(wire)
    except MailboxNameInvalid:
        return
    assert wire.isascii()
    if name.isprintable() and name.isascii():
        assert encode_utf7(name) == wire


MATCHES = [
    ("*", "a/b", True),
    ("%", "a", True),
    ("%", "a/b", False),
    ("a/%", "a/b", True),
    ("a/%", "a/b/c", False),
    ("a*c", "a/b/c", True),
    ("a%c", "abbc", True),
    ("a%c", "ab/bc", False),
    ("%/b/%", "a/b/c", True),
    ("*b", "abab", True),
    ("%a%a%", "aa", True),
    ("a", "ab", False),
    ("", "", True),
    ("*%", "a/b", True),
    ("inbox", "INBOX", True),
    ("InBoX/%", "INBOX/x", True),
    ("in*", "INBOX", False),
    ("inboxes", "INBOX", False),
    ("foo", "FOO", False),
]


@pytest.mark.parametrize(("pattern", "name", "expected"), MATCHES)
def test_patterns(pattern: str, name: str, expected: bool) -> None:
    assert MailboxPattern(pattern).matches(MailboxName(name)) is expected


def test_patterns_match_as_the_equal_regular_expressions_do() -> None:
    chance = random.Random(5)
    for _ in range(3000):
        pattern = "".join(chance.choices("ab/*%", k=chance.randrange(6)))
        name = "".join(chance.choices("ab/", k=chance.randrange(8)))
        expression = "".join({"*": ".*", "%": "[^/]*"}.get(symbol, re.escape(symbol)) for symbol in pattern)
        assert MailboxPattern(pattern).matches(MailboxName(name)) == bool(re.fullmatch(expression, name)), (
            pattern,
            name,
        )


def test_wildcards_take_no_exponential_time() -> None:
    """A backtracking matcher would need longer than the universe has."""
    pattern = MailboxPattern("%a" * 4000 + "b")
    assert not pattern.matches(MailboxName("a" * 8000))
    assert MailboxPattern("*%" * 30_000).matches(MailboxName("a/" * 4000))
