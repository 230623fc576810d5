"""Writes whole messages that somebody composes: header, texts, pictures in them, attachments (RFC 2045, RFC 2387)."""

from __future__ import annotations

import binascii
import mimetypes
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from typing import Final

from mailcore.errors import ValueInvalid
from mailcore.message.addresses import HeaderAddress
from mailcore.message.fields_out import mailboxes, structured, tokens, unstructured
from mailcore.message.headers import iter_fields
from mailcore.message.split import Codec, Cut, encode_chunks

MAX_REFERENCES: Final = 50
MAX_ID_BYTES: Final = 900
_LINES: Final = Cut(-1, 0, 0, Codec.BASE64, 76, b"\r\n")
_PLAIN_LINE: Final = 900
"""A longer line is folded by quoted-printable, though a line may have 998 octets."""
_MEDIA: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,60}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,60}")
_CHARSET: Final = re.compile(r"""charset\s*=\s*["']?([A-Za-z0-9_.:+-]{1,40})""", re.IGNORECASE)
_CONTENT_ID: Final = re.compile(r"[\x21-\x3b\x3d\x3f-\x7e]{1,200}")
_ENTITY_FIELDS: Final = frozenset(
    {b"content-type", b"content-transfer-encoding", b"content-disposition", b"content-id", b"content-description",
     b"content-language", b"content-location"}
)  # fmt: skip
_OPAQUE: Final = "application/octet-stream"
_RESERVED: Final = frozenset(
    b"from sender reply-to to cc bcc subject date message-id in-reply-to references mime-version return-path"
    b" delivered-to received dkim-signature authentication-results arc-seal arc-message-signature"
    b" arc-authentication-results received-spf resent-from resent-sender resent-to resent-cc resent-bcc resent-date"
    b" resent-message-id".split()
)
"""Fields that have a place of their own here, or that only servers write."""


@dataclass(frozen=True, slots=True)
class Attached:
    """A part behind or within the texts.

    Attributes:
        header: its fields, whole lines, without the blank one.
        body: yields what stands behind the blank line, encoded, without a line end at its end.
        is_inline: an HTML text shows it by its Content-ID.
    """

    header: bytes
    body: Callable[[], Iterator[bytes]]
    is_inline: bool = False


@dataclass(frozen=True, slots=True)
class Composition:
    """A message as its author means it; what is None or empty is left out.

    Attributes:
        extra: fields by name that have no place of their own.
        in_reply_to: the id of the message that this one follows, with its angle brackets.
        references: ids of those before it, the first begins the conversation.
    """

    message_id: bytes
    at: datetime
    sender: Sequence[HeaderAddress] = ()
    reply_to: Sequence[HeaderAddress] = ()
    to: Sequence[HeaderAddress] = ()
    cc: Sequence[HeaderAddress] = ()
    bcc: Sequence[HeaderAddress] = ()
    subject: str = ""
    extra: Sequence[tuple[str, str]] = ()
    in_reply_to: bytes = b""
    references: Sequence[bytes] = ()
    text: str = ""
    html: str = ""
    attached: Sequence[Attached] = ()


def attachment(
    content: Callable[[], Iterator[bytes]],
    content_type: str = "",
    filename: str = "",
    content_id: str = "",
    *,
    is_inline: bool = False,
) -> Attached:
    """Return data as a part, in base64 of lines of 76 characters, as stored attachments mostly are.

    Raises:
        ValueInvalid: a name or Content-ID cannot stand in a header.
    """
    media, charset = _media_type(content_type, filename)
    parameters = [("charset", charset)] if charset else []
    names = [("name", filename)] if filename else []
    header = structured("Content-Type", media, [*parameters, *names])
    header += b"Content-Transfer-Encoding: base64\r\n"
    disposed = [("filename", filename)] if filename else []
    header += structured("Content-Disposition", "inline" if is_inline else "attachment", disposed)
    identifier = content_id.strip("<>")
    if identifier:
        if not _CONTENT_ID.fullmatch(identifier):
            raise ValueInvalid("cid: an identifier such as picture1@example.org")
        header += f"Content-ID: <{identifier}>\r\n".encode()
    return Attached(header, lambda: encode_chunks(content(), _LINES), is_inline=is_inline)


def taken_over(header: bytes, body: Callable[[], Iterator[bytes]], *, is_inline: bool) -> Attached:
    """Return a part of another message as it is there, with those of its fields that describe content."""
    kept = [header[field.start : field.end] for field in iter_fields(header) if field.name in _ENTITY_FIELDS]
    lines = b"".join(line if line.endswith(b"\r\n") else line.rstrip(b"\r\n") + b"\r\n" for line in kept)
    return Attached(lines, body, is_inline=is_inline)


def check_extra(fields: Sequence[tuple[str, str]]) -> None:
    """Make sure that further fields are such as a message may have besides.

    Raises:
        ValueInvalid: one has a place of its own, or is for servers alone.
    """
    for name, _ in fields:
        lowered = name.strip(" ").lower().encode("utf-8", "replace")
        if lowered in _RESERVED or lowered.startswith(b"content-"):
            raise ValueInvalid(f"headers: {name[:76]} cannot be given here")


def write(composition: Composition) -> Iterator[bytes]:
    """Yield the message in pieces; every field is checked before the first.

    Raises:
        ValueInvalid: something cannot stand in a header.
    """
    yield _header(composition)
    entity = _body(composition)
    yield from entity()


def _header(composition: Composition) -> bytes:
    check_extra(composition.extra)
    date = b"Date: " + format_datetime(composition.at).encode() + b"\r\n"
    found = [date, tokens("Message-ID", [composition.message_id])]
    for name, people in (
        ("From", composition.sender),
        ("Reply-To", composition.reply_to),
        ("To", composition.to),
        ("Cc", composition.cc),
        ("Bcc", composition.bcc),
    ):
        if people:
            found.append(mailboxes(name, people))
    if composition.subject:
        found.append(unstructured("Subject", composition.subject))
    if composition.in_reply_to:
        found.append(tokens("In-Reply-To", [composition.in_reply_to]))
    if composition.references:
        found.append(tokens("References", composition.references))
    found += [unstructured(name.strip(" "), value) for name, value in composition.extra]
    found.append(b"MIME-Version: 1.0\r\n")
    return b"".join(found)


Entity = Callable[[], Iterator[bytes]]
"""Yields a part with its header; nothing follows its last byte, not even a line end."""


def _body(composition: Composition) -> Entity:
    inline = [part for part in composition.attached if part.is_inline and composition.html]
    others = [part for part in composition.attached if part not in inline]
    texts: list[Entity] = []
    if composition.text or not composition.html:
        texts.append(_text("plain", composition.text))
    if composition.html:
        html = _text("html", composition.html)
        texts.append(_joined("related", [html, *map(_part, inline)]) if inline else html)
    shown = texts[0] if len(texts) == 1 else _joined("alternative", texts)
    return _joined("mixed", [shown, *map(_part, others)]) if others else shown


def _text(subtype: str, text: str) -> Entity:
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if lines[-1]:
        lines.append("")
    raw = "\r\n".join(lines).encode("utf-8", "replace")
    is_plain = raw.isascii() and b"\0" not in raw and max(map(len, lines)) <= _PLAIN_LINE
    body = raw if is_plain else binascii.b2a_qp(raw or b"\r\n", istext=True)
    header = (
        f"Content-Type: text/{subtype}; charset=utf-8\r\n"
        f"Content-Transfer-Encoding: {'7bit' if is_plain else 'quoted-printable'}\r\n\r\n"
    ).encode()
    return lambda: iter((header + body,))


def _part(part: Attached) -> Entity:
    def entity() -> Iterator[bytes]:
        yield part.header + b"\r\n"
        yield from part.body()

    return entity


def _joined(subtype: str, parts: Sequence[Entity]) -> Entity:
    """Return a multipart; its boundary is drawn by lot, so that no content holds it."""
    boundary = f"=_{secrets.token_hex(16)}"
    kind = '; type="text/html"' if subtype == "related" else ""
    delimiter = f"--{boundary}".encode()

    def entity() -> Iterator[bytes]:
        yield f'Content-Type: multipart/{subtype}{kind};\r\n boundary="{boundary}"\r\n\r\n'.encode()
        for part in parts:
            yield delimiter + b"\r\n"
            yield from part()
            yield b"\r\n"
        yield delimiter + b"--\r\n"

    return entity


def _media_type(content_type: str, filename: str) -> tuple[str, str]:
    """Return the type of data and its charset; a multipart or message is no type for base64 (RFC 2045 §6.4)."""
    media, _, rest = content_type.partition(";")
    media = media.strip().lower() or (mimetypes.guess_type(filename)[0] or _OPAQUE)
    if not _MEDIA.fullmatch(media) or media.startswith(("multipart/", "message/")):
        media = _OPAQUE
    charset = _CHARSET.search(rest) if media.startswith("text/") else None
    return media, charset[1] if charset else ""
