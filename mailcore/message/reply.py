"""Composes automatic replies (RFC 3834 §3.1, RFC 5230 §5)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from email.errors import HeaderParseError
from email.utils import format_datetime
from typing import TYPE_CHECKING, Final

from mailcore.errors import ValueInvalid
from mailcore.message.encoded_words import clean, decode_header
from mailcore.message.envelope import message_ids
from mailcore.message.headers import find_first, header_size, iter_fields

if TYPE_CHECKING:
    from email.headerregistry import Address

MAX_SUBJECT: Final = 250
MAX_REFERENCES: Final = 20
MAX_ID_BYTES: Final = 900
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_ENTITY_FIELDS: Final = frozenset({b"mime-version", b"content-type", b"content-transfer-encoding",
    b"content-disposition", b"content-language", b"content-description"})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answer:
    """What an automatic reply says, and by whom to whom.

    Attributes:
        kind: what stands behind `auto-replied`, "" for nothing (RFC 5230 §5.2: "vacation").
        subject: "" to make it from the message's.
        mime: a whole MIME entity in place of `text` and `html`.
    """

    from_name: str
    from_address: str
    to_address: str
    header_message_id: str
    at: datetime
    subject: str = ""
    text: str = ""
    html: str = ""
    mime: bytes = b""
    kind: str = ""


def compose(answer: Answer, header: bytes) -> bytes:
    """Return the reply to a message with this header: complete bytes, 7 bit unless an address is not ASCII.

    Raises:
        ValueInvalid: an address cannot be written into a header.

    Nothing of the message gets into the reply but its subject, decoded and on one line, and its message ids.
    """
    from email import policy  # with the whole grammar of headers, which few processes ever need
    from email.message import EmailMessage

    thread = _thread(header)
    reply = EmailMessage()
    reply["From"] = _address(answer.from_name, answer.from_address)
    reply["To"] = _address("", answer.to_address)
    reply["Subject"] = subject_of(answer.subject, header)
    reply["Date"] = format_datetime(answer.at)
    reply["Message-ID"] = answer.header_message_id
    reply["Auto-Submitted"] = f"auto-replied ({answer.kind})" if answer.kind else "auto-replied"
    reply["Precedence"] = "bulk"
    reply["X-Auto-Response-Suppress"] = "All"
    how = policy.SMTP if _is_ascii(answer) else policy.SMTPUTF8
    if answer.mime:
        return thread + reply.as_bytes(policy=how).removesuffix(b"\r\n") + _entity(answer.mime)
    reply.set_content(_lines(answer.text or _plain(answer)), cte="quoted-printable")
    if answer.html:
        reply.add_alternative(_lines(answer.html), subtype="html", cte="quoted-printable")
    return thread + reply.as_bytes(policy=how)


def subject_of(subject: str, header: bytes) -> str:
    """Return the subject of a reply, one line: the given one, or the message's behind "Auto:" (RFC 3834 §3.1.5)."""
    if subject:
        return _line(subject)[:MAX_SUBJECT]
    original = _line(decode_header(find_first(header, b"subject") or b""))
    return f"Auto: {original}"[:MAX_SUBJECT] if original else "Automatic reply"


def _is_ascii(answer: Answer) -> bool:
    return answer.from_address.isascii() and answer.to_address.isascii()


def _address(name: str, address: str) -> Address:
    from email.headerregistry import Address

    local, _, domain = address.rpartition("@")
    if local.startswith('"'):
        local = _ESCAPED.sub(r"\1", local[1:-1])
    try:
        return Address(_line(name), username=local, domain=domain)
    except (HeaderParseError, ValueError, IndexError) as error:
        raise ValueInvalid(f"{address[:100]!r} cannot stand in a header") from error


def _thread(header: bytes) -> bytes:
    """Return In-Reply-To and References (RFC 5322 §3.6.4), one id on a line: `email` would encode long ones."""
    own = [each for each in message_ids(header, b"message-id")[:1] if _is_id(each)]
    if not own:
        return b""
    before = message_ids(header, b"references") or message_ids(header, b"in-reply-to")[:1]
    before = [each for each in before if _is_id(each) and each not in own]
    ids = [*before[:1], *before[1:][-(MAX_REFERENCES - 2) :], *own]
    return b"In-Reply-To: " + own[0] + b"\r\nReferences: " + b"\r\n ".join(ids) + b"\r\n"


def _is_id(found: bytes) -> bool:
    return len(found) <= MAX_ID_BYTES and found.isascii() and all(0x20 < byte < 0x7F for byte in found)


def _line(text: str) -> str:
    """Return text on one line, whatever Unicode takes for an end of one, without what UTF-8 has not."""
    return " ".join(clean(text).splitlines()).encode("utf-8", "replace").decode().strip()


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").encode("utf-8", "replace").decode()


def _plain(answer: Answer) -> str:
    return "" if answer.html else "I have received your message.\n"


def _entity(mime: bytes) -> bytes:
    """Return a MIME entity with those fields only that describe content, lines ended by CRLF."""
    raw = mime.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
    size = header_size(raw)
    kept = [raw[field.start : field.end] for field in iter_fields(raw[:size]) if field.name in _ENTITY_FIELDS]
    if not any(line.lower().startswith(b"mime-version") for line in kept):
        kept.insert(0, b"MIME-Version: 1.0\r\n")
    return b"".join(kept) + b"\r\n" + raw[size:]
