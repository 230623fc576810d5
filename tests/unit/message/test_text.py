"""Charsets, transfer encodings, visible text, normal form, preview, attachments, encryption."""

# ruff: noqa: E501 - tables of messages

from __future__ import annotations

import pytest

from mailcore.message.charset import _NAMES, codec_for, decode_text
from mailcore.message.html_text import visible_text
from mailcore.message.mime_tree import scan
from mailcore.message.preview import has_attachment, preview
from mailcore.message.text import is_encrypted, normalize, searchable_text
from mailcore.message.transfer import decode_transfer


@pytest.mark.parametrize(
    ("charset", "codec"),
    [
        ("UTF-8", "utf_8"), ('"utf-8"', "utf_8"), ("utf8", "utf_8"), ("US-ASCII", "utf_8"), ("iso-8859-1", "cp1252"),
        ("ISO-8859-15", "iso8859_15"), ("windows-1251", "cp1251"), ("cp-850", "cp850"), ("x-cp1250", "cp1250"), ("koi8-r", "koi8_r"),
        ("gb2312", "gb18030"), ("ks_c_5601-1987", "cp949"), ("Shift_JIS", "cp932"), ("iso-8859-8-i", "iso8859_8"), ("hz", "hz"),
        ("hex", None), ("zlib", None), ("idna", None), ("punycode", None), ("unicode_escape", None), ("../../etc", None), ("", None),
        ("x" * 1000, None), ("rot13", None), ("mbcs", None), ("undefined", None),
    ],
)  # fmt: skip
def test_charset_names(charset: str, codec: str | None) -> None:
    assert codec_for(charset) == codec


@pytest.mark.parametrize("codec", sorted(set(_NAMES.values())))
def test_every_codec_decodes_anything(codec: str) -> None:
    for data in (bytes(range(256)), b"\xff" * 7, b"+AAA-\x1b$B\x80"):
        assert isinstance(data.decode(codec, "replace"), str)


@pytest.mark.parametrize(
    ("data", "charset", "text"),
    [
        pytest.param("né".encode(), None, "né", id="undeclared UTF-8"),
        pytest.param("né".encode(), "us-ascii", "né", id="UTF-8 as ASCII"),
        pytest.param("né".encode(), "iso-8859-1", "nÃ©", id="declaration counts"),
        pytest.param("né".encode(), "x-made-up", "né", id="unknown"),
        pytest.param(b"n\xe9", "utf-8", "né", id="declared wrongly"),
        pytest.param("ééé".encode() + b"\xe9 x", "utf-8", "ééé\ufffd x", id="one fault in UTF-8"),
        pytest.param("éé".encode()[:-1], "utf-8", "é\ufffd", id="cut off"),
        pytest.param("日本".encode("shift_jis"), "Shift_JIS", "日本", id="Japanese"),
        pytest.param("日本".encode("iso-2022-jp"), "iso-2022-jp", "日本", id="seven bits"),
        pytest.param("日本".encode("euc_jp"), "gb2312", "泣塑", id="wrong but possible"),
        pytest.param(b"\x93quoted\x94", "iso-8859-1", "“quoted”", id="Windows quotes"),
        pytest.param(b"", "utf-16", "", id="empty"),
    ],
)
def test_decode_text(data: bytes, charset: str | None, text: str) -> None:
    assert decode_text(data, charset) == text


def test_guess_reads_a_sample() -> None:
    russian = ("Добрый день, коллеги! Отправляю вам отчёт за прошлый месяц, посмотрите его, пожалуйста. " * 20).encode(
        "koi8_r"
    )
    assert "коллеги" in decode_text(russian, None, guess=True).casefold()
    assert "коллеги" not in decode_text(russian, None)


@pytest.mark.parametrize(
    ("data", "encoding", "decoded"),
    [
        (b"a=C3=A9=\r\nb", "quoted-printable", b"a\xc3\xa9b"),
        (b"QUJD\r\nRA==\r\n", "base64", b"ABCD"),
        (b"QUJD\r\nRA", "base64", b"ABCD"),
        (b"QUJD!\r\nRA==", "base64", b"ABCD"),
        (b"QQ==\r\nQg==\r\n", "base64", b"AB"),
        (b"QQ==\r\nfooter of a list\r\n", "base64", b"A"),
        (b"QUJDR", "base64", b"ABC"),
        (b"?", "base64", b""),
        (b"====", "base64", b""),
        (b"x\xff", "8bit", b"x\xff"),
        (b"x", "x-uuencode", None),
    ],
)
def test_decode_transfer(data: bytes, encoding: str, decoded: bytes | None) -> None:
    """RFC 2045 §6."""
    assert decode_transfer(data, encoding) == decoded


HTML = [
    ("<p>One</p><p>Two <b>bo</b>ld</p>", "One\nTwo bold"),
    ("a<br>b<br/>c", "a\nb\nc"),
    ("a\n  b\tc", "a b c"),
    ("<table><tr><td>1</td><td>2</td></tr></table>", "1\n2"),
    ("<style>p{}</style>x<script>if (a<b) alert('</p>')</script>y", "xy"),
    ("<STYLE type='a>b'>p{}</STYLE >x", "x"),
    ("<title>t</title>x", "x"),
    ("a<!-- <p>no</p> -->b", "ab"),
    ("a<!-- never closed <p>b</p>", "a"),
    ("a<script>never closed", "a"),
    ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
    ("<a title=\"a>b\" href='x'>link</a>", "link"),
    ("&lt;p&gt; &amp;amp; &eacute;&#233;&#xE9;&nbsp;x", "<p> &amp; ééé x"),
    ("&#99999999999999999999;x&#xFFFFFFFFFFFF;y&#" + "9" * 10_000 + ";z", "xyz"),
    ("<!DOCTYPE html><?php x ?><p", ""),
    ("</p", ""),
    ("<", "<"),
]


@pytest.mark.parametrize(("markup", "text"), HTML)
def test_visible_text(markup: str, text: str) -> None:
    assert visible_text(markup) == text


MESSAGE = (
    b"Subject: not in it\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n"
    b"--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nGr=C3=BC=\r\n=C3=9Fe\r\n"
    b"--b\r\nContent-Type: text/html; charset=iso-8859-1\r\nContent-Transfer-Encoding: base64\r\n\r\nPHA+R3L832U8L3A+\r\n"
    b"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: =?utf-8?q?gr=C3=BCn?=\r\nFrom: Bob <bob@x>\r\n\r\nforwarded\r\n"
    b"--b\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename=Rechnung.pdf\r\n\r\nbinary words\r\n--b--\r\n"
)


def test_searchable_text_has_what_people_see() -> None:
    text = searchable_text(MESSAGE, scan(MESSAGE), 10_000)
    assert text == "Grüße\nGrüße\nBob <bob@x>\ngrün\nforwarded\nRechnung.pdf"


def test_searchable_text_has_what_reports_say() -> None:
    """Who looks for an address finds the bounce that names it (RFC 3464)."""
    raw = (
        b"Subject: failed\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n"
        b"--b\r\n\r\nNot delivered.\r\n"
        b"--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.a\r\n\r\n"
        b"Final-Recipient: rfc822; lost@b.c\r\nAction: failed\r\n"
        b"--b\r\nContent-Type: message/global-disposition-notification\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        b"w7xiZXI=\r\n--b--\r\n"
    )
    assert searchable_text(raw, scan(raw), 10_000) == (
        "Not delivered.\nReporting-MTA: dns; mx.a\n\nFinal-Recipient: rfc822; lost@b.c\nAction: failed\nüber"
    )


@pytest.mark.parametrize("size", range(0, 40, 3))
def test_searchable_text_is_cut_at_a_character(size: int) -> None:
    whole = searchable_text(MESSAGE, scan(MESSAGE), 10_000)
    text = searchable_text(MESSAGE, scan(MESSAGE), size)
    assert whole.startswith(text)
    assert size - 3 <= len(text.encode()) <= size


@pytest.mark.parametrize(
    ("kind", "unit"),
    [
        pytest.param("text/plain", b"\r\n" * 10, id="line ends shrink"),
        pytest.param("text/plain; charset=utf-16le", b" \0" * 10, id="two bytes a character"),
        pytest.param("text/html", b"<td></td>" + b" " * 50, id="mostly markup"),
        pytest.param("text/html", b"&nbsp;&#99999999999999;" * 4, id="references that are blank"),
    ],
)
def test_text_that_ends_early_is_all_there_is(kind: str, unit: bytes) -> None:
    """Whoever asked for n bytes and got fewer need not look further: SEARCH misses nothing."""
    end = "end".encode("utf-16le" if "utf-16" in kind else "ascii")
    raw = f"Content-Type: {kind}\r\n\r\n".encode() + unit * 400 + end + unit * 400
    assert "end" in searchable_text(raw, scan(raw), 9000)
    for size in (200, 1000, 3000):
        text = searchable_text(raw, scan(raw), size)
        assert "end" in text or len(text.encode()) >= size - 4


def test_normalize() -> None:
    """NFKC and case folding: what looks the same is found."""
    assert normalize("GRÜSSE") == normalize("Gru\u0308ße") == "grüsse"
    assert normalize("ﬁ ① Ａ") == "fi 1 a"
    assert normalize("ASCII") == "ascii"


def test_normalize_cuts_runs_of_marks() -> None:
    """Attack M2: sorting marks takes the square of their number."""
    text = "a" + "\u0301\u0316\uff9e" * 50_000 + "b"
    assert len(normalize(text)) < 200
    usual = "e\u0301\u0323 ที่ กี๋ नमस्ते"
    assert normalize(usual + "!" * 100 + "…" * 100).startswith(normalize(usual))
    assert normalize("…" * 100) == "..." * 100


PREVIEWS = [
    pytest.param(b"\r\n  One\r\n\r\n two\t three\r\n", "One two three", id="plain"),
    pytest.param(b"Content-Type: text/html\r\n\r\n<style>x</style><p>One<p>two", "One two", id="html"),
    pytest.param(b"\r\n" + b"word " * 100, ("word " * 100)[:199], id="200 characters"),
    pytest.param(b"\r\n" + b"w" * 300, "w" * 200, id="one word"),
    pytest.param("Content-Type: text/plain; charset=utf-8\r\n\r\n\u200b\u034f\u00a0x\u00ad y".encode(), "x y", id="invisible"),
    pytest.param(b"Content-Type: image/png\r\n\r\nx", "", id="no text"),
    pytest.param(b"\r\n\r\n \r\n", "", id="blank"),
    pytest.param(
        b"Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\nhtml\r\n--b\r\n\r\nplain\r\n--b--",
        "plain", id="plain before html",
    ),
    pytest.param(
        b"Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\n\r\n \r\n--b\r\nContent-Type: text/html\r\n\r\nhtml\r\n--b--",
        "html", id="html when plain is blank",
    ),
    pytest.param(b"Content-Type: multipart/encrypted; boundary=b\r\n\r\n--b\r\n\r\nVersion: 1\r\n--b--", "", id="encrypted"),
    pytest.param(b"Content-Disposition: attachment\r\n\r\nfile", "", id="attachment"),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "shown"), PREVIEWS)
def test_preview(raw: bytes, shown: str) -> None:
    """RFC 8970 §3.1."""
    assert preview(raw, scan(raw)) == shown


def _mixed(*parts: str, subtype: str = "mixed") -> bytes:
    body = "".join(f"--b\r\n{part}\r\n\r\nx\r\n" for part in parts)
    return f"Content-Type: multipart/{subtype}; boundary=b\r\n\r\n{body}--b--".encode()


@pytest.mark.parametrize(
    ("raw", "attached"),
    [
        (b"\r\ntext", False),
        (b"Content-Type: application/pdf\r\n\r\nx", True),
        (_mixed("Content-Type: text/plain", "Content-Type: application/pdf"), True),
        (_mixed("Content-Type: text/plain", "Content-Type: text/csv; name=a.csv"), True),
        (_mixed("Content-Type: text/plain", "Content-Type: message/rfc822"), True),
        (_mixed("Content-Type: text/plain", "Content-Type: image/png\r\nContent-Disposition: attachment"), True),
        (_mixed("Content-Type: text/html", "Content-Type: image/png\r\nContent-ID: <a>", subtype="related"), False),
        (_mixed("Content-Type: text/html", "Content-Type: image/png", subtype="related"), True),
        (
            _mixed("Content-Type: text/plain", "Content-Type: application/pgp-signature; name=s.asc", subtype="signed"),
            False,
        ),
        (_mixed("Content-Type: text/plain", "Content-Type: message/delivery-status", subtype="report"), False),
        (_mixed("Content-Type: text/plain", "Content-Type: text/html", subtype="alternative"), False),
    ],
)
def test_has_attachment(raw: bytes, *, attached: bool) -> None:
    assert has_attachment(scan(raw)) == attached


@pytest.mark.parametrize(
    ("raw", "encrypted"),
    [
        (b"\r\ntext", False),
        (_mixed("Content-Type: application/pgp-encrypted", subtype="encrypted"), True),
        (b"Content-Type: application/pkcs7-mime; smime-type=enveloped-data\r\n\r\nx", True),
        (b"Content-Type: application/x-pkcs7-mime\r\n\r\nx", True),
        (b"Content-Type: application/pkcs7-mime; smime-type=signed-data\r\n\r\nx", False),
        (_mixed("Content-Type: text/plain", "Content-Type: application/pgp-encrypted"), False),
    ],
)
def test_is_encrypted(raw: bytes, *, encrypted: bool) -> None:
    """RFC 1847, RFC 8551 §3.2."""
    assert is_encrypted(scan(raw)) == encrypted


def test_encrypted_message_has_no_searchable_text() -> None:
    """Neither the armour nor a name of a part may reach an index or a preview."""
    raw = _mixed('Content-Type: text/plain; name="secret-plan.txt"\r\n\r\nhush', subtype="encrypted")
    assert searchable_text(raw, scan(raw), 1000) == ""
    plain = _mixed('Content-Type: text/plain; name="secret-plan.txt"\r\n\r\nhush')
    assert "hush" in searchable_text(plain, scan(plain), 1000)
