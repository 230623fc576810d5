"""Responses as values, and their bytes (RFC 9051 §7).

Whatever comes from a client or a message is written quoted or as a literal, chosen by its content,
so no name, flag or header can end a line or begin another response.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from mailcore.imap.wire.mailbox_name import encode_name

_ATOM = re.compile(rb"[^\x00-\x20\x7f-\xff(){%*\"\\\]]+\Z")
_QUOTABLE = re.compile(rb"[^\x00\r\n\x7f-\xff]*\Z")
_QUOTABLE_UTF8 = re.compile(rb"[^\x00\r\n]*\Z")
_TEXT = re.compile(r"[^\x20-\x7e]+")
_LONG_QUOTED = 1000


class Response(Protocol):
    """Anything untagged; `utf8`: the client has enabled UTF8=ACCEPT (RFC 6855)."""

    def encode(self, *, utf8: bool) -> bytes:
        """Return the whole response with its CRLF."""
        ...


# -- strings ------------------------------------------------------------------------------------


def string(value: bytes, *, utf8: bool = False) -> bytes:
    """Return `value` quoted if that can hold it, else as a literal."""
    quotable = _QUOTABLE_UTF8 if utf8 and _is_utf8(value) else _QUOTABLE
    if len(value) <= _LONG_QUOTED and quotable.match(value):
        return b'"' + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
    return b"{%d}\r\n%b" % (len(value), value)


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def astring(value: bytes, *, utf8: bool = False) -> bytes:
    """Return `value` as an atom where it is one, else as a string."""
    return value if _ATOM.match(value) and value.upper() != b"NIL" else string(value, utf8=utf8)


def nstring(value: bytes | None) -> bytes:
    """Return NIL for None, else a string."""
    return b"NIL" if value is None else string(value)


def metadata_value(value: bytes) -> bytes:
    """Return an annotation's value: a string, or a literal8 where it holds NUL (RFC 5464 §5)."""
    return b"~{%d}\r\n%b" % (len(value), value) if b"\0" in value else string(value)


def mailbox(name: str, *, utf8: bool) -> bytes:
    """Return a mailbox name as `mailbox`."""
    return astring(encode_name(name, utf8=utf8), utf8=utf8)


def text_line(text: str) -> bytes:
    """Return human-readable text that cannot end the line: printable ASCII only."""
    if not (text.isascii() and text.isprintable()):
        text = _TEXT.sub("?", text)
    return text.encode("ascii")


# -- completions --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Completion:
    """How a command ended: `status` SP [`[code]` SP] text."""

    text: str
    code: bytes = b""

    status = b""

    def encode(self, tag: str) -> bytes:
        """Return the tagged line, untagged with an empty tag."""
        code = b"[" + self.code + b"] " if self.code else b""
        return (tag.encode("ascii") or b"*") + b" " + self.status + b" " + code + text_line(self.text) + b"\r\n"


class Done(Completion):
    """OK."""

    __slots__ = ()
    status = b"OK"


class No(Completion):
    """NO: understood, not done."""

    __slots__ = ()
    status = b"NO"


class Bad(Completion):
    """BAD: not understood, or not now."""

    __slots__ = ()
    status = b"BAD"


class Closing(Done):
    """OK, after which the connection is closed."""

    __slots__ = ()


class BeginTls(Done):
    """OK, after which the TLS handshake follows."""

    __slots__ = ()


class BeginCompression(Done):
    """OK, after which both directions are deflated."""

    __slots__ = ()


# -- untagged -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wire:
    """Responses that are bytes already, any number of them."""

    data: bytes

    def encode(self, *, utf8: bool) -> bytes:  # noqa: ARG002 - the same for all
        """Return them."""
        return self.data


@dataclass(frozen=True, slots=True)
class Line:
    """One response of fixed words and numbers: `* ` + words."""

    words: bytes

    def encode(self, *, utf8: bool) -> bytes:  # noqa: ARG002 - the same for all
        """Return the line."""
        return b"* " + self.words + b"\r\n"


@dataclass(frozen=True, slots=True)
class Condition:
    """Untagged OK, NO, BAD or BYE (RFC 9051 §7.1)."""

    status: str
    text: str
    code: bytes = b""

    def encode(self, *, utf8: bool) -> bytes:  # noqa: ARG002 - the same for all
        """Return the line."""
        code = b"[" + self.code + b"] " if self.code else b""
        return b"* " + self.status.encode() + b" " + code + text_line(self.text) + b"\r\n"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a long command is (RFC 9585 §3.1); sent at once, with all that was before it."""

    tag: str
    done: int
    goal: int

    def encode(self, *, utf8: bool) -> bytes:  # noqa: ARG002 - the same for all
        """Return the line."""
        return b'* OK [INPROGRESS ("%b" %d %d)] Still working\r\n' % (self.tag.encode("ascii"), self.done, self.goal)


@dataclass(frozen=True, slots=True)
class ListResponse:
    """LIST or LSUB (RFC 9051 §7.3.1); `extended`: `mbox-list-extended` without its parentheses."""

    kind: bytes
    attributes: Sequence[str]
    name: str
    extended: bytes = b""

    def encode(self, *, utf8: bool) -> bytes:
        """Return the line."""
        attributes = " ".join(self.attributes).encode("ascii")
        delimiter_and_name = b'"/" ' + (mailbox(self.name, utf8=utf8) if self.name else b'""')
        extended = b" (" + self.extended + b")" if self.extended else b""
        return b"* " + self.kind + b" (" + attributes + b") " + delimiter_and_name + extended + b"\r\n"


def renamed_response(name: str, old_name: str, *, utf8: bool, attributes: Sequence[str] = ()) -> ListResponse:
    """Return a LIST that says what another name has become (OLDNAME, RFC 9051 §6.3.9.7)."""
    return ListResponse(b"LIST", attributes, name, b'"OLDNAME" (%b)' % mailbox(old_name, utf8=utf8))


@dataclass(frozen=True, slots=True)
class StatusResponse:
    """STATUS (RFC 9051 §7.3.4), items in the order asked for."""

    name: str
    items: Sequence[tuple[str, int | str]]

    def encode(self, *, utf8: bool) -> bytes:
        """Return the line."""
        items = " ".join(f"{item} {value}" for item, value in self.items).encode("ascii")
        return b"* STATUS " + mailbox(self.name, utf8=utf8) + b" (" + items + b")\r\n"


@dataclass(frozen=True, slots=True)
class MailboxResponse:
    """A response that names a mailbox and goes on in words that are encoded already: ACL, QUOTAROOT ..."""

    kind: bytes
    name: str
    words: bytes = b""

    def encode(self, *, utf8: bool) -> bytes:
        """Return the line."""
        words = b" " + self.words if self.words else b""
        name = mailbox(self.name, utf8=utf8) if self.name else b'""'
        return b"* " + self.kind + b" " + name + words + b"\r\n"


@dataclass(frozen=True, slots=True)
class NumbersResponse:
    """SEARCH or SORT (RFC 3501 §7.2.5); `behind`: what follows the numbers."""

    kind: bytes
    numbers: list[int] = field(default_factory=list)
    behind: bytes = b""

    def encode(self, *, utf8: bool) -> bytes:  # noqa: ARG002 - the same for all
        """Return the line."""
        listed = str(self.numbers)[1:-1].replace(",", "").encode("ascii")
        return b"* " + self.kind + (b" " if listed else b"") + listed + self.behind + b"\r\n"


def flag_list(names: Sequence[str]) -> bytes:
    """Return flags in parentheses; what could not be read back as a flag is left out."""
    encoded = (name.encode("utf-8", "replace") for name in names)
    return b"(" + b" ".join(name for name in encoded if _ATOM.match(name.removeprefix(b"\\"))) + b")"
