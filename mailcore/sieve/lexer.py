"""Text of a script -> tokens (RFC 5228 §8.1); linear, and every character is looked at a fixed number of times."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

from mailcore.sieve.syntax import Flaw

_LARGEST = (1 << 63) - 1
_FACTORS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}

_BLANK = re.compile(r"(?:[ \t\r\n]++|#[^\n]*+)++")
_TOKEN = re.compile(
    r"""(?P<multiline>text:[ \t]*+(?:\#[^\n]*+)?\r?\n)
    |(?P<identifier>[a-z_][a-z0-9_]*+)
    |(?P<tag>:[a-z_][a-z0-9_]*+)
    |(?P<number>([0-9]++)([kmg]?+)(?![a-z0-9_]))
    |(?P<string>"(?:[^"\\\0]++|\\[^\0])*+")
    |(?P<mark>[()\[\]{},;])""",
    re.IGNORECASE | re.VERBOSE | re.ASCII,
)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_LAST_LINE = re.compile(r"\n\.\r?(?:\n|\Z)")
_BARE_LINE_END = re.compile(r"(?<!\r)\n")


class Kind(Enum):
    """What a token is."""

    IDENTIFIER = "identifier"
    TAG = "tag"
    NUMBER = "number"
    STRING = "string"
    MARK = "mark"
    END = "end"


class Token(NamedTuple):
    """One token; identifiers and tags in lower case, strings as they are meant."""

    kind: Kind
    text: str
    number: int
    at: int


def tokens(script: str) -> Iterator[Token]:
    """The tokens of a script, the last of which is END.

    Raises:
        Flaw: something that is no token.
    """
    at = _skip_blank(script, 0)
    while at < len(script):
        token, end = _read(script, at)
        yield token
        at = _skip_blank(script, end)
    yield Token(Kind.END, "", 0, len(script))


def _skip_blank(script: str, at: int) -> int:
    """Go past white space and comments of both kinds."""
    while True:
        blank = _BLANK.match(script, at)
        if blank:
            at = blank.end()
        if not script.startswith("/*", at):
            return at
        end = script.find("*/", at + 2)
        if end < 0:
            raise Flaw(at, 'This comment has no end: close it with "*/".')
        at = end + 2


def _read(script: str, at: int) -> tuple[Token, int]:
    """The token at an offset, and where it ends."""
    match = _TOKEN.match(script, at)
    if match is None:
        raise Flaw(at, _complaint(script, at))
    text = match[0]
    if match.lastgroup == "multiline":
        return _read_lines(script, at, match.end())
    if match.lastgroup == "string":
        inner = text[1:-1]
        if "\\" in inner:
            inner = _ESCAPED.sub(r"\1", inner)
        return Token(Kind.STRING, _with_crlf(inner), 0, at), match.end()
    if match.lastgroup == "number":
        digits = match[5].lstrip("0")
        number = int(digits or "0") * _FACTORS[match[6].lower()] if len(digits) < 20 else _LARGEST + 1
        if number > _LARGEST:
            raise Flaw(at, "This number is too large.")
        return Token(Kind.NUMBER, text, number, at), match.end()
    if match.lastgroup == "tag":
        return Token(Kind.TAG, text[1:].lower(), 0, at), match.end()
    kind = Kind.MARK if match.lastgroup == "mark" else Kind.IDENTIFIER
    return Token(kind, text.lower(), 0, at), match.end()


def _read_lines(script: str, at: int, start: int) -> tuple[Token, int]:
    """A multi-line string, which a line of a single dot ends (RFC 5228 §2.4.2)."""
    last = _LAST_LINE.search(script, start - 1)
    if last is None:
        raise Flaw(at, 'This text has no end: put a line with nothing but "." behind it.')
    lines = script[start : last.start() + 1]
    if "\0" in lines:
        raise Flaw(at, "A string may not hold the character NUL.")
    if "\n.." in lines or lines.startswith(".."):
        lines = re.sub(r"(?m)^\.\.", ".", lines)
    return Token(Kind.STRING, _with_crlf(lines), 0, at), last.end()


def _with_crlf(text: str) -> str:
    """Line ends as mail has them, whatever the script was saved with."""
    return _BARE_LINE_END.sub("\r\n", text) if "\n" in text else text


def _complaint(script: str, at: int) -> str:
    """Why there is no token at an offset."""
    character = script[at]
    if character == '"':
        return "This string has no end, or holds the character NUL: close it with a quotation mark."
    if character.isdecimal():
        return "This number is malformed: digits, then K, M or G at most."
    if character == ":":
        return 'A tag is a colon and a name, such as ":contains".'
    return f"Nothing in a script begins with {character!r}: is it part of a string without its quotation marks?"
