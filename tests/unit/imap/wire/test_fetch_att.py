"""FETCH items: what is asked for, and how the answer names it (RFC 9051 §6.4.5)."""

from __future__ import annotations

import pytest

from mailcore.errors import SyntaxFault
from mailcore.imap.wire.fetch_att import BodyAtt, FetchAtt, SimpleAtt, read_fetch_atts
from mailcore.model.section import Section, SectionText
from tests.unit.imap.wire.commands import cursor_of


def _names(*names: str) -> tuple[FetchAtt, ...]:
    return tuple(SimpleAtt(name) for name in names)


GOOD = [
    pytest.param(b"FAST", _names("FLAGS", "INTERNALDATE", "RFC822.SIZE"), id="FAST"),
    pytest.param(b"all", _names("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE"), id="ALL"),
    pytest.param(b"FULL", _names("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY"), id="FULL"),
    pytest.param(b"(UID flags)", _names("UID", "FLAGS"), id="list"),
    pytest.param(b"(UID UID)", _names("UID"), id="twice is once"),
    pytest.param(b"BODY", _names("BODY"), id="BODY"),
    pytest.param(b"BODYSTRUCTURE", _names("BODYSTRUCTURE"), id="BODYSTRUCTURE"),
    pytest.param(b"BODY[]", (BodyAtt(b"BODY[]", Section()),), id="whole"),
    pytest.param(b"body.peek[]<0.100>", (BodyAtt(b"BODY[]", Section(), (0, 100), peek=True),), id="partial"),
    pytest.param(b"BODY[1.2]", (BodyAtt(b"BODY[1.2]", Section((1, 2))),), id="part"),
    pytest.param(b"BODY[1.MIME]", (BodyAtt(b"BODY[1.MIME]", Section((1,), SectionText.MIME)),), id="MIME"),
    pytest.param(b"BODY[TEXT]", (BodyAtt(b"BODY[TEXT]", Section((), SectionText.TEXT)),), id="TEXT"),
    pytest.param(
        b"BODY[4.2.HEADER]", (BodyAtt(b"BODY[4.2.HEADER]", Section((4, 2), SectionText.HEADER)),), id="header of a part"
    ),
    pytest.param(
        b'BODY.PEEK[HEADER.FIELDS (Date {4}\r\nFrom "X-{5}")]',
        (
            BodyAtt(
                b'BODY[HEADER.FIELDS (Date From "X-{5}")]',
                Section((), SectionText.HEADER_FIELDS, (b"Date", b"From", b"X-{5}")),
                peek=True,
            ),
        ),
        id="fields",
    ),
    pytest.param(
        b"BODY[1.HEADER.FIELDS.NOT (Date)]",
        (BodyAtt(b"BODY[1.HEADER.FIELDS.NOT (Date)]", Section((1,), SectionText.HEADER_FIELDS_NOT, (b"Date",))),),
        id="all but fields",
    ),
    pytest.param(b"RFC822", (BodyAtt(b"RFC822", Section()),), id="RFC822"),
    pytest.param(
        b"RFC822.HEADER", (BodyAtt(b"RFC822.HEADER", Section((), SectionText.HEADER), peek=True),), id="RFC822.HEADER"
    ),
    pytest.param(b"RFC822.TEXT", (BodyAtt(b"RFC822.TEXT", Section((), SectionText.TEXT)),), id="RFC822.TEXT"),
]

BAD = [
    b"", b"()", b"(UID", b"(UID  FLAGS)", b"X", b"BODY[", b"BODY[0]", b"BODY[1.]", b"BODY[.1]", b"BODY[MIME]",
    b"BODY[X]", b"BODY[HEADER.FIELDS]", b"BODY[HEADER.FIELDS ()]", b"BODY[HEADER.FIELDS (a:b)]",
    b'BODY[HEADER.FIELDS ("a b")]', b"BODY[HEADER.FIELDS ({2}\r\na\n)]", b"BODY[]<0>", b"BODY[]<0.0>",
    b"BODY[]<1.2", b"BODY[]<-1.2>", b"BODY.PEEK", b"(FAST)", b"BODY[" + b"1." * 500 + b"1]",
]  # fmt: skip


@pytest.mark.parametrize(("data", "atts"), GOOD)
def test_items(data: bytes, atts: tuple[FetchAtt, ...]) -> None:
    cursor = cursor_of(data)
    assert read_fetch_atts(cursor) == atts
    cursor.end()


@pytest.mark.parametrize("data", BAD)
def test_what_is_no_item_is_refused(data: bytes) -> None:
    cursor = cursor_of(data)
    with pytest.raises(SyntaxFault):
        read_fetch_atts(cursor)
        cursor.end()
