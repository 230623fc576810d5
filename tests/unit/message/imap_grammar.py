"""A strict, independent reader of ENVELOPE, BODY and BODYSTRUCTURE (RFC 9051 §9), and imapclient's as a second one."""

from __future__ import annotations

import re
from typing import Any

from imapclient.response_parser import parse_fetch_response

_QUOTED = re.compile(rb'"((?:[\x01-\x09\x0b\x0c\x0e-\x21\x23-\x5b\x5d-\x7f]|\\["\\])*+)"')
_LITERAL = re.compile(rb"\{(0|[1-9][0-9]*)\}\r\n")
_NUMBER = re.compile(rb"0|[1-9][0-9]*")


class GrammarFault(AssertionError):
    """The bytes do not follow the grammar."""


class Reader:
    """Reads one value after the other; every method is a rule of the grammar."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def expect(self, token: bytes) -> None:
        if not self.data.startswith(token, self.at):
            raise GrammarFault(f"{token!r} expected at {self.at}: {self.data[max(self.at - 40, 0) : self.at + 40]!r}")
        self.at += len(token)

    def peek(self, token: bytes) -> bool:
        return self.data.startswith(token, self.at)

    def end(self) -> None:
        if self.at != len(self.data):
            raise GrammarFault(f"left over: {self.data[self.at : self.at + 80]!r}")

    def string(self) -> bytes:
        quoted = _QUOTED.match(self.data, self.at)
        if quoted:
            self.at = quoted.end()
            return re.sub(rb"\\(.)", rb"\1", quoted[1])
        literal = _LITERAL.match(self.data, self.at)
        if not literal:
            raise GrammarFault(f"string expected: {self.data[self.at : self.at + 80]!r}")
        start, size = literal.end(), int(literal[1])
        value = self.data[start : start + size]
        if len(value) != size or b"\0" in value:
            raise GrammarFault("literal cut short or with NUL")
        self.at = start + size
        return value

    def nstring(self) -> bytes | None:
        if self.peek(b"NIL"):
            self.at += 3
            return None
        return self.string()

    def number(self) -> int:
        match = _NUMBER.match(self.data, self.at)
        if not match:
            raise GrammarFault(f"number expected: {self.data[self.at : self.at + 40]!r}")
        self.at = match.end()
        return int(match[0])

    def parameters(self) -> dict[bytes, bytes] | None:
        if self.peek(b"NIL"):
            self.at += 3
            return None
        self.expect(b"(")
        found: dict[bytes, bytes] = {}
        while True:
            name = self.string()
            self.expect(b" ")
            found[name] = self.string()
            if not self.peek(b" "):
                break
            self.at += 1
        self.expect(b")")
        return found

    def disposition(self) -> Any:
        if self.peek(b"NIL"):
            self.at += 3
            return None
        self.expect(b"(")
        kind = self.string()
        self.expect(b" ")
        parameters = self.parameters()
        self.expect(b")")
        return kind, parameters

    def language(self) -> Any:
        if not self.peek(b"("):
            return self.nstring()
        self.at += 1
        tags = [self.string()]
        while self.peek(b" "):
            self.at += 1
            tags.append(self.string())
        self.expect(b")")
        return tags

    def extension(self) -> list[Any]:
        found = [self.disposition()]
        for rule in (self.language, self.nstring):
            self.expect(b" ")
            found.append(rule())
        return found

    def addresses(self) -> list[tuple[bytes | None, ...]] | None:
        if self.peek(b"NIL"):
            self.at += 3
            return None
        self.expect(b"(")
        found: list[tuple[bytes | None, ...]] = []
        in_group = False
        while not found or not self.peek(b")"):
            self.expect(b"(")
            name = self.nstring()
            parts = [name]
            for _ in range(3):
                self.expect(b" ")
                parts.append(self.nstring())
            self.expect(b")")
            if parts[3] is None:
                if in_group != (parts[2] is None):
                    raise GrammarFault("groups do not begin and end in turn")
                in_group = not in_group
            elif parts[2] is None:
                raise GrammarFault("host without mailbox")
            found.append(tuple(parts))
        if in_group:
            raise GrammarFault("group without end")
        self.expect(b")")
        return found

    def envelope(self) -> list[Any]:
        self.expect(b"(")
        found: list[Any] = []
        rules = [self.nstring] * 2 + [self.addresses] * 6 + [self.nstring] * 2
        for number, rule in enumerate(rules):
            if number:
                self.expect(b" ")
            found.append(rule())
        self.expect(b")")
        return found

    def body(self, *, extended: bool) -> dict[str, Any]:
        self.expect(b"(")
        found: dict[str, Any] = {}
        if self.peek(b"("):
            found["parts"] = []
            while self.peek(b"("):
                found["parts"].append(self.body(extended=extended))
            self.expect(b" ")
            found["type"], found["subtype"] = b"MULTIPART", self.string()
            if extended:
                self.expect(b" ")
                found["parameters"] = self.parameters()
        else:
            found["type"] = self.string()
            self.expect(b" ")
            found["subtype"] = self.string()
            for name, rule in (
                ("parameters", self.parameters),
                ("id", self.nstring),
                ("description", self.nstring),
                ("encoding", self.string),
                ("size", self.number),
            ):
                self.expect(b" ")
                found[name] = rule()
            if found["type"] == b"MESSAGE" and found["subtype"] in {b"RFC822", b"GLOBAL"}:
                self.expect(b" ")
                found["envelope"] = self.envelope()
                self.expect(b" ")
                found["body"] = self.body(extended=extended)
            if found["type"] == b"TEXT" or "body" in found:
                self.expect(b" ")
                found["lines"] = self.number()
            extended = extended and self.peek(b" ")  # extension data is optional
            if extended:
                self.expect(b" ")
                found["md5"] = self.nstring()
        if extended:
            self.expect(b" ")
            found["extension"] = self.extension()
        self.expect(b")")
        return found


def read_envelope(data: bytes) -> list[Any]:
    """The ten elements; raises GrammarFault."""
    reader = Reader(data)
    value = reader.envelope()
    reader.end()
    return value


def read_body(data: bytes, *, extended: bool) -> dict[str, Any]:
    """A BODYSTRUCTURE, or a BODY when not extended; raises GrammarFault."""
    reader = Reader(data)
    value = reader.body(extended=extended)
    reader.end()
    return value


def imapclient_reads(item: str, data: bytes) -> Any:
    """What imapclient makes of the value of one FETCH item."""
    lines: list[Any] = []
    rest = b"1 (UID 7 " + item.encode() + b" " + data + b")"
    while literal := _first_literal(rest):
        end = literal.end() + int(literal[1])
        lines.append((rest[: literal.end() - 2], rest[literal.end() : end]))
        rest = rest[end:]
    lines.append(rest)
    return parse_fetch_response(lines)[7][item.encode()]


_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"|\{(\d+)\}\r\n', re.DOTALL)


def _first_literal(data: bytes) -> re.Match[bytes] | None:
    return next((match for match in _STRING.finditer(data) if match[1] is not None), None)
