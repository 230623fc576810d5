"""FETCH BINARY, BINARY.PEEK and BINARY.SIZE (RFC 3516 §4, RFC 9051 §6.4.5.1)."""

from __future__ import annotations

import base64

import pytest

from mailcore.imap import binary
from tests.transcripts.imap.dialogue import Imap

DATA = bytes(range(256)) * 8
ODD = b"a=b\r\n\xc3\xbc"


def mail(encoding: str, encoded: bytes) -> bytes:
    """A message of two parts, the second in a transfer encoding."""
    return (
        b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n'
        b"--b\r\nContent-Type: text/plain\r\n\r\nhello\r\n"
        b"--b\r\nContent-Type: image/x\r\nContent-Transfer-Encoding: " + encoding.encode() + b"\r\n\r\n" + encoded
    ) + b"\r\n--b--\r\n"


def test_base64_is_decoded(imap: Imap) -> None:
    imap.append(mail("base64", base64.encodebytes(DATA).replace(b"\n", b"\r\n").rstrip()))
    client = imap.sign_in(select="INBOX")
    assert client.ask(b"a FETCH 1 BINARY.PEEK[2]\r\n") == (
        b"* 1 FETCH (BINARY[2] ~{2048}\r\n" + DATA + b")\r\na OK FETCH completed\r\n"
    )
    assert client.ask(b"b FETCH 1 (UID BINARY.SIZE[2] BINARY.PEEK[2]<256.3>)\r\n") == (
        b"* 1 FETCH (UID 1 BINARY.SIZE[2] 2048 BINARY[2]<256> ~{3}\r\n\0\1\2)\r\nb OK FETCH completed\r\n"
    )
    assert b'BINARY[2]<5000> "")' in client.ask(b"c FETCH 1 BINARY.PEEK[2]<5000.3>\r\n")
    assert b"FLAGS ()" in client.run("FETCH 1 FLAGS")


def test_quoted_printable_is_decoded(imap: Imap) -> None:
    imap.append(mail("quoted-printable", b"a=3Db=\r\n\r\n=C3=BC"))
    client = imap.sign_in(select="INBOX")
    assert b"BINARY[2] ~{7}\r\n" + ODD + b")\r\n" in client.run("FETCH 1 BINARY.PEEK[2]")


@pytest.mark.parametrize("encoding", ["7bit", "8bit", "binary"])
def test_others_are_as_they_are(imap: Imap, encoding: str) -> None:
    imap.append(mail(encoding, ODD))
    client = imap.sign_in(select="INBOX")
    assert b"BINARY[2] ~{7}\r\n" + ODD + b")\r\n" in client.run("FETCH 1 BINARY.PEEK[2]")
    assert b"BINARY.SIZE[2] 7)" in client.run("FETCH 1 BINARY.SIZE[2]")


def test_whole_message_and_parts_that_are_none(imap: Imap) -> None:
    raw = mail("7bit", b"x")
    imap.append(raw)
    client = imap.sign_in(select="INBOX")
    assert b"BINARY[] ~{%d}\r\n" % len(raw) + raw in client.run("FETCH 1 BINARY.PEEK[]")
    assert b"(BINARY[3] NIL)" in client.run("FETCH 1 BINARY.PEEK[3]")
    assert b"(BINARY.SIZE[3] 0)" in client.run("FETCH 1 BINARY.SIZE[3]")


def test_reading_sets_seen_but_sizes_do_not(imap: Imap) -> None:
    r"""RFC 3516 §4.2: BINARY sets \Seen as BODY does."""
    imap.append(mail("7bit", b"x"))
    client = imap.sign_in(select="INBOX")
    assert b"Seen" not in client.run("FETCH 1 BINARY.SIZE[1]")
    assert rb"FETCH (UID 1 FLAGS (\Seen))" in client.run("FETCH 1 BINARY[1]")


def test_unknown_encoding(imap: Imap) -> None:
    """RFC 3516 §4.3."""
    imap.append(mail("x-strange", b"x"), mail("7bit", b"x"))
    client = imap.sign_in(select="INBOX")
    assert client.ask(b"a FETCH 1 BINARY.PEEK[2]\r\n") == (
        b"a NO [UNKNOWN-CTE] The transfer encoding of the part is not known\r\n"
    )
    assert client.ask(b"b FETCH 1 BINARY.SIZE[2]\r\n").startswith(b"b NO [UNKNOWN-CTE] ")
    assert b"BINARY[1] ~{5}\r\nhello" in client.run("FETCH 1 BINARY.PEEK[1]")


@pytest.mark.parametrize(
    "item",
    ["BINARY", "BINARY[1.MIME]", "BINARY[0]", "BINARY[1.]", "BINARY.SIZE[1]<0.1>", "BINARY.SIZE", "BINARY[HEADER]"],
)
def test_malformed(imap: Imap, item: str) -> None:
    imap.fill(1)
    assert imap.sign_in(select="INBOX").ask(f"a FETCH 1 {item}\r\n".encode()).startswith(b"a BAD ")


def test_a_part_given_as_it_is_stored(imap: Imap, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: without decoding, base64 comes out."""
    imap.append(mail("base64", base64.b64encode(DATA)))
    monkeypatch.setattr(binary, "decode_transfer", lambda data, _encoding: data)
    assert DATA not in imap.sign_in(select="INBOX").run("FETCH 1 BINARY.PEEK[2]")
