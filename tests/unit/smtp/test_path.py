"""Reverse-path and forward-path (RFC 5321 §4.1.2, RFC 6531 §3.3)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailcore.errors import AddressInvalid, SyntaxFault
from mailcore.smtp.wire.parameters import decode_xtext, parse_parameters, parse_size
from mailcore.smtp.wire.path import Path, parse_forward_path, parse_reverse_path

GOOD = [
    pytest.param("<a@b.test>", Path("a", "b.test"), "a@b.test", id="plain"),
    pytest.param("<A.B+c@B.Test>", Path("A.B+c", "B.Test"), "A.B+c@B.Test", id="case-kept"),
    pytest.param("<@r1.test,@r2.test:a@b.test>", Path("a", "b.test"), "a@b.test", id="source-route-stripped"),
    pytest.param('<"a b"@b.test>', Path("a b", "b.test"), '"a b"@b.test', id="quoted"),
    pytest.param('<"plain"@b.test>', Path("plain", "b.test"), "plain@b.test", id="needlessly-quoted"),
    pytest.param(r'<"a\"b\\c>"@b.test>', Path('a"b\\c>', "b.test"), r'"a\"b\\c>"@b.test', id="escapes"),
    pytest.param('<"@"@b.test>', Path("@", "b.test"), '"@"@b.test', id="quoted-at"),
    pytest.param("<a@[192.0.2.1]>", Path("a", "[192.0.2.1]"), "a@[192.0.2.1]", id="literal"),
    pytest.param("<a@[IPv6:2001:db8::1]>", Path("a", "[IPv6:2001:db8::1]"), "a@[IPv6:2001:db8::1]", id="literal-v6"),
    pytest.param("<dörte@bücher.test>", Path("dörte", "bücher.test"), "dörte@bücher.test", id="utf8"),
    pytest.param("<用户@例子.广告>", Path("用户", "例子.广告"), "用户@例子.广告", id="chinese"),
    pytest.param("<नमस्ते@उदाहरण.परीक्षा>", Path("नमस्ते", "उदाहरण.परीक्षा"), "नमस्ते@उदाहरण.परीक्षा", id="devanagari"),
    pytest.param("<a=b.c@b.test>", Path("a=b.c", "b.test"), "a=b.c@b.test", id="srs-like"),
    pytest.param(f"<{'x' * 300}@b.test>", Path("x" * 300, "b.test"), f"{'x' * 300}@b.test", id="long-verp"),
]

BAD = [
    "", "a@b.test", "<a@b.test", "a@b.test>", "<a@>", "<@b.test>", "<a>", "<a@b@c>", "<.a@b>", "<a.@b>", "<a..b@c>",
    "<a@-b.test>", "<a@b-.test>", "<a@b..test>", "<a b@c.test>", "< a@b.test>", "<a@b.test >", '<"a@b.test>',
    "<a@b.test>x", "<a@b.test>\tSIZE=1", "<a@b.test\r\n>", "<a\x00@b.test>", "<a\u202e@b.test>", "<a\udc80@b.test>",
    "<a@b\u2028.test>", '<"a\r\nb"@c.test>', '<"a\\\r"@c.test>', "<a@[1.2.3.4>", "<@r1.test:>", "<@r1.test,a@b.test>",
    f"<{'x' * 1100}@b.test>", "<a@\x85b>",
]  # fmt: skip


@pytest.mark.parametrize(("text", "path", "address"), GOOD)
def test_paths_are_read_and_written_back(text: str, path: Path, address: str) -> None:
    assert parse_forward_path(text) == (path, "")
    assert parse_reverse_path(text + " SIZE=1") == (path, " SIZE=1")
    assert path.address == address
    assert parse_forward_path(f"<{address}>") == (path, "")


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(AddressInvalid):
        parse_forward_path(text)
    with pytest.raises(AddressInvalid):
        parse_reverse_path(text)


def test_null_path_is_a_sender_and_no_recipient() -> None:
    assert parse_reverse_path("<> BODY=8BITMIME") == (None, " BODY=8BITMIME")
    with pytest.raises(AddressInvalid):
        parse_forward_path("<>")


def test_bare_postmaster_is_a_recipient_and_no_sender() -> None:
    """RFC 5321 §4.1.1.3."""
    assert parse_forward_path("<PostMaster>") == (Path("PostMaster", ""), "")
    with pytest.raises(AddressInvalid):
        parse_reverse_path("<postmaster>")


def test_is_ascii_decides_about_smtputf8() -> None:
    assert Path("a", "b.test").is_ascii
    assert not Path("ä", "b.test").is_ascii
    assert not Path("a", "ä.test").is_ascii


@given(st.text(alphabet=st.characters(), max_size=60))
def test_any_text_is_a_path_or_a_syntax_fault(text: str) -> None:
    for candidate in (text, f"<{text}>", f"<a@{text}>", f"<{text}@b>", f'<"{text}"@b>'):
        for parse in (parse_forward_path, parse_reverse_path):
            try:
                path, rest = parse(candidate)
            except SyntaxFault:
                continue
            if path is not None:
                assert parse(f"<{path.address}>") == (path, "")
                assert candidate.endswith(rest)
                assert not set("\r\n\x00") & set(path.address)


def test_parameters() -> None:
    assert parse_parameters(" SIZE=10 body=8BITMIME SMTPUTF8 ") == {"SIZE": "10", "BODY": "8BITMIME", "SMTPUTF8": None}
    assert parse_parameters("") == {}
    for bad in (" SIZE=", " =1", " SIZE=1 size=2", " S IZE==", " -A=1", " A=\x00"):
        with pytest.raises(SyntaxFault):
            parse_parameters(bad)


def test_size() -> None:
    assert parse_size("0") == 0
    assert parse_size("9" * 20) == int("9" * 20)
    for bad in (None, "", "-1", "1 ", "9" * 21, "١", "1e3"):
        with pytest.raises(SyntaxFault):
            parse_size(bad)


def test_xtext() -> None:
    """RFC 3461 §4."""
    assert decode_xtext("a+2Bb+3Dc") == "a+b=c"
    assert decode_xtext("+C3+A4") == "ä"
    assert decode_xtext("") == ""
    for bad in ("a+2b", "a+", "a b", "a=b", "ä", "+0"):
        with pytest.raises(SyntaxFault):
            decode_xtext(bad)


@given(st.text(max_size=50))
def test_any_text_is_parameters_or_a_syntax_fault(text: str) -> None:
    for parse in (parse_parameters, parse_size, decode_xtext):
        try:
            parse(text)
        except SyntaxFault:
            pass
