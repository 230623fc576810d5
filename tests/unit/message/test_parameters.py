"""Parameters of Content-Type and Content-Disposition."""

# ruff: noqa: E501 - tables of messages

from __future__ import annotations

import pytest

from mailcore.message.parameters import MAX_PARAMETERS, parse_parameterized

CASES = [
    pytest.param(b"text/plain", "text/plain", {}, id="none"),
    pytest.param(b"Text/Plain; Charset=UTF-8", "text/plain", {"charset": "UTF-8"}, id="case of names only"),
    pytest.param(b'a/b; x="1;2"; y="q\\"q"', "a/b", {"x": "1;2", "y": 'q"q'}, id="quoted"),
    pytest.param(b"a/b;x=1;;y=2;", "a/b", {"x": "1", "y": "2"}, id="extra semicolons"),
    pytest.param(b"a/b; x=1; x=2", "a/b", {"x": "1"}, id="first of two"),
    pytest.param(b"a/b; x = 1 ; y", "a/b", {"x": "1"}, id="blanks, no value"),
    pytest.param(b"text/plain; charset=us-ascii (Plain text)", "text/plain", {"charset": "us-ascii"}, id="comment"),
    pytest.param(b'attachment; filename="never closed', "attachment", {"filename": "never closed"}, id="no end"),
    pytest.param(b'a/b; x="ends in\\', "a/b", {"x": "ends in"}, id="backslash at the end"),
    pytest.param(b"; x=1", "", {"x": "1"}, id="no token"),
    pytest.param("a/b; n=é; m=\"ü\"".encode(), "a/b", {"n": "é", "m": "ü"}, id="8 bit UTF-8"),
    pytest.param(b"a/b; n=\xe9", "a/b", {"n": "é"}, id="8 bit"),
    pytest.param("a/b; ñ=1; x=2".encode(), "a/b", {"x": "2"}, id="8 bit name"),
    # RFC 2231 §3, §4, §4.1
    pytest.param(
        b'message/external-body; access-type=URL; URL*0="ftp://"; URL*1="cs.utk.edu/pub/moore"',
        "message/external-body", {"access-type": "URL", "url": "ftp://cs.utk.edu/pub/moore"}, id="RFC 2231 §3",
    ),
    pytest.param(
        b"application/x-stuff; title*=us-ascii'en-us'This%20is%20%2A%2A%2Afun%2A%2A%2A",
        "application/x-stuff", {"title": "This is ***fun***"}, id="RFC 2231 §4",
    ),
    pytest.param(
        b"application/x-stuff; title*0*=us-ascii'en'This%20is%20even%20more%20; title*1*=%2A%2A%2Afun%2A%2A%2A%20; title*2=\"isn't it!\"",
        "application/x-stuff", {"title": "This is even more ***fun*** isn't it!"}, id="RFC 2231 §4.1",
    ),
    pytest.param(b"x; f*1=b; f*0=a; f*3=d", "x", {"f": "ab"}, id="out of order, to the gap"),
    pytest.param(b"x; f*1=b", "x", {}, id="without the first"),
    pytest.param(b"x; f*0*=utf-8''%C3; f*1*=%A9", "x", {"f": "é"}, id="character in two pieces"),
    pytest.param(b"x; f=plain; f*=utf-8''ext%E2%82%AC", "x", {"f": "ext€"}, id="extended wins"),
    pytest.param(b"x; f*=%41%zz'", "x", {"f": "A%zz'"}, id="no charset"),
    pytest.param(b"x; f*=made-up''%e9", "x", {"f": "é"}, id="unknown charset"),
    pytest.param("x; f*=utf-8''%C3%83%C2%A9; g=é".encode(), "x", {"f": "Ã©", "g": "é"}, id="decoded once only"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "token", "parameters"), CASES)
def test_parameters(value: bytes, token: str, parameters: dict[str, str]) -> None:
    """RFC 2045 §5.1, RFC 2183, RFC 2231."""
    parsed = parse_parameterized(value)
    assert (parsed.token, parsed.parameters) == (token, parameters)


@pytest.mark.parametrize(
    ("value", "boundary"),
    [
        (b'm/x; boundary="a b"', b"a b"),
        (b"m/x; boundary=\xe9\xff", b"\xe9\xff"),
        (b"m/x; n=\xe9; boundary=q", b"q"),
        (b"m/x; boundary*0=a; boundary*1=b", b"ab"),
        (b"m/x; boundary=a=b?c", b"a=b?c"),
        (b"m/x", None),
    ],
)
def test_boundary_keeps_its_bytes(value: bytes, boundary: bytes | None) -> None:
    assert parse_parameterized(value).boundary == boundary


def test_number_of_parameters_is_bounded() -> None:
    value = b"a/b" + b"".join(b"; (p%d=x; p%d=v" % (number, number) for number in range(3 * MAX_PARAMETERS))
    assert len(parse_parameterized(value).parameters) == MAX_PARAMETERS
    pieces = b"a/b" + b"".join(b"; f*%d=x" % number for number in range(20 * MAX_PARAMETERS))
    assert parse_parameterized(pieces).parameters["f"] == "x" * (10 * MAX_PARAMETERS)
