"""The scanner: types, numbers and offsets of parts."""

# ruff: noqa: E501 - tables of messages

from __future__ import annotations

import pytest

from mailcore.message.mime_tree import Part, PartKind, scan
from mailcore.message.parts_table import BinaryPart, pack_parts, unpack_parts
from mailcore.model.limits import ScanLimits
from mailcore.model.section import Section, SectionText
from tests.unit.message.checks import check_message

# The message of RFC 9051 §6.4.5.1: HEADER, TEXT, 1 TEXT/PLAIN, 2 APPLICATION/OCTET-STREAM, 3 MESSAGE/RFC822 (3.1, 3.2),
# 4 MULTIPART/MIXED (4.1 IMAGE/GIF, 4.2 MESSAGE/RFC822 (4.2.1, 4.2.2 MULTIPART/ALTERNATIVE (4.2.2.1, 4.2.2.2))).
RFC_9051 = b"""\
Subject: whole
Content-Type: multipart/mixed; boundary=a

--a
Content-Type: text/plain

one
--a
Content-Type: application/octet-stream
Content-Transfer-Encoding: base64

QUJD
--a
Content-Type: message/rfc822

Subject: three
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: text/plain

three.one
--b
Content-Type: application/octet-stream

three.two
--b--
--a
Content-Type: multipart/mixed; boundary=c

--c
Content-Type: image/gif

four.one
--c
Content-Type: message/rfc822

Subject: four.two
Content-Type: multipart/mixed; boundary=d

--d
Content-Type: text/plain

four.two.one
--d
Content-Type: multipart/alternative; boundary=e

--e
Content-Type: text/plain

four.two.two.one
--e
Content-Type: text/richtext

four.two.two.two
--e--
--d--
--c--
--a--
""".replace(b"\n", b"\r\n")


def _types(raw: bytes, limits: ScanLimits | None = None) -> list[str]:
    tree = check_message(raw, *(() if limits is None else (limits,)))
    return [f"{'.'.join(map(str, part.number))} {part.type}/{part.subtype}".strip() for part in tree.parts]


def _bytes(raw: bytes, section: Section) -> bytes | None:
    found = unpack_parts(pack_parts(scan(raw))).locate(section)
    return None if found is None else raw[found[0] : found[1]]


def test_parts_have_the_numbers_of_the_rfc() -> None:
    """RFC 9051 §6.4.5.1."""
    assert _types(RFC_9051) == [
        "multipart/mixed",
        "1 text/plain",
        "2 application/octet-stream",
        "3 message/rfc822",
        "3 multipart/mixed",
        "3.1 text/plain",
        "3.2 application/octet-stream",
        "4 multipart/mixed",
        "4.1 image/gif",
        "4.2 message/rfc822",
        "4.2 multipart/mixed",
        "4.2.1 text/plain",
        "4.2.2 multipart/alternative",
        "4.2.2.1 text/plain",
        "4.2.2.2 text/richtext",
    ]


@pytest.mark.parametrize(
    ("number", "text", "expected"),
    [
        pytest.param((1,), "", b"one", id="1"),
        pytest.param((2,), "", b"QUJD", id="2"),
        pytest.param((3, 1), "", b"three.one", id="3.1"),
        pytest.param((4, 1), "", b"four.one", id="4.1"),
        pytest.param((4, 2, 1), "", b"four.two.one", id="4.2.1"),
        pytest.param((4, 2, 2, 2), "", b"four.two.two.two", id="4.2.2.2"),
        pytest.param((4, 2, 2, 2), "MIME", b"Content-Type: text/richtext\r\n\r\n", id="4.2.2.2.MIME"),
        pytest.param(
            (3,), "HEADER", b"Subject: three\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n", id="3.HEADER"
        ),
        pytest.param((3,), "MIME", b"Content-Type: message/rfc822\r\n\r\n", id="3.MIME"),
        pytest.param((), "HEADER", b"Subject: whole\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\n", id="HEADER"),
        pytest.param((1,), "HEADER", None, id="1.HEADER"),
        pytest.param((1,), "TEXT", None, id="1.TEXT"),
        pytest.param((4,), "HEADER", None, id="4.HEADER"),
        pytest.param((5,), "", None, id="5"),
        pytest.param((1, 1), "", None, id="1.1"),
        pytest.param((4, 2, 3), "", None, id="4.2.3"),
    ],
)
def test_sections_are_exact_bytes(number: tuple[int, ...], text: str, expected: bytes | None) -> None:
    """RFC 9051 §6.4.5: a part's body, the header of a message, the MIME header of a part."""
    assert _bytes(RFC_9051, Section(number, SectionText(text))) == expected


def test_text_of_an_embedded_message_goes_to_its_end() -> None:
    text = _bytes(RFC_9051, Section((3,), SectionText.TEXT))
    assert text is not None
    assert text.startswith(b"--b\r\n")
    assert text.endswith(b"three.two\r\n--b--")
    assert _bytes(RFC_9051, Section((3,))) == (_bytes(RFC_9051, Section((3,), SectionText.HEADER)) or b"") + text


def test_message_without_parts_has_part_1() -> None:
    """RFC 9051 §6.4.5.1: every message has at least one part."""
    raw = b"Subject: x\r\nContent-Type: text/html\r\n\r\nbody"
    assert _types(raw) == ["1 text/html"]
    assert _bytes(raw, Section((1,))) == b"body" == _bytes(raw, Section((), SectionText.TEXT))
    assert _bytes(raw, Section((1,), SectionText.MIME)) == raw[:-4] == _bytes(raw, Section((), SectionText.HEADER))
    assert _bytes(raw, Section((1, 1))) is None
    assert _bytes(raw, Section((2,))) is None
    tree = scan(raw)
    assert tree.find((1,)) is tree.find(()) is tree.root


def test_message_that_is_a_message_goes_on_counting() -> None:
    raw = b"Content-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\nbody"
    assert _types(raw) == ["1 message/rfc822", "1.1 text/plain"]
    assert _bytes(raw, Section((1,), SectionText.HEADER)) == b"Subject: in\r\n\r\n"
    assert _bytes(raw, Section((1,), SectionText.TEXT)) == b"body" == _bytes(raw, Section((1, 1)))


def test_binary_names_the_encoding() -> None:
    """BINARY[section], RFC 9051 §6.4.5."""
    table = unpack_parts(pack_parts(scan(RFC_9051)))
    start = RFC_9051.index(b"QUJD")
    assert table.locate_binary((2,)) == BinaryPart(start, start + 4, "base64")
    assert table.locate_binary((1,)) == BinaryPart(RFC_9051.index(b"one"), RFC_9051.index(b"one") + 3, "7bit")
    assert table.locate_binary(()) == BinaryPart(0, len(RFC_9051), "binary")
    assert table.locate_binary((9,)) is None
    odd = scan(b"Content-Transfer-Encoding: x-uuencode\r\n\r\nx")
    assert unpack_parts(pack_parts(odd)).locate_binary((1,)) == BinaryPart(41, 42, "unknown")


@pytest.mark.parametrize(
    "damaged", [b"", b"\0", b"\1\0\0", b"\1\1\0", pack_parts(scan(RFC_9051))[:-1], b"\2" + pack_parts(scan(b""))[1:]]
)
def test_damaged_table_is_refused(damaged: bytes) -> None:
    with pytest.raises(ValueError, match="parts table"):
        unpack_parts(damaged)


def test_table_behind_more_header_fields_moves_all_but_the_beginning() -> None:
    """LMTP puts trace fields before a message that was scanned already."""
    trace = b"Received: by mx.example.org\r\n"
    assert pack_parts(scan(RFC_9051), len(trace)) == pack_parts(scan(trace + RFC_9051))


def test_rfc_2046_example_has_preamble_and_epilogue() -> None:
    """RFC 2046 §5.1.1."""
    raw = (
        b'MIME-Version: 1.0\r\nContent-type: multipart/mixed; boundary="simple boundary"\r\n\r\nThis is the preamble.\r\n'
        b"--simple boundary\r\n\r\nThis is implicitly typed plain US-ASCII text.\r\nIt does NOT end with a linebreak.\r\n"
        b"--simple boundary\r\nContent-type: text/plain; charset=us-ascii\r\n\r\nThis is explicitly typed plain US-ASCII "
        b"text.\r\nIt DOES end with a linebreak.\r\n\r\n--simple boundary--\r\nThis is the epilogue.\r\n"
    )
    assert _types(raw) == ["multipart/mixed", "1 text/plain", "2 text/plain"]
    one, two = (_bytes(raw, Section((number,))) for number in (1, 2))
    assert one == b"This is implicitly typed plain US-ASCII text.\r\nIt does NOT end with a linebreak."
    assert two is not None
    assert two.endswith(b"It DOES end with a linebreak.\r\n")
    assert [part.line_count for part in scan(raw).parts] == [0, 1, 2]


def test_digest_holds_messages_by_default() -> None:
    """RFC 2046 §5.1.5."""
    raw = b"Content-Type: multipart/digest; boundary=d\r\n\r\n--d\r\n\r\nSubject: one\r\n\r\nx\r\n--d\r\nContent-Type: text/plain\r\n\r\ny\r\n--d--"
    assert _types(raw) == ["multipart/digest", "1 message/rfc822", "1.1 text/plain", "2 text/plain"]


CASES = [
    pytest.param(b"Content-Type: TEXT/HTML; Charset=UTF-8", "text/html", {"charset": "UTF-8"}, id="case"),
    pytest.param(b"Content-Type:\r\n text/html;\r\n\tcharset=utf-8", "text/html", {"charset": "utf-8"}, id="folded"),
    pytest.param(b"Content-Type : text/html", "text/html", {}, id="blank before colon"),
    pytest.param(b"Content-Type: text", "text/plain", {"charset": "us-ascii"}, id="no subtype"),
    pytest.param(b"Content-Type: text; charset=utf-8", "text/plain", {"charset": "utf-8"}, id="no subtype but charset"),
    pytest.param(b"Content-Type: text/html\r\nContent-Type: image/png", "text/html", {}, id="first of two"),
    pytest.param(b"X: y", "text/plain", {"charset": "us-ascii"}, id="none"),
    pytest.param(b"Content-Type: multipart/mixed; boundary=q", "text/plain", {"boundary": "q"}, id="boundary unused"),
    pytest.param(b"Content-Type: application/pdf; name=a b.pdf", "application/pdf", {"name": "a b.pdf"}, id="unquoted"),
]


@pytest.mark.parametrize(("header", "expected", "parameters"), CASES)
def test_content_type(header: bytes, expected: str, parameters: dict[str, str]) -> None:
    root = check_message(header + b"\r\n\r\nbody").root
    assert (f"{root.type}/{root.subtype}", root.parameters) == (expected, parameters)


def test_all_content_fields_are_read() -> None:
    root = scan(
        b"Content-Type: image/png; name=i.png\r\nContent-Transfer-Encoding: BASE64 (really)\r\nContent-ID: <i@x>\r\n"
        b"Content-Disposition: INLINE;\r\n filename*=utf-8''%E2%82%AC.png; size=3\r\nContent-Description: =?utf-8?q?=41?=\r\n"
        b"Content-Language: en, de\r\nContent-Location: http://x/i.png\r\nContent-MD5: Q2hlY2s=\r\n\r\nQUJD"
    ).root
    assert root == Part(
        (1,), -1, PartKind.LEAF, 0, root.body_start, root.body_end, 0, "image", "png", {"name": "i.png"}, "base64", "inline",
        {"size": "3", "filename": "€.png"}, "<i@x>", "=?utf-8?q?=41?=", ("en", "de"), "http://x/i.png", "Q2hlY2s=",
    )  # fmt: skip
    assert root.filename == "€.png"
    assert root.size == 4


BOUNDARIES = [
    pytest.param(b"--b\r\n\r\n1\r\n--bb\r\n\r\n2\r\n--b--", [b"1\r\n--bb\r\n\r\n2"], id="longer line is text"),
    pytest.param(b"--b \t\r\n\r\n1\r\n--b--  \r\n", [b"1"], id="blanks behind"),
    pytest.param(b"--b\r\n\r\n1\r\n --b\r\n--b--", [b"1\r\n --b"], id="blank before"),
    pytest.param(b"--b\r\n\r\n1\r\n--b\r\n\r\n2", [b"1", b"2"], id="never closed"),
    pytest.param(b"--b\r\n\r\n--b--", [b""], id="no body"),
    pytest.param(b"--b\r\nX: y\r\n--b\r\n\r\n2\r\n--b--", [b"", b"2"], id="header without blank line"),
    pytest.param(b"--b\r\n--b\r\n\r\n2\r\n--b--", [b"", b"2"], id="twice"),
    pytest.param(b"--b\r\n\r\n1\r\n--b--\r\n--b\r\n\r\n2\r\n--b--", [b"1"], id="after the end"),
    pytest.param(b"--b\n\n1\n--b\n\r\n2\r\n--b--\n", [b"1", b"2"], id="line feeds"),
    pytest.param(b"--b\r\n\r\n1--b\r\n--b--", [b"1--b"], id="within a line"),
    pytest.param(b"--b", [b""], id="at the very end"),
]


@pytest.mark.parametrize(("body", "bodies"), BOUNDARIES)
def test_delimiters(body: bytes, bodies: list[bytes]) -> None:
    """RFC 2046 §5.1.1."""
    raw = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + body
    tree = check_message(raw)
    assert [raw[part.body_start : part.body_end] for part in tree.parts[1:]] == bodies


def test_outer_delimiter_closes_everything_within() -> None:
    """RFC 2046 §5.1.2."""
    raw = (
        b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
        b"Content-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\ncut\r\n--a\r\n\r\nnext\r\n--b\r\nno part\r\n--a--"
    )
    assert _types(raw) == [
        "multipart/mixed",
        "1 multipart/mixed",
        "1.1 message/rfc822",
        "1.1.1 text/plain",
        "2 text/plain",
    ]
    assert _bytes(raw, Section((1, 1, 1))) == b"cut"
    assert _bytes(raw, Section((2,))) == b"next\r\n--b\r\nno part"


def test_limits_leave_opaque_parts() -> None:
    """DESIGN: beyond the limits opaque, but every byte belongs to a part."""
    assert _types(RFC_9051, ScanLimits(parts=4))[-1] == "3 application/octet-stream"
    assert scan(RFC_9051, ScanLimits(parts=4)).parts[-1].body_end == len(RFC_9051)
    shallow = _types(RFC_9051, ScanLimits(depth=1))
    assert shallow[3:] == ["3 application/octet-stream", "4 application/octet-stream"]
    assert scan(RFC_9051, ScanLimits(depth=1)).truncated
    assert not scan(RFC_9051).truncated
    assert scan(memoryview(RFC_9051)) == scan(RFC_9051)


def test_message_hidden_by_an_encoding_is_opaque() -> None:
    """RFC 2046 §5.2.1 forbids encodings here; what is inside cannot have offsets."""
    raw = b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nU3ViamVjdDogeA0KDQp5"
    tree = check_message(raw)
    assert [(part.type, part.encoding, part.size) for part in tree.parts] == [
        ("message", "base64", 20),
        ("application", "base64", 20),
    ]
