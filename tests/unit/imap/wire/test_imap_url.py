"""Relative IMAP URLs (RFC 5092)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailcore.errors import SyntaxFault
from mailcore.imap.wire.imap_url import ImapUrl, parse_imap_url
from mailcore.model.section import Section, SectionText

CASES = [
    pytest.param(
        b"/Drafts;UIDVALIDITY=385759045/;UID=20/;section=HEADER",
        ImapUrl("Drafts", 385759045, 20, Section((), SectionText.HEADER)),  # type: ignore[arg-type]
        id="RFC 4469",
    ),
    pytest.param(b"/;UID=20", ImapUrl(None, None, 20, Section()), id="of the selected mailbox"),
    pytest.param(b";UID=20/;SECTION=1.2", ImapUrl(None, None, 20, Section((1, 2))), id="relative"),
    pytest.param(
        b"/a%2Fb/%C3%BC/;uid=7/;partial=10",
        ImapUrl("a/b/ü", None, 7, Section(), (10, None)),  # type: ignore[arg-type]
        id="encoded name, to the end",
    ),
    pytest.param(
        b"INBOX/;UID=7/;SECTION=2.HEADER.FIELDS%20(A)/;PARTIAL=0.1024",
        ImapUrl("INBOX", None, 7, Section((2,), SectionText.HEADER_FIELDS, (b"A",)), (0, 1024)),  # type: ignore[arg-type]
        id="partial",
    ),
]


@pytest.mark.parametrize(("url", "expected"), CASES)
def test_urls(url: bytes, expected: ImapUrl) -> None:
    assert parse_imap_url(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        b"imap://host/x/;UID=1",
        b"//host/x/;UID=1",
        b"/x",
        b"/x/;UID=99999999999",
        b"/x/;UID=1/;SECTION=%5D",
        b"/x/;UID=1/;SECTION=1]x[",
        b"/%FF/;UID=1",
        b"/x/;UID=1/;PARTIAL=0.1/extra",
        b"/a//b/;UID=1",
        b"",
    ],
)
def test_what_is_no_such_url(url: bytes) -> None:
    with pytest.raises(SyntaxFault):
        parse_imap_url(url)


@given(
    st.lists(
        st.sampled_from(
            [b"/", b";UID=", b"1", b"x", b";SECTION=", b"%5B", b"%", b";UIDVALIDITY=", b"1.MIME", b";PARTIAL=0.1"]
        )
        | st.binary(max_size=3),
        max_size=10,
    ).map(b"".join)
)
def test_anything_is_read_or_refused(url: bytes) -> None:
    try:
        parse_imap_url(url)
    except SyntaxFault:
        pass
