"""A strict IMAP client: every response is read by the grammar of RFC 9051 §9, and anything else is a fault.

    client = StrictImap.signed_in(port, user)
    responses = client.run(b"FETCH 1:* (ENVELOPE)")     # the last one is the tagged one

It shares nothing with the server, sends what it is told, and knows two framings of its own: lines with
literals, then the tokens within them. If they disagree, somebody could have read it otherwise.
"""

from __future__ import annotations

import re
import select
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self

from tests.builders import MadeUser
from tests.unit.message.imap_grammar import GrammarFault, Reader

HOST = "127.0.0.1"
TIMEOUT_S = 60.0

_ATOM = re.compile(rb"[!#$&'+,\-./0-9:;<=>?@A-Z\[^_`a-z|}~]+")
_ASTRING_ATOM = re.compile(rb"[!#$&'+,\-./0-9:;<=>?@A-Z\[\]^_`a-z|}~]+")
_TEXT = re.compile(rb"[\x01-\x09\x0b\x0c\x0e-\x7f]+")
_CODE_TEXT = re.compile(rb"[\x01-\x09\x0b\x0c\x0e-\x5c\x5e-\x7f]+")
_DATE_TIME = re.compile(rb'"[ 0-3][0-9]-[A-Z][a-z]{2}-[0-9]{4} [0-2][0-9]:[0-5][0-9]:[0-6][0-9] [+-][0-9]{4}"')
_SECTION = re.compile(rb"\[((?:[1-9][0-9]*\.)*(?:[1-9][0-9]*|HEADER\.FIELDS\.NOT|HEADER\.FIELDS|HEADER|TEXT|MIME)?)")
_UTF7 = re.compile(rb"(?:[\x20-\x25\x27-\x7e]|&-|&[A-Za-z0-9+,]+-)*")
_LITERAL_END = re.compile(rb"\{([0-9]+)\}\r\n\Z")
_UID_SET = re.compile(rb"[0-9]+(?::[0-9]+)?(?:,[0-9]+(?::[0-9]+)?)*")
_PARTIAL = re.compile(rb"\(-?[0-9]+:-?[0-9]+ (?:NIL|[0-9:,]+)\)")
STATUSES = (b"OK", b"NO", b"BAD", b"BYE", b"PREAUTH")


@dataclass(frozen=True)
class Response:
    """One response: tag (`*` and `+` too), kind (`OK`, `LIST`, `FETCH` ...), and what it says."""

    tag: bytes
    kind: bytes
    value: Any = None
    number: int | None = None
    code: bytes | None = None


class ResponseReader(Reader):
    """The rules for whole responses."""

    def response(self) -> Response:
        if self.peek(b"+ "):
            self.at += 2
            found = Response(b"+", b"", self.text())
        else:
            tag = b"*" if self.peek(b"* ") else self.match(_ASTRING_ATOM)
            self.at += tag == b"*"
            self.expect(b" ")
            found = self.body_of(tag)
        self.expect(b"\r\n")
        self.end()
        return found

    def body_of(self, tag: bytes) -> Response:
        for status in STATUSES:
            if self.peek(status + b" "):
                self.expect(status + b" ")
                code = self.code() if self.peek(b"[") else None
                return Response(tag, status, self.text(), code=code)
        if tag != b"*":
            raise GrammarFault(f"a tagged response without status: {self.data[:80]!r}")
        if self.data[self.at : self.at + 1].isdigit():
            number = self.number()
            self.expect(b" ")
            kind = self.match(_ATOM)
            if kind == b"FETCH":
                self.expect(b" ")
                return Response(tag, kind, self.fetch_items(), number)
            if kind not in {b"EXISTS", b"RECENT", b"EXPUNGE"}:
                raise GrammarFault(f"unknown: {kind!r}")
            return Response(tag, kind, number=number)
        kind = self.match(_ATOM)
        return Response(tag, kind, self.rule_of(kind)())

    def rule_of(self, kind: bytes) -> Callable[[], Any]:
        rules: dict[bytes, Callable[[], Any]] = {
            b"LIST": self.listed, b"LSUB": self.listed, b"STATUS": self.status_items, b"FLAGS": self.spaced_flags,
            b"SEARCH": self.numbers, b"CAPABILITY": self.atoms, b"ENABLED": self.atoms,
            b"SORT": self.numbers, b"THREAD": self.threads, b"ESEARCH": self.esearch,
            b"ID": self.pairs, b"VANISHED": self.vanished,
        }  # fmt: skip
        if kind not in rules:
            raise GrammarFault(f"unknown: {kind!r}")
        return rules[kind]

    # -- parts of responses ---------------------------------------------------------------------

    def match(self, pattern: re.Pattern[bytes]) -> bytes:
        found = pattern.match(self.data, self.at)
        if found is None:
            raise GrammarFault(f"{pattern.pattern!r} expected: {self.data[self.at : self.at + 80]!r}")
        self.at = found.end()
        return found[0]

    def text(self) -> bytes:
        return self.match(_TEXT)

    def code(self) -> bytes:
        self.expect(b"[")
        if self.peek(b"PERMANENTFLAGS ("):
            start = self.at
            self.expect(b"PERMANENTFLAGS ")
            self.flags(permanent=True)
            code = self.data[start : self.at]
        else:
            code = self.match(_CODE_TEXT)
        self.expect(b"] ")
        return code

    def astring(self) -> bytes:
        return self.string() if self.peek(b'"') or self.peek(b"{") else self.match(_ASTRING_ATOM)

    def mailbox(self) -> bytes:
        name = self.astring()
        if _UTF7.fullmatch(name) is None:
            raise GrammarFault(f"no mailbox name: {name!r}")
        return name

    def flags(self, *, permanent: bool = False) -> tuple[bytes, ...]:
        self.expect(b"(")
        found: list[bytes] = []
        while not self.peek(b")"):
            if found:
                self.expect(b" ")
            if permanent and self.peek(b"\\*"):
                self.expect(b"\\*")
                found.append(b"\\*")
                continue
            system = self.peek(b"\\")
            self.at += system
            found.append((b"\\" if system else b"") + self.match(_ATOM))
        self.expect(b")")
        return tuple(found)

    def spaced_flags(self) -> tuple[bytes, ...]:
        self.expect(b" ")
        return self.flags()

    def listed(self) -> tuple[tuple[bytes, ...], bytes]:
        """Attributes and name; the hierarchy separator is always a slash."""
        attributes = self.spaced_flags()
        self.expect(b' "/" ')
        return attributes, self.mailbox()

    def status_items(self) -> tuple[bytes, dict[bytes, int]]:
        self.expect(b" ")
        name = self.mailbox()
        self.expect(b" (")
        found: dict[bytes, int] = {}
        while not self.peek(b")"):
            if found:
                self.expect(b" ")
            item = self.match(_ATOM)
            self.expect(b" ")
            found[item] = self.number()
        self.expect(b")")
        return name, found

    def numbers(self) -> list[int]:
        """The numbers of SEARCH or SORT, before `(MODSEQ n)` where that is told (RFC 7162 §7)."""
        found = []
        while self.peek(b" "):
            self.expect(b" ")
            if self.peek(b"("):
                self.expect(b"(MODSEQ ")
                self.number()
                self.expect(b")")
                break
            found.append(self.number())
        return found

    def threads(self) -> list[int]:
        """Every number of THREAD's answer (RFC 5256 §5)."""
        found: list[int] = []
        if not self.peek(b" "):
            return found
        self.expect(b" ")
        depth = 0
        while depth or self.peek(b"("):
            if self.peek(b"("):
                self.at += 1
                depth += 1
            elif self.peek(b")"):
                self.at += 1
                depth -= 1
            else:
                self.at += self.peek(b" ")
                if not self.peek(b"("):
                    found.append(self.number())
        return found

    def esearch(self) -> dict[bytes, bytes]:
        """What ESEARCH tells by name (RFC 4731 §3.1)."""
        told: dict[bytes, bytes] = {}
        self.expect(b' (TAG "')
        self.match(_ASTRING_ATOM)
        self.expect(b'")')
        while self.peek(b" "):
            self.expect(b" ")
            name = self.match(_ATOM)
            if name == b"UID":
                continue
            self.expect(b" ")
            told[name] = self.match(_PARTIAL if name == b"PARTIAL" else _UID_SET)
        return told

    def vanished(self) -> tuple[bool, list[tuple[int, int]]]:
        """Whether it is `(EARLIER)`, and ranges of UIDs (RFC 7162 §3.2.10)."""
        self.expect(b" ")
        earlier = self.peek(b"(EARLIER) ")
        self.at += 10 * earlier
        ranges = []
        for part in self.match(_UID_SET).split(b","):
            low, _, high = part.partition(b":")
            ranges.append((int(low), int(high or low)))
        return earlier, ranges

    def modseq(self) -> int:
        self.expect(b"(")
        value = self.number()
        self.expect(b")")
        return value

    def pairs(self) -> dict[bytes, bytes | None]:
        self.expect(b" (")
        found: dict[bytes, bytes | None] = {}
        while not self.peek(b")"):
            if found:
                self.expect(b" ")
            name = self.string()
            self.expect(b" ")
            found[name] = self.nstring()
        self.expect(b")")
        return found

    def atoms(self) -> list[bytes]:
        found = []
        while self.peek(b" "):
            self.expect(b" ")
            found.append(self.match(_ATOM))
        return found

    def fetch_items(self) -> dict[bytes, Any]:
        self.expect(b"(")
        found: dict[bytes, Any] = {}
        while not found or not self.peek(b")"):
            if found:
                self.expect(b" ")
            name, value = self.fetch_item()
            found[name] = value
        self.expect(b")")
        return found

    def fetch_item(self) -> tuple[bytes, Any]:
        name = self.match(re.compile(rb"[A-Z0-9.-]+"))
        if name == b"BODY" and self.peek(b"["):
            return self.body_section()
        self.expect(b" ")
        if name == b"INTERNALDATE":
            return name, self.match(_DATE_TIME)
        rules: dict[bytes, Callable[[], Any]] = {
            b"FLAGS": self.flags, b"UID": self.number, b"RFC822.SIZE": self.number, b"ENVELOPE": self.envelope,
            b"RFC822": self.octets, b"RFC822.HEADER": self.octets, b"RFC822.TEXT": self.octets,
            b"MODSEQ": self.modseq, b"X-GM-LABELS": self.labels,
        }  # fmt: skip
        if name in {b"BODY", b"BODYSTRUCTURE"}:
            return name, self.body(extended=name == b"BODYSTRUCTURE")
        if name not in rules:
            raise GrammarFault(f"unknown item: {name!r}")
        return name, rules[name]()

    def body_section(self) -> tuple[bytes, bytes | None]:
        start = self.at
        self.match(_SECTION)
        if self.data[start : self.at].endswith((b".FIELDS", b".NOT")):
            self.expect(b" (")
            self.astring()
            while self.peek(b" "):
                self.expect(b" ")
                self.astring()
            self.expect(b")")
        self.expect(b"]")
        if self.peek(b"<"):
            self.expect(b"<")
            self.number()
            self.expect(b">")
        name = b"BODY" + self.data[start : self.at]
        self.expect(b" ")
        return name, self.octets()

    def labels(self) -> list[bytes]:
        """Labels as Gmail documents them: words behind a backslash, or strings."""
        found: list[bytes] = []
        self.expect(b"(")
        while not self.peek(b")"):
            if found:
                self.expect(b" ")
            found.append(self.match(re.compile(rb"\\[A-Za-z]+")) if self.peek(b"\\") else self.astring())
        self.expect(b")")
        return found

    def octets(self) -> bytes | None:
        """An nstring whose literal may hold NUL: the bytes of a message are given as they are."""
        if not self.peek(b"{"):
            return self.nstring()
        self.expect(b"{")
        size = self.number()
        self.expect(b"}\r\n")
        value = self.data[self.at : self.at + size]
        if len(value) != size:
            raise GrammarFault("literal cut short")
        self.at += size
        return value


def read_responses(data: bytes) -> list[Response]:
    """Read everything that a connection said.

    Raises:
        GrammarFault: at the first byte that no rule allows.
    """
    return [ResponseReader(framed).response() for framed in _framed(data)]


def _framed(data: bytes) -> Iterator[bytes]:
    """Cut into responses by line ends and literals alone."""
    start = at = 0
    while at < len(data):
        end = data.find(b"\r\n", at)
        if end < 0:
            raise GrammarFault(f"a line without end: {data[start : start + 80]!r}")
        literal = _LITERAL_END.search(data, max(at, end - 24), end + 2)
        at = end + 2
        if literal is not None:
            at += int(literal[1])
        else:
            yield data[start:at]
            start = at
    if at != start:
        raise GrammarFault("a literal cut short")


class StrictImap:
    """A connection; not signed in yet."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection((HOST, port), timeout=TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._lines = self.socket.makefile("rb", 1 << 18)
        self._number = 0
        greeting = self.read()
        assert (greeting.tag, greeting.kind) == (b"*", b"OK"), greeting

    @classmethod
    def signed_in(cls, port: int, user: MadeUser, select: str | None = None) -> Self:
        """Return a connection that has signed in, and selected a mailbox if one is named."""
        client = cls(port)
        client.ok(f'LOGIN {user.address} "{user.password}"'.encode())
        if select is not None:
            client.ok(b"SELECT " + select.encode())
        return client

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._lines.close()
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def read(self) -> Response:
        """Return the next response; EOFError when the server has closed."""
        framed = b""
        while True:
            line = self._lines.readline()
            if not line.endswith(b"\r\n"):
                raise EOFError(framed + line)
            framed += line
            literal = _LITERAL_END.search(line[-24:])
            if literal is None:
                return ResponseReader(framed).response()
            framed += self._lines.read(int(literal[1]))

    def waits(self, seconds: float) -> bool:
        """Whether something is to be read, now or within that time."""
        self.socket.setblocking(False)
        try:
            buffered = bool(self._lines.peek(1))
        finally:
            self.socket.settimeout(TIMEOUT_S)
        return buffered or bool(select.select([self.socket], [], [], seconds)[0])

    def until(self, tag: bytes) -> list[Response]:
        """Read up to the response with this tag, which comes last."""
        found = [self.read()]
        while found[-1].tag != tag:
            found.append(self.read())
        return found

    def run(self, command: bytes) -> list[Response]:
        """Send one command, line end added, and return all that is said until it is done."""
        self._number += 1
        tag = b"s%d" % self._number
        self.send(tag + b" " + command + b"\r\n")
        return self.until(tag)

    def ok(self, command: bytes) -> list[Response]:
        """As `run`; the command must succeed. Without the tagged response."""
        *found, done = self.run(command)
        assert done.kind == b"OK", (command[:200], done)
        return found

    def append(self, raw: bytes, mailbox: bytes = b"INBOX") -> Response:
        """APPEND without waiting for "+"; return the tagged response."""
        return self.run(b"APPEND %b {%d+}\r\n%b" % (mailbox, len(raw), raw))[-1]
