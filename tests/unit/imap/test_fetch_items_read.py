"""What is asked of messages is read once where clients write it again and again."""

from __future__ import annotations

import pytest

from mailcore.errors import SyntaxFault
from mailcore.imap.commands.fetch import REMEMBERED_BYTES, parse_fetch, parse_uid_fetch
from mailcore.imap.wire.fetch_att import BodyAtt
from tests.unit.imap.wire.commands import cursor_of


def fields_asked(written: bytes) -> tuple[bytes, ...]:
    """The header fields that a FETCH of one item names."""
    (att,) = parse_fetch(cursor_of(written)).atts
    assert isinstance(att, BodyAtt)
    return att.section.fields


def test_the_same_text_around_other_literals_asks_for_something_else() -> None:
    written = b" 1 BODY[HEADER.FIELDS ({7+}\r\n%b)]"
    for field in (b"Subject", b"Comment", b"Subject"):
        assert fields_asked(written % field) == (field,)


def test_items_are_those_of_the_command_that_asks() -> None:
    """UID FETCH answers the UID as well, and takes modifiers that FETCH does not."""
    for _ in range(2):
        assert [att.label for att in parse_fetch(cursor_of(b" 1 BODY[]")).atts if isinstance(att, BodyAtt)] == [
            b"BODY[]"
        ]
        assert len(parse_uid_fetch(cursor_of(b" 1 BODY[]")).atts) == 2
        assert parse_uid_fetch(cursor_of(b" 1 FLAGS (PARTIAL 1:2)")).modifiers.partial is not None
        with pytest.raises(SyntaxFault):
            parse_fetch(cursor_of(b" 1 FLAGS (PARTIAL 1:2)"))
        with pytest.raises(SyntaxFault):
            parse_fetch(cursor_of(b" 1 BODY[] "))


def test_long_items_are_read_too() -> None:
    names = [b"X-Field-%d" % number for number in range(REMEMBERED_BYTES)]
    for _ in range(2):
        assert fields_asked(b" 1 BODY[HEADER.FIELDS (" + b" ".join(names) + b")]") == tuple(names)
