"""Reading a list of people out of a file that a spreadsheet wrote (RFC 4180, and what programs make of it)."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

MAX_BYTES: Final = 5 * 1024 * 1024
MAX_LINES: Final = 10_000
MAX_CELL: Final = 2000
_DELIMITERS: Final = ",;\t"


class Column(StrEnum):
    """What a column holds."""

    ADDRESS = "address"
    NAME = "name"
    PASSWORD = "password"  # noqa: S105
    QUOTA = "quota"
    ALIASES = "aliases"
    GROUPS = "groups"


_FIRST_NAME: Final = "first name"
_LAST_NAME: Final = "last name"
_NAMES: Final[Mapping[str, str]] = {
    name: column
    for column, names in {
        Column.ADDRESS: ("address", "email", "email address", "mail", "primary email", "user", "username", "login",
                         "adresse", "mailadresse", "emailadresse", "email adresse", "benutzer", "userprincipalname"),
        Column.NAME: ("name", "full name", "display name", "anzeigename", "vollständiger name"),
        _FIRST_NAME: ("first name", "given name", "vorname"),
        _LAST_NAME: ("last name", "family name", "surname", "nachname"),
        Column.PASSWORD: ("password", "passwort", "kennwort"),
        Column.QUOTA: ("quota", "storage", "speicher", "speicherplatz"),
        Column.ALIASES: ("aliases", "alias", "weitere adressen", "other addresses"),
        Column.GROUPS: ("groups", "group", "gruppen", "gruppe", "member of"),
    }.items()
    for name in names
}  # fmt: skip
"""Names of columns as people and other systems write them, in lower case without punctuation."""


class FileFault(StrEnum):
    """Why a file cannot be read at all."""

    EMPTY = "empty"
    TOO_LARGE = "too_large"
    TOO_MANY_LINES = "too_many_lines"
    NOT_TEXT = "not_text"
    NO_ADDRESS_COLUMN = "no_address_column"
    QUOTES = "quotes"


class FileUnreadable(Exception):
    """Nothing of the file can be used; `fault` says why, `line` where, from 1."""

    def __init__(self, fault: FileFault, line: int = 0) -> None:
        super().__init__(fault, line)
        self.fault = fault
        self.line = line


@dataclass(frozen=True, slots=True)
class Line:
    """One person as the file says it, without space around."""

    number: int
    """In the file, the header being line 1; of a record that goes over several lines the first."""
    cells: Mapping[Column, str]


@dataclass(frozen=True, slots=True)
class PeopleFile:
    """What is in a file."""

    lines: Sequence[Line]
    columns: Sequence[Column]
    ignored: Sequence[str]
    """Columns whose names mean nothing to us, as they are written."""


def read_file(content: bytes) -> PeopleFile:
    """Read a file with a header line; empty lines are passed over.

    Comma, semicolon or tab separates, whichever the header has most of; text is UTF-8, UTF-16 with a mark, or else
    Windows-1252, which is what spreadsheets write.

    Raises:
        FileUnreadable: it is none, too long, has no column of addresses, or a quote that does not end.
    """
    if len(content) > MAX_BYTES:
        raise FileUnreadable(FileFault.TOO_LARGE)
    text = _text(content)
    if not text.strip():
        raise FileUnreadable(FileFault.EMPTY)
    records = _records(text)
    header = next(records, (1, []))[1]
    columns = [_NAMES.get(_plain(name)) for name in header]
    if Column.ADDRESS not in columns:
        raise FileUnreadable(FileFault.NO_ADDRESS_COLUMN)
    lines: list[Line] = []
    for number, cells in records:
        if not any(cell.strip() for cell in cells):
            continue
        if len(lines) >= MAX_LINES:
            raise FileUnreadable(FileFault.TOO_MANY_LINES, number)
        lines.append(Line(number, _cells(columns, cells)))
    if not lines:
        raise FileUnreadable(FileFault.EMPTY)
    known = [column for column in Column if column in columns or (column is Column.NAME and _FIRST_NAME in columns)]
    ignored = [
        name.strip()[:100] for name, column in zip(header, columns, strict=True) if column is None and name.strip()
    ]
    return PeopleFile(lines, known, ignored)


def _text(content: bytes) -> str:
    encodings = ["utf-16"] if content.startswith((b"\xff\xfe", b"\xfe\xff")) else ["utf-8-sig", "cp1252"]
    for encoding in encodings:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise FileUnreadable(FileFault.NOT_TEXT)


def _records(text: str) -> Iterator[tuple[int, list[str]]]:
    first = text.lstrip("\r\n").splitlines()[0]
    delimiter = max(_DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    begins = 1
    try:
        for cells in reader:
            if begins == 1 and not any(cell.strip() for cell in cells):
                begins = reader.line_num + 1
                continue
            yield begins, cells
            begins = reader.line_num + 1
    except csv.Error:
        raise FileUnreadable(FileFault.QUOTES, begins) from None


def _plain(name: str) -> str:
    """Return the name of a column in lower case, words apart: `E-Mail_Address ` is `email address`."""
    lowered = unicodedata.normalize("NFC", name).casefold().replace("e-mail", "email")
    return " ".join(re.split(r"[\s_.\-/*:()\[\]]+", lowered)).strip()


def _cells(columns: Sequence[str | None], cells: Sequence[str]) -> dict[Column, str]:
    found: dict[str, str] = {}
    for column, cell in zip(columns, cells, strict=False):
        if column is not None and cell.strip():
            found.setdefault(column, unicodedata.normalize("NFC", cell.strip())[:MAX_CELL])
    names = [found.pop(part, "") for part in (_FIRST_NAME, _LAST_NAME)]
    joined = " ".join(name for name in names if name)
    if joined:
        found.setdefault(Column.NAME, joined)
    return {Column(column): cell for column, cell in found.items()}


def plain_cell(text: str) -> str:
    """Return a cell for a file that people open in a spreadsheet: what begins like a formula is text."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
