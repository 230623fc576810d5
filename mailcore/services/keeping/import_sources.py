"""Messages in files: of an mbox, of a Maildir (with flags and keywords) and .eml files; read one at a time.

Bytes stay as they are, except that files with bare LF lines get CRLF, and an mbox loses the ">"
it was given before "From ".
"""

from __future__ import annotations

import os
import re
import stat
from calendar import timegm
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email.utils import parsedate_tz
from pathlib import Path
from typing import BinaryIO

from mailcore.message.dates import header_date, parse_date
from mailcore.message.headers import find_first, header_size
from mailcore.model.flags import ANSWERED, DELETED, DRAFT, FLAGGED, SEEN, FlagSet
from mailcore.model.limits import DEFAULT_LIMITS

MAX_LINE = 1 << 16
_HEADER_LINE = re.compile(rb"[!-9;-~]+[ \t]*:|>From ")
_QUOTED_FROM = re.compile(rb">+From ")
_BARE_LF = re.compile(rb"(?<!\r)\n")
_MAILDIR_FLAGS = {"S": SEEN, "R": ANSWERED, "F": FLAGGED, "T": DELETED, "D": DRAFT}
_MBOX_FLAGS = {"R": SEEN, "A": ANSWERED, "F": FLAGGED, "D": DELETED, "T": DRAFT}
NO_FLAGS = FlagSet()
_FORWARDED = "$Forwarded"


@dataclass(frozen=True, slots=True)
class SourceMessage:
    """One message found, or why it could not be read."""

    name: str
    """File, and for an mbox the number of the message in it."""
    raw: bytes = b""
    flags: FlagSet = NO_FLAGS
    internal_date: int | None = None
    """Seconds since 1970; None if nothing tells."""
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Other:
    """What is not brought over, and why."""

    name: str
    reason: str
    is_fault: bool = False
    """There may be mail in it."""


@dataclass(frozen=True, slots=True)
class SourceMailbox:
    """Messages that belong into one mailbox; `path` is relative to where the import goes, () for that itself."""

    path: tuple[str, ...]
    files: tuple[Path, ...]
    kind: str
    """"maildir", "eml" or "mbox"."""
    size_bytes: int
    others: tuple[Other, ...] = ()
    """What lies beside these messages."""

    def messages(self, limit_bytes: int) -> Iterator[tuple[SourceMessage, int]]:
        """Yield each message with how many bytes of the source are read by then."""
        if self.kind == "mbox":
            for file in self.files:
                yield from _mbox_messages(file, limit_bytes)
            return
        keywords = _dovecot_keywords(self.files[0].parents[1]) if self.kind == "maildir" and self.files else ()
        for file in self.files:
            yield _file_message(file, keywords if self.kind == "maildir" else None, limit_bytes)


# -- one file, one message ----------------------------------------------------------------------


def _file_message(file: Path, keywords: Sequence[str] | None, limit_bytes: int) -> tuple[SourceMessage, int]:
    size = 0
    try:
        with open(file, "rb", opener=_open_at_once) as stream:
            status = os.fstat(stream.fileno())
            size = status.st_size
            if not stat.S_ISREG(status.st_mode):
                return SourceMessage(str(file), failure="not a regular file"), 0
            if size > limit_bytes:
                return SourceMessage(str(file), failure=f"larger than {limit_bytes} bytes"), size
            raw = crlf(stream.read(limit_bytes + 1))
    except OSError as error:
        return SourceMessage(str(file), failure=error.strerror or str(error)), size
    if not raw.strip():
        return SourceMessage(str(file), failure="empty"), size
    if not begins_as_mail(raw):
        return SourceMessage(str(file), failure="no mail: it does not begin with a header field"), size
    if keywords is None:
        return SourceMessage(str(file), raw, NO_FLAGS, _received(raw) or int(status.st_mtime)), size
    return SourceMessage(str(file), raw, _maildir_flags(file.name, keywords), int(status.st_mtime)), size


def _open_at_once(path: str, flags: int) -> int:
    """Open a file; one that became a pipe since it was found waits for nobody."""
    return os.open(path, flags | os.O_NONBLOCK)


def begins_as_mail(raw: bytes) -> bool:
    """Return whether the first line is a header field (RFC 5322 §2.2) and no NUL is in the header; what is not is lax.

    Blank lines before it, and one that an mbox or a program puts there ("From ", ">From "), are passed over.
    """
    first = raw.lstrip(b"\r\n")
    if first.startswith(b"From "):
        first = first.partition(b"\n")[2]
    return _HEADER_LINE.match(first) is not None and b"\0" not in raw[: header_size(raw)]


def crlf(raw: bytes) -> bytes:
    """Return a message with CRLF lines if it was written with LF; one written with CRLF stays as it is."""
    end = raw.find(b"\n")
    if end == -1 or raw[end - 1 : end] == b"\r":
        return raw
    return _BARE_LF.sub(b"\r\n", raw)


def _maildir_flags(name: str, keywords: Sequence[str]) -> FlagSet:
    """Read the flags after ":2,"; lower-case letters are numbers of keywords, as Dovecot has them."""
    _, separator, letters = name.rpartition(":2,")
    if not separator:
        _, separator, letters = name.rpartition(";2,")  # file systems without ":"
    system, names = 0, []
    for letter in letters if separator else "":
        system |= _MAILDIR_FLAGS.get(letter, 0)
        if letter == "P":
            names.append(_FORWARDED)
        elif letter.islower() and letter.isascii() and ord(letter) - ord("a") < len(keywords):
            names.append(keywords[ord(letter) - ord("a")])
    return FlagSet(system, tuple(name for name in names if name))


def _dovecot_keywords(folder: Path) -> Sequence[str]:
    """Return the keywords of a Maildir by number."""
    file = folder / "dovecot-keywords"
    try:
        if not stat.S_ISREG(file.lstat().st_mode):
            return ()
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ()
    found = [""] * 26
    for line in lines:
        number, _, name = line.partition(" ")
        if number.isdecimal() and int(number) < len(found) and is_keyword(name):
            found[int(number)] = name
    return found


def is_keyword(name: str) -> bool:
    r"""Return whether a name may be a keyword: an atom (RFC 9051 §9), so also nothing that begins with "\"."""
    return 0 < len(name) <= DEFAULT_LIMITS.keyword_bytes and all(
        "!" <= character <= "~" and character not in '(){%*"\\]' for character in name
    )


def _received(raw: bytes) -> int | None:
    """Return when a message came: the date of its topmost Received field, else its Date."""
    header = raw[: header_size(raw)]
    received = find_first(header, b"received")
    if received is not None and b";" in received:
        parsed = parse_date(received.rpartition(b";")[2])
        if parsed is not None and parsed[1] > 0:
            return parsed[1]
    date = header_date(header)
    return date if date is not None and date > 0 else None


# -- mbox ---------------------------------------------------------------------------------------


def _mbox_messages(file: Path, limit_bytes: int) -> Iterator[tuple[SourceMessage, int]]:
    """Yield the messages of an mbox; a "From " line begins one if a blank line is before and a header after it."""
    try:
        with file.open("rb") as stream:
            yield from _split_mbox(str(file), stream, limit_bytes)
    except OSError as error:
        yield SourceMessage(str(file), failure=error.strerror or str(error)), 0


def _split_mbox(name: str, stream: BinaryIO, limit_bytes: int) -> Iterator[tuple[SourceMessage, int]]:
    number = size = 0
    separator = b""
    lines: list[bytes] = []
    after_blank = at_line_start = True
    reported = 0

    def finished() -> tuple[SourceMessage, int]:
        nonlocal reported
        read, reported = stream.tell() - reported, stream.tell()
        label = f"{name} message {number}"
        if size > limit_bytes:
            return SourceMessage(label, failure=f"larger than {limit_bytes} bytes"), read
        return _mbox_message(label, separator, b"".join(lines)), read

    while line := stream.readline(MAX_LINE):
        if at_line_start and after_blank and line.startswith(b"From ") and _header_follows(stream):
            if number:
                yield finished()
            number, size, separator, lines = number + 1, 0, line, []
            after_blank = False
            continue
        if at_line_start and _QUOTED_FROM.match(line):
            line = line[1:]
        size += len(line)
        if size <= limit_bytes:
            lines.append(line)
        else:
            lines.clear()  # too large: only counted from here on
        at_line_start = line.endswith(b"\n")
        after_blank = at_line_start and not line.strip(b"\r\n")
    if number:
        yield finished()


def _header_follows(stream: BinaryIO) -> bool:
    position = stream.tell()
    line = stream.readline(MAX_LINE)
    stream.seek(position)
    return _HEADER_LINE.match(line) is not None


def _mbox_message(name: str, separator: bytes, raw: bytes) -> SourceMessage:
    for blank in (b"\r\n\r\n", b"\n\n"):
        if raw.endswith(blank):
            raw = raw[: -len(blank) // 2]  # the blank line before the next "From " is not the message's
            break
    raw = crlf(raw)
    if not raw.strip():
        return SourceMessage(name, failure="empty")
    header = raw[: header_size(raw)]
    status = (find_first(header, b"status") or b"") + (find_first(header, b"x-status") or b"")
    system = 0
    for letter in status.decode("ascii", "replace"):
        system |= _MBOX_FLAGS.get(letter, 0)
    system |= _mozilla_flags(find_first(header, b"x-mozilla-status"))
    names = (find_first(header, b"x-keywords") or b"").decode("ascii", "replace").replace(",", " ").split()
    keywords = tuple(dict.fromkeys(keyword for keyword in names if is_keyword(keyword)))
    return SourceMessage(name, raw, FlagSet(system, keywords), _separator_date(separator) or _received(raw))


def _mozilla_flags(value: bytes | None) -> int:
    """Read Thunderbird's X-Mozilla-Status: read 1, replied 2, marked 4, expunged 8."""
    try:
        bits = int(value.strip(), 16) if value else 0
    except ValueError:
        return 0
    table = ((1, SEEN), (2, ANSWERED), (4, FLAGGED), (8, DELETED))
    return sum(flag for bit, flag in table if bits & bit)


def _separator_date(line: bytes) -> int | None:
    """Read the asctime date of a "From " line, UTC unless it names a zone."""
    match = re.search(rb"((?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)\s.*)", line)
    parsed = parsedate_tz(match[1].decode("ascii", "replace")) if match else None
    if parsed is None:
        return None
    try:
        instant = timegm((*parsed[:6], 0, 1, 0)) - (parsed[9] or 0)
    except (ValueError, OverflowError):
        return None
    return instant if instant > 0 else None
