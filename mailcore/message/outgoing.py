"""The header of a message that somebody sends: read strictly, so that it says the same to everybody (RFC 6409 §8).

A header that two readers might understand differently is refused: that is how senders are forged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mailcore.errors import MessageMalformed
from mailcore.message.addresses import HeaderAddress
from mailcore.message.encoded_words import decode_header
from mailcore.message.headers import header_size, iter_fields, unfold
from mailcore.model.limits import DEFAULT_LIMITS

MOST_FIELDS = 2000
HEADER_BYTES = DEFAULT_LIMITS.scan.header_bytes
IDENTITY_FIELDS = (b"from", b"sender", b"resent-from", b"resent-sender")
"""Fields that say who sends."""
SINGLE_FIELDS = frozenset(
    b"from sender reply-to to cc bcc message-id in-reply-to references subject date mime-version content-type"
    b" content-transfer-encoding content-disposition content-id content-description".split()
)
"""Fields of which there is one at most (RFC 5322 §3.6, RFC 2045 §3)."""
REMOVED_FIELDS = frozenset(
    b"bcc resent-bcc return-path delivered-to x-original-to authentication-results"
    b" arc-seal arc-message-signature arc-authentication-results received-spf x-eider-origin".split()
)
"""What is for nobody to see, and what only those may say who receive a message or pass it on.

Signatures of others stay, whether they verify or not (RFC 6376 §4.2).
"""

LONGEST_MAILBOXES = 16 * 1024
"""Bytes of a field that says who sends."""

_NAME = re.compile(rb"[\x21-\x39\x3b-\x7e]{1,200}")
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_ATEXT = rb"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\xff-]"
_QUOTED = rb'"(?:[^"\\\x00-\x1f\x7f]|\\[\x20-\x7e])*"'
_LOCAL_PART = rb"(?:" + _ATEXT + rb"+(?:\." + _ATEXT + rb"+)*|" + _QUOTED + rb")"
_ADDR_SPEC = rb"(" + _LOCAL_PART + rb")@([A-Za-z0-9\x80-\xff.-]+)"
_PHRASE = rb"((?:[ \t.]|" + _ATEXT + rb"|" + _QUOTED + rb")*)"
_MAILBOX = re.compile(
    rb"(?:" + _PHRASE + rb"<[ \t]*" + _ADDR_SPEC + rb"[ \t]*>|[ \t]*" + _ADDR_SPEC + rb")"
    rb"[ \t]*(?:\(([^()<>@\\\x00-\x1f\x7f]*)\)[ \t]*)?"
)
_QUOTED_WORD = re.compile(_QUOTED)
_ESCAPED = re.compile(rb"\\(.)")


@dataclass(frozen=True, slots=True)
class HeaderField:
    """One field as it came, with its line end; `name` in lower case."""

    name: bytes
    raw: bytes

    @property
    def value(self) -> bytes:
        """What it says, on one line."""
        return unfold(self.raw.partition(b":")[2])


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message taken apart: its fields, and all that follows them with the blank line."""

    fields: tuple[HeaderField, ...]
    body: bytes

    @classmethod
    def read(cls, raw: bytes) -> Outgoing:
        """Take a message apart; one that does not begin with a field is a body without a header.

        Raises:
            MessageMalformed: the text says what is wrong and where.
        """
        size = header_size(raw)
        if size > HEADER_BYTES:
            raise MessageMalformed(f"the header is larger than {HEADER_BYTES} bytes")
        header = raw[:size]
        fields = []
        for number, field in enumerate(iter_fields(header), 1):
            whole = header[field.start : field.end]
            if number > MOST_FIELDS:
                raise MessageMalformed(f"the header has more than {MOST_FIELDS} fields")
            name, colon, _ = whole.partition(b":")
            if not colon or _NAME.fullmatch(name) is None:
                if number == 1:
                    return cls((), b"\r\n" + raw)
                raise MessageMalformed(f"field {number} of the header has no name and colon")
            if _CONTROL.search(whole) or any(not line.strip() for line in whole.split(b"\n")[:-1]):
                raise MessageMalformed(f"field {number} of the header has a control character or an empty line")
            fields.append(HeaderField(field.name, whole if whole.endswith(b"\r\n") else whole + b"\r\n"))
        end = sum(len(field.raw) for field in fields)
        outgoing = cls(tuple(fields), raw[end:] or b"\r\n")
        outgoing.check_single()
        return outgoing

    def check_single(self) -> None:
        """Make sure that no field is there twice that may be there once.

        Raises:
            MessageMalformed: it names the field.
        """
        seen = set()
        for field in self.fields:
            if field.name in seen and field.name in SINGLE_FIELDS:
                raise MessageMalformed(f"there are two {field.name.decode().title()} fields")
            seen.add(field.name)

    def first(self, name: bytes) -> HeaderField | None:
        """Return the first field of that name, or None."""
        return next((field for field in self.fields if field.name == name), None)

    def mailboxes(self) -> Iterator[tuple[HeaderField, list[HeaderAddress]]]:
        """Yield the fields that say who sends, with their mailboxes.

        Raises:
            MessageMalformed: one is no list of mailboxes that everybody reads alike, or Sender has several.
        """
        for field in self.fields:
            if field.name in IDENTITY_FIELDS:
                found = parse_mailboxes(field.value)
                name = field.name.decode().title()
                if found is None:
                    raise MessageMalformed(f"{name} is no mailbox such as Ann Lind <ann@example.org>")
                if len(found) > 1 and field.name.endswith(b"sender"):
                    raise MessageMalformed(f"{name} names more than one mailbox")
                yield field, found

    def replaced(self, changes: dict[HeaderField, bytes]) -> Outgoing:
        """Return the message with other fields, whole lines, in place of these; b"" leaves one out."""
        kept = []
        for field in self.fields:
            raw = changes.get(field, field.raw)
            if raw:
                kept.append(HeaderField(field.name, raw))
        return Outgoing(tuple(kept), self.body)

    def without(self, names: Iterable[bytes]) -> Outgoing:
        """Return the message without the fields of these names."""
        left_out = frozenset(names)
        return Outgoing(tuple(field for field in self.fields if field.name not in left_out), self.body)

    def with_fields(self, raw: bytes) -> Outgoing:
        """Return the message with more fields in front of the others; whole lines of one field each."""
        lines = [HeaderField(line.partition(b":")[0].lower(), line + b"\r\n") for line in raw.split(b"\r\n") if line]
        return Outgoing((*lines, *self.fields), self.body)

    def to_bytes(self) -> bytes:
        """Return the whole message."""
        return b"".join(field.raw for field in self.fields) + self.body


def parse_mailboxes(value: bytes) -> list[HeaderAddress] | None:
    """Read `mailbox-list` (RFC 5322 §3.4) in those forms that no reader takes for others; None if it is none.

    No groups, routes, folded comments or second pair of angle brackets: at most a comment behind the address,
    which stands for the name then, as in `ann@example.org (Ann Lind)`.
    """
    if len(value) > LONGEST_MAILBOXES:
        return None
    found = []
    position = 0
    while True:
        match = _MAILBOX.match(value, position)
        if match is None:
            return None
        phrase, local, domain, bare_local, bare_domain, comment = match.groups()
        name = _phrase(phrase or comment or b"")
        address = (local or bare_local) + b"@" + (domain or bare_domain)
        try:
            found.append(HeaderAddress(name, address.decode("utf-8")))
        except UnicodeDecodeError:
            return None
        position = match.end()
        if position == len(value):
            return found
        if not value.startswith(b",", position):
            return None
        position += 1


def _phrase(raw: bytes) -> str:
    """Return a display name as people read it."""
    return decode_header(_QUOTED_WORD.sub(lambda match: _ESCAPED.sub(rb"\1", match[0][1:-1]), raw).strip())
