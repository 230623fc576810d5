"""Address lists (RFC 5322 §3.4, obsolete forms §4.4 too): one linear pass, and every input gives a list."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from mailcore.message.charset import decode_text
from mailcore.message.encoded_words import MAX_VALUE_BYTES, clean, decode_header
from mailcore.message.headers import unfold

_ATOMS = rb"[\w.!#$%&'*+/=?^`{|}~-]++"
_ADDR_SPEC = rb"(" + _ATOMS + rb")@([A-Za-z0-9.-]++)"
_SIMPLE = re.compile(
    rb"[ \t,]*+(?:"
    rb"(?:\"([^\"\\\x80-\xff\x00-\x1f]*+)\"[ \t]*+|(" + _ATOMS + rb"(?:[ \t]++" + _ATOMS + rb")*)[ \t]++)?"
    rb"<" + _ADDR_SPEC + rb">|" + _ADDR_SPEC + rb")[ \t]*+(?:,|\Z)"
)
"""The usual forms: `"name" <a@b>`, `name <a@b>`, `a@b`."""

_TOKEN = re.compile(
    rb'(?P<quoted>"(?:[^"\\]++|\\.)*+"?)|(?P<comment>\()|(?P<blank>[ \t\r\n]++)|(?P<special>[<>,;:@])'
    rb'|(?P<literal>\[(?:[^\[\]\\]++|\\.)*+\]?)|(?P<atom>[^ \t\r\n"(\[<>,;:@]++)',
    re.DOTALL,
)
_COMMENT_PART = re.compile(rb"[^()\\]++|\\.?|[()]", re.DOTALL)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)


class ListedAddress(NamedTuple):
    """One element of an address list as ENVELOPE shows it (RFC 9051 §7.5.2); raw bytes, undecoded.

    `domain` None marks a group: its beginning has the group's name as `local`, its end None.
    """

    name: bytes | None
    route: bytes | None
    local: bytes | None
    domain: bytes | None


@dataclass(frozen=True, slots=True)
class HeaderAddress:
    """An address of a header as people read it."""

    name: str
    """Display name, decoded; empty if there is none."""
    address: str
    """local-part@domain as written; without "@" where the domain is missing."""
    group: str | None = None
    """Name of the group it is in."""


def parse_addresses(value: bytes) -> list[HeaderAddress]:
    """The addresses of a From, To, Cc ... value, with decoded names; groups are dissolved."""
    found: list[HeaderAddress] = []
    group: str | None = None
    for item in list_addresses(unfold(value)):
        if item.domain is None:
            group = decode_header(item.local) if item.local is not None else None
            continue
        local = clean(decode_text(item.local or b"", None))
        domain = clean(decode_text(item.domain, None))
        if not local and not domain:
            continue
        name = decode_header(item.name) if item.name else ""
        found.append(HeaderAddress(name, f"{local}@{domain}" if domain else local, group))
    return found


def list_addresses(value: bytes) -> list[ListedAddress]:
    """The elements of an unfolded value in order, to MAX_VALUE_BYTES."""
    if len(value) > MAX_VALUE_BYTES:
        value = value[: max(value.rfind(b",", 0, MAX_VALUE_BYTES), 0) or MAX_VALUE_BYTES]
    found: list[ListedAddress] = []
    position, size = 0, len(value)
    while position < size:
        match = _SIMPLE.match(value, position)
        if match is None:
            return found + _Parser(value, position).run()
        found.append(ListedAddress(match[1] or match[2] or None, None, match[3] or match[5], match[4] or match[6]))
        position = match.end()
    return found


class _Parser:
    """The slow way: quoted pairs, comments, groups, routes, and whatever people write."""

    def __init__(self, value: bytes, position: int) -> None:
        self.value = value
        self.position = position
        self.found: list[ListedAddress] = []
        self.in_group = False
        self.reset()

    def reset(self) -> None:
        """Begin the next element."""
        self.words: list[bytes] = []
        """Display name, or local part until "@" comes."""
        self.comment: bytes | None = None
        self.local: bytes | None = None
        self.domain: list[bytes] | None = None
        self.angle: list[bytes] | None = None
        self.name: bytes | None = None
        self.closed = False
        self.in_route = False

    def run(self) -> list[ListedAddress]:
        """Read to the end."""
        while match := _TOKEN.match(self.value, self.position):
            self.position = match.end()
            kind = match.lastgroup
            if kind == "comment":
                self.comment = self.read_comment()
            elif kind == "special":
                self.special(match[0])
            elif kind == "blank":
                self.blank()
            else:
                self.word(match[0])
        self.finish()
        if self.in_group:
            self.found.append(ListedAddress(None, None, None, None))
        return self.found

    def read_comment(self) -> bytes:
        """The content of a comment, nested ones included (RFC 5322 §3.2.2); without an end, all of the rest."""
        start, depth = self.position, 1
        while depth and (match := _COMMENT_PART.match(self.value, self.position)):
            self.position = match.end()
            depth += {b"(": 1, b")": -1}.get(match[0], 0)
        inner = self.value[start : self.position - (depth == 0)]
        return _ESCAPED.sub(rb"\1", inner).strip()

    def blank(self) -> None:
        """A blank parts words of a name; in an address it means nothing."""
        if self.angle is None and self.domain is None and self.words:
            self.words.append(b" ")

    def word(self, word: bytes) -> None:
        """A quoted string, an atom or a domain literal."""
        if self.angle is not None and not self.closed:
            self.angle.append(word)
        elif self.domain is not None:
            if not self.closed:
                self.domain.append(word)
        elif not self.closed:
            self.words.append(word)

    def special(self, char: bytes) -> None:
        """One of `<>,;:@`."""
        in_angle = self.angle is not None and not self.closed
        if in_angle and (char in b"@:" or (char == b"," and self.in_route)):
            assert self.angle is not None
            self.in_route = char != b":" and (self.in_route or not self.angle)
            self.angle.append(char)
        elif char in b",;":
            self.finish()
            if char == b";" and self.in_group:
                self.in_group = False
                self.found.append(ListedAddress(None, None, None, None))
        elif char == b"<":
            if self.angle is None:
                self.angle = []
        elif char == b">":
            self.closed = self.angle is not None
        elif char == b"@":
            if self.domain is None and self.angle is None:
                self.domain = []
            elif self.domain is not None:
                self.domain.append(char)
        elif self.domain is None and self.angle is None and self.words and not self.in_group:
            self.found.append(ListedAddress(None, None, _phrase(self.words), None))
            self.in_group = True
            self.reset()
        else:
            self.word(char)

    def finish(self) -> None:
        """Take up what was read as one address, if it is one."""
        if self.angle is not None:
            content = b"".join(self.angle)
            route: bytes | None = None
            if content.startswith(b"@") and b":" in content:
                route, _, content = content.partition(b":")
            local, _, domain = content.rpartition(b"@") if b"@" in content else (content, b"", b"")
            name = self.words
            if self.domain is not None:
                name = [*self.words, b"@", *self.domain]
            if content or name:
                self.found.append(ListedAddress(_phrase(name) or self.comment, route, _unquote(local), domain))
        elif self.domain is not None:
            local = b"".join(word for word in self.words if word != b" ")
            domain = b"".join(self.domain)
            if local or domain:
                self.found.append(ListedAddress(self.comment, None, _unquote(local), domain))
        elif self.words:
            self.found.append(ListedAddress(self.comment, None, _phrase(self.words), b""))
        self.reset()


def _phrase(words: list[bytes]) -> bytes:
    """Words of a name as one value, quoted strings without their quotes."""
    return b"".join(map(_unquote, words)).strip()


def _unquote(word: bytes) -> bytes:
    """A quoted string's content; others as they are."""
    if not word.startswith(b'"'):
        return word
    inner = word[1:-1] if len(word) > 1 and word.endswith(b'"') else word[1:]
    return _ESCAPED.sub(rb"\1", inner) if b"\\" in inner else inner
