"""Responses: no content can end a line or begin another response (N10)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailcore.imap.wire.responses import (
    Bad,
    Condition,
    Done,
    ListResponse,
    No,
    NumbersResponse,
    StatusResponse,
    astring,
    flag_list,
    string,
)
from tests.unit.imap.wire.commands import cursor_of

STRINGS = [
    (b"", b'""'),
    (b"a b", b'"a b"'),
    (rb'a"\b', rb'"a\"\\b"'),
    (b"a\r\n* BYE", b"{8}\r\na\r\n* BYE"),
    (b"\0", b"{1}\r\n\0"),
    ("ü".encode(), b"{2}\r\n\xc3\xbc"),
    (b"{5}", b'"{5}"'),
]


@pytest.mark.parametrize(("value", "wire"), STRINGS)
def test_strings_are_quoted_or_literals_by_their_content(value: bytes, wire: bytes) -> None:
    assert string(value) == wire


@given(st.binary())
def test_a_string_is_read_back_as_it_was(value: bytes) -> None:
    for written in (string(value), astring(value)):
        cursor = cursor_of(written)
        assert cursor.astring() == value
        cursor.end()


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_names_cannot_begin_a_response(name: str) -> None:
    for utf8 in (False, True):
        line = ListResponse(b"LIST", ("\\Noselect",), name).encode(utf8=utf8)
        assert line.endswith(b"\r\n")
        rest = line[len(b'* LIST (\\Noselect) "/" ') : -2]
        cursor = cursor_of(rest, utf8=utf8)
        cursor.astring()
        cursor.end()


def test_a_name_is_quoted_utf8_only_once_enabled() -> None:
    assert ListResponse(b"LIST", (), "ü").encode(utf8=False) == b'* LIST () "/" &APw-\r\n'
    assert ListResponse(b"LIST", (), "ü").encode(utf8=True) == '* LIST () "/" "ü"\r\n'.encode()


def test_completions() -> None:
    assert Done("Fine", b"READ-WRITE").encode("a1") == b"a1 OK [READ-WRITE] Fine\r\n"
    assert No("No").encode("a1") == b"a1 NO No\r\n"
    assert Bad("Tag expected").encode("") == b"* BAD Tag expected\r\n"
    assert Condition("BYE", "x\r\ny").encode(utf8=False) == b"* BYE x?y\r\n"


def test_numbers() -> None:
    assert NumbersResponse(b"SEARCH", [1, 20]).encode(utf8=False) == b"* SEARCH 1 20\r\n"
    assert NumbersResponse(b"SEARCH", []).encode(utf8=False) == b"* SEARCH\r\n"


def test_status() -> None:
    """RFC 3501 §6.3.10."""
    response = StatusResponse("blurdybloop", [("MESSAGES", 231), ("UIDNEXT", 44292)])
    assert response.encode(utf8=False) == b"* STATUS blurdybloop (MESSAGES 231 UIDNEXT 44292)\r\n"


def test_flags_that_are_none_are_left_out() -> None:
    assert flag_list(["\\Seen", "$Forwarded", "a b", "x)", "ü", ""]) == b"(\\Seen $Forwarded)"
