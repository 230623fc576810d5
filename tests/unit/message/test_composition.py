"""What is composed says what was meant, to us and to the standard library, and nothing else."""

from __future__ import annotations

import email
import email.policy
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email.message import EmailMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailcore.errors import ValueInvalid
from mailcore.message.addresses import HeaderAddress, parse_addresses
from mailcore.message.attachments import attachments, leaves
from mailcore.message.body_structure import serialize_body_structure
from mailcore.message.composition import Composition, attachment, taken_over, write
from mailcore.message.encoded_words import decode_header
from mailcore.message.fields_out import mailboxes, structured, tokens, unstructured
from mailcore.message.headers import find_first, header_size
from mailcore.message.inline_pictures import pictures_apart
from mailcore.message.mime_tree import scan
from mailcore.message.outgoing import Outgoing

AT = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
LINE = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=120)
"""One line of any words."""


def value_of(field: bytes) -> bytes:
    assert field.endswith(b"\r\n")
    assert not re.search(rb"\r\n(?![ \t]|\Z)", field), field
    assert all(len(line) <= 998 for line in field.split(b"\r\n"))
    return field.partition(b":")[2]


@given(LINE)
@settings(max_examples=300, deadline=None)
def test_free_text_is_read_as_it_was_meant(text: str) -> None:
    """RFC 2047: what is not plain goes into encoded words."""
    assert decode_header(value_of(unstructured("Subject", text))).strip() == text.strip()


@given(st.lists(LINE, min_size=1, max_size=4))
@settings(max_examples=200, deadline=None)
def test_names_are_read_as_they_were_meant(names: list[str]) -> None:
    people = [HeaderAddress(name, f"a{number}@example.org") for number, name in enumerate(names)]
    found = parse_addresses(value_of(mailboxes("To", people)))
    assert [one.address for one in found] == [one.address for one in people]
    assert [" ".join(one.name.split()) for one in found] == [" ".join(name.split()) for name in names]


@given(LINE)
@settings(max_examples=200, deadline=None)
def test_parameters_are_read_as_they_were_meant(name: str) -> None:
    """RFC 2231."""
    raw = structured("Content-Disposition", "attachment", [("filename", name)])
    value_of(raw)
    tree = scan(raw + b"\r\nx")
    assert (tree.root.disposition_parameters.get("filename") or "").strip() == name.strip()


@pytest.mark.parametrize("text", ["a\r\nb", "a\nb", "a\rb", "a\0b", "a\u2028b", "a\x85b", "a\x1bb"])
def test_control_characters_are_refused(text: str) -> None:
    with pytest.raises(ValueInvalid):
        unstructured("Subject", text)
    with pytest.raises(ValueInvalid):
        mailboxes("To", [HeaderAddress(text, "a@example.org")])
    with pytest.raises(ValueInvalid):
        structured("Content-Type", "text/plain", [("name", text)])
    with pytest.raises(ValueInvalid):
        attachment(lambda: iter(()), filename=text)
    with pytest.raises(ValueInvalid):
        attachment(lambda: iter(()), content_id=text)
    with pytest.raises(ValueInvalid):
        mailboxes("To", [HeaderAddress("", f"{text}@example.org")])


def test_message_ids_are_never_encoded() -> None:
    ids = [b"<" + b"x" * 200 + b"@example.org>", b"<1@example.org>"]
    assert value_of(tokens("References", ids)).split() == ids


def composed(**more: object) -> bytes:
    return b"".join(write(Composition(b"<1@example.org>", AT, **more)))  # type: ignore[arg-type]


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=2000)


@given(TEXTS, TEXTS)
@settings(max_examples=200, deadline=None)
def test_texts_come_back_with_their_lines(text: str, html: str) -> None:
    raw = composed(text=text, html=html)
    Outgoing.read(raw)
    found = email.message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(found, EmailMessage)
    for kind, meant in (("plain", text), ("html", html)):
        part = found.get_body((kind,))
        if meant:
            assert part is not None
            payload = part.get_payload(decode=True)
            assert isinstance(payload, bytes)
            assert lines_of(payload.decode()) == lines_of(meant)


def lines_of(text: str) -> list[str]:
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return lines if lines[-1] else lines[:-1]


def pieces(*parts: bytes) -> Iterator[bytes]:
    return iter(parts)


def test_parts_are_where_readers_look_for_them() -> None:
    """Pictures lie beside the HTML that shows them (RFC 2387), attachments behind all texts."""
    html, [picture] = pictures_apart('<img src="data:image/png;base64,iVBORw0KGgo=">')
    raw = composed(
        text="hello",
        html=html,
        attached=[
            attachment(lambda: pieces(picture.data), "image/png", "p.png", picture.content_id, is_inline=True),
            attachment(lambda: pieces(b"a" * 100, b"b"), "multipart/mixed", "x.bin"),
            attachment(lambda: pieces("ä".encode()), "text/plain; charset=utf-8", "ä.txt"),
        ],
    )
    tree = scan(raw)
    assert [f"{part.type}/{part.subtype}" for part in tree.parts] == [
        "multipart/mixed", "multipart/alternative", "text/plain", "multipart/related", "text/html", "image/png",
        "application/octet-stream", "text/plain",
    ]  # fmt: skip
    found = list(attachments(leaves(serialize_body_structure(tree, raw))))
    assert [leaf.filename for _, leaf in found] == ["p.png", "x.bin", "ä.txt"]
    parsed = email.message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(parsed, EmailMessage)
    assert [part.get_payload(decode=True) for part in parsed.iter_attachments()] == [b"a" * 100 + b"b", "ä".encode()]
    assert picture.content_id in html


def test_what_is_no_picture_stays_in_the_text() -> None:
    for html in ('<img src="data:image/png;base64,%%%">', '<a href="data:text/html;base64,eA==">', "data:", ""):
        assert pictures_apart(html) == (html, [])


def test_a_part_that_is_taken_over_brings_no_other_field() -> None:
    header = b"Content-Type: image/png\nSubject: x\nContent-ID: <a@b>\nX-Evil: y\n\n"
    taken = taken_over(header, lambda: pieces(b"x"), is_inline=False)
    assert taken.header == b"Content-Type: image/png\r\nContent-ID: <a@b>\r\n"


@pytest.mark.parametrize(
    "name", ["Bcc", "from", "CONTENT-TYPE", "Content-Foo", "Received", "a b", "a:b", "ä", "", "a\r\n"]
)
def test_fields_that_are_not_for_authors_are_refused(name: str) -> None:
    with pytest.raises(ValueInvalid):
        composed(extra=[(name, "x")])


def test_the_header_is_whole() -> None:
    raw = composed(
        sender=[HeaderAddress("Ann", "ann@example.org")],
        to=[HeaderAddress("", "bob@exämple.org")],
        subject="Hello",
        extra=[("X-A", "1"), ("X-A", "2")],
        in_reply_to=b"<0@example.org>",
        references=[b"<00@example.org>", b"<0@example.org>"],
    )
    header = raw[: header_size(raw)]
    assert find_first(header, b"date") == b"Thu, 26 Nov 2026 12:00:00 +0000"
    assert find_first(header, b"references") == b"<00@example.org> <0@example.org>"
    assert find_first(header, b"to") == "bob@exämple.org".encode()
    assert header.count(b"X-A:") == 2
