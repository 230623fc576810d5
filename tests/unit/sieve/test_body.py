"""`body` (RFC 5173), example by example."""

from __future__ import annotations

import base64

import pytest

from mailcore.sieve import MessageView
from tests.unit.sieve.scripts import holds, message, told

NESTED = message(
    "From: Whomever",
    "To: Someone",
    "Subject: whatever",
    "Content-Type: multipart/mixed; boundary=outer",
    body="""This is a multi-part message in MIME format.

--outer
Content-Type: multipart/alternative; boundary=inner

This is a nested multi-part message in MIME format.

--inner
Content-Type: text/plain; charset="us-ascii"

Hello

--inner
Content-Type: text/html; charset="us-ascii"

<html><body>Goodbye</body></html>

--inner--

This is the end of the inner MIME multipart.

--outer
Content-Type: message/rfc822

From: Someone Else
Subject: hello request

Please say hello

--outer--

This is the end of the outer MIME multipart.
""",
)


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ('body :content "multipart" :contains "MIME"', True),
        ('body :content "multipart" :contains "nested multi-part"', True),
        ('body :content "multipart" :contains "end of the inner"', True),
        ('body :content "multipart" :contains "end of the outer"', True),
        ('body :content "multipart" :contains "Please"', False),
        ('body :content "multipart" :contains ["--outer", "--inner"]', False),
        ('body :content "multipart" :is "This is a multi-part message in MIME format.\n\n"', True),
        ('body :content "multipart" :is "\nThis is the end of the inner MIME multipart.\n"', True),
        ('body :content "multipart" :contains "Content-Type"', False),
        ('body :content "multipart" :matches "*format*end of*"', False),
        ('body :content "text/plain" :contains "Hello"', True),
        ('body :content "text/plain" :contains "Please say"', True),
        ('body :content "text/plain" :contains "Goodbye"', False),
        ('body :content "text/html" :contains "Goodbye"', True),
        ('body :content "text/html" :contains "Hello"', False),
        ('body :content "text" :contains ["none", "Goodbye"]', True),
        ('body :content "text" :matches "*Hello*Goodbye*"', False),
        ('body :content "message/rfc822" :contains "hello request"', True),
        ('body :content "message/rfc822" :contains "Please"', False),
        ('body :content "" :contains "hello request"', True),
        ('body :content "audio/mp3" :contains ""', False),
        ('body :content "multipart/alternative" :contains ""', True),
        ('body :content "/plain" :contains ""', False),
        ('body :content "text/" :contains ""', False),
        ('body :content "text/plain/x" :contains ""', False),
        ('body :content "TEXT/Plain" :contains "Hello"', True),
        ('body :raw :contains "--outer"', True),
        ('body :raw :contains "Content-Type: text/html"', True),
        ('body :raw :contains "Whomever"', False),
        ('body :text :contains "Goodbye"', True),
        ('body :text :contains "<body>"', False),
        ('body :contains "Please say hello"', True),
    ],
)
def test_transforms(test: str, expected: bool) -> None:
    """§5."""
    assert holds(test, NESTED, require="body") is expected


def test_encodings_and_charsets_are_undone() -> None:
    """§5.2: but not for `:raw`."""
    encoded = base64.b64encode("Größe".encode("iso-8859-1")).decode()
    view = message(
        "Content-Type: text/plain; charset=iso-8859-1", "Content-Transfer-Encoding: base64", body=f"{encoded}\n"
    )
    assert holds('body :content "text" :is "Größe"', view, require="body")
    assert holds('body :text :contains "größe"', view, require="body")
    assert not holds('body :raw :contains "Größe"', view, require="body")
    assert holds(f'body :raw :contains "{encoded}"', view, require="body")


def test_lines_end_in_crlf() -> None:
    """§4: as in the texts of the script, however it was saved."""
    view = message("Subject: x", body="one\ntwo\n")
    for transform in (":raw", ":text", ':content "text"'):
        assert holds(f'body {transform} :contains "one\ntwo"', view, require="body"), transform


@pytest.mark.parametrize(
    ("raw", "expected"),
    [(b"A: b\r\n", False), (b"A: b\r\n\r\n", True), (b"A: b", False), (b"A: b\n\n", True), (b"", False)],
)
def test_no_body_matches_nothing_and_an_empty_one_is_empty(raw: bytes, expected: bool) -> None:
    """§4."""
    for transform in (":raw", ":text", ':content ""'):
        assert holds(f'body {transform} :contains ""', MessageView(raw), require="body") is expected, transform


def test_wildcards_set_no_variables() -> None:
    """§6: though keys may have them."""
    script = """require ["body", "variables", "fileinto"];
        if header :matches "subject" "*" { set "what" "Hello"; }
        if body :text :matches "*${what}*" { fileinto "${1}"; }"""
    assert told(script, message("Subject: sub")) == ["fileinto sub"]


def test_only_the_beginning_of_a_large_body_is_looked_through() -> None:
    view = message("Subject: x", body="word " * 100_000 + "end\n")
    for transform in (":raw", ":text", ':content "text"'):
        assert holds(f'body {transform} :contains "word"', view, require="body")
        assert not holds(f'body {transform} :contains "end"', view, require="body")
