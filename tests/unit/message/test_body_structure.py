"""BODYSTRUCTURE and BODY."""

# ruff: noqa: E501 - tables of messages

from __future__ import annotations

import pytest

from mailcore.message.body_structure import DETAILED_BYTES, body_from_body_structure, serialize_body_structure
from mailcore.message.mime_tree import scan
from tests.unit.message.imap_grammar import GrammarFault, imapclient_reads, read_body, read_envelope


def _structure(raw: bytes) -> bytes:
    return serialize_body_structure(scan(raw), raw)


def test_text_of_the_rfc() -> None:
    """RFC 9051 §8: ("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 3028 92)."""
    raw = b"Content-Type: TEXT/PLAIN; CHARSET=US-ASCII\r\n\r\n" + b"x" * 2844 + b"\r\n" * 92
    expected = b'("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 3028 92'
    assert _structure(raw) == expected + b" NIL NIL NIL NIL)"
    assert body_from_body_structure(_structure(raw)) == expected + b")"


def test_two_texts_of_the_rfc() -> None:
    """RFC 9051 §7.5.2, the example with a diff in base64."""
    raw = (
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\none\r\n\r\n--b\r\n"
        b"Content-Type: text/plain; charset=us-ascii; name=cc.diff\r\nContent-ID: <960723163407.20117h@cac.washington.edu>\r\n"
        b"Content-Description: Compiler diff\r\nContent-Transfer-Encoding: base64\r\n\r\nQUJD\r\n\r\n--b--\r\n"
    )
    assert body_from_body_structure(_structure(raw)) == (
        b'(("TEXT" "PLAIN" ("CHARSET" "us-ascii") NIL NIL "7BIT" 5 1)("TEXT" "PLAIN" ("CHARSET" "us-ascii" "NAME" "cc.diff") '
        b'"<960723163407.20117h@cac.washington.edu>" "Compiler diff" "BASE64" 6 1) "MIXED")'
    )


def test_extension_data() -> None:
    """RFC 9051 §7.5.2: parameters, disposition, language, location, MD5."""
    raw = (
        b'Content-Type: image/png; name="a\\"b"\r\nContent-Disposition: attachment; filename*=utf-8\'\'%E2%82%AC.png\r\n'
        b"Content-Language: en, de\r\nContent-Location: x\r\nContent-MD5: Q2hlY2s=\r\n\r\nxyz"
    )
    assert _structure(raw) == (
        b'("IMAGE" "PNG" ("NAME" "a\\"b") NIL NIL "7BIT" 3 "Q2hlY2s=" '
        b'("attachment" ("FILENAME*" "UTF-8\'\'%E2%82%AC.png")) ("en" "de") "x")'
    )


def test_embedded_message_has_envelope_body_and_lines() -> None:
    raw = b"Content-Type: message/rfc822\r\n\r\nSubject: in\r\nFrom: a@b\r\n\r\nline\r\n"
    structure = read_body(_structure(raw), extended=True)
    assert structure["envelope"] == read_envelope(
        b'(NIL "in" %b %b %b NIL NIL NIL NIL NIL)' % ((b'((NIL NIL "a" "b"))',) * 3)
    )
    assert (structure["size"], structure["lines"], structure["body"]["lines"]) == (32, 4, 1)
    body = body_from_body_structure(_structure(raw))
    assert body.endswith(b' ("TEXT" "PLAIN" ("CHARSET" "us-ascii") NIL NIL "7BIT" 6 1) 4)')


def test_strings_with_parentheses_and_literals_survive_the_way_to_body() -> None:
    raw = 'Content-Type: text/plain; name=") (\\""\r\nContent-Description: é) {3}\r\nContent-ID: (\r\n\r\nx'.encode()
    body = body_from_body_structure(_structure(raw))
    assert body == b'("TEXT" "PLAIN" ("NAME" ") (\\"") "(" {7}\r\n\xc3\xa9) {3} "7BIT" 1 0)'
    assert imapclient_reads("BODY", body)[2] == (b"NAME", b') ("')


def test_wide_and_large_structures_lose_details_not_parts() -> None:
    """Beyond DETAILED_BYTES a part is only its size; the numbers of all parts stay."""
    part = b"--b\r\nContent-Type: image/png; name=" + b"n" * 2000 + b"\r\n\r\nxyz\r\n"
    raw = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + part * 200
    structure = _structure(raw)
    parts = read_body(structure, extended=True)["parts"]
    assert len(parts) == 200
    assert len(structure) < DETAILED_BYTES + 200 * 100
    assert parts[0]["parameters"] == {b"NAME": b"n" * 2000}
    assert (parts[-2]["type"], parts[-2]["parameters"], parts[-2]["size"]) == (b"APPLICATION", None, 3)


@pytest.mark.parametrize(
    "wrong",
    [
        b'("TEXT" "PLAIN" NIL NIL NIL "7BIT" 3)',
        b'("TEXT" "PLAIN" () NIL NIL "7BIT" 3 1)',
        b'("TEXT" "PLAIN" NIL NIL NIL "7BIT" -1 1)',
        b'("TEXT" "PL"AIN" NIL NIL NIL "7BIT" 3 1)',
        b'("TEXT" "PL\xe9" NIL NIL NIL "7BIT" 3 1)',
        b'("TEXT" {3}\r\nab NIL NIL NIL "7BIT" 3 1)',
        b'("TEXT" {3}\r\na\0b NIL NIL NIL "7BIT" 3 1)',
        b'( "MIXED")',
        b'(("TEXT" "PLAIN" NIL NIL NIL "7BIT" 3 1)"MIXED")',
        b'("MESSAGE" "RFC822" NIL NIL NIL "7BIT" 3)',
        b'("IMAGE" "PNG" NIL NIL NIL "7BIT" 3) x',
    ],
)
def test_checker_finds_faults(wrong: bytes) -> None:
    """Negative control: the grammar that the others are held to refuses what is wrong."""
    with pytest.raises(GrammarFault):
        read_body(wrong, extended=False)
