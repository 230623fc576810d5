"""What a message to be composed is in requests, for uploading and for sending alike."""

from __future__ import annotations

import binascii
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AfterValidator, Field, StringConstraints, WithJsonSchema

from mailcore.api.call import Call
from mailcore.api.errors import invalid
from mailcore.api.fields import Flag, Input, InputPart, Oid, Text255, object_id
from mailcore.api.mailboxes import find_mailbox
from mailcore.errors import AddressInvalid, ValueInvalid
from mailcore.message.addresses import HeaderAddress
from mailcore.message.fields_out import check_line
from mailcore.model.address import Address
from mailcore.model.octets import pieces
from mailcore.model.uid_set import MAX_NUMBER
from mailcore.services.content.composing import GivenPart, Wanted
from mailcore.services.content.originals import Following, Reference
from mailcore.services.content.spool import Spool

BODY_CHARACTERS: Final = 1 << 20
PEOPLE: Final = 1000


def _address(text: str) -> str:
    try:
        return Address.parse(text.strip()).display
    except AddressInvalid as error:
        raise ValueError(f"must be an address: {error.details[0]}") from error


def _data(given: Any) -> Any:
    if isinstance(given, str | Spool):
        return given
    raise ValueError("must be a string")


def _line(text: str) -> str:
    try:
        return check_line("it", text)
    except ValueInvalid as error:
        raise ValueError("must have no control characters or line ends") from error


Line = Annotated[str, StringConstraints(max_length=255), AfterValidator(_line)]
"""Text for a header."""
EmailAddress = Annotated[str, StringConstraints(max_length=1024), AfterValidator(_address)]
Data = Annotated[Any, AfterValidator(_data), WithJsonSchema({"type": "string"})]
"""Text that may be large: a string, or a spool of its UTF-8."""
Uid = Annotated[int, Field(ge=1, le=MAX_NUMBER)]


class PersonIn(InputPart):
    """A name and an address."""

    name: Line = ""
    address: EmailAddress

    def header_address(self) -> HeaderAddress:
        """Return it as headers have it."""
        return HeaderAddress(self.name, self.address)


People = Annotated[tuple[PersonIn, ...], Field(max_length=PEOPLE)]


class HeaderIn(InputPart):
    """A further field of the header."""

    keeps_empty: ClassVar[frozenset[str]] = frozenset({"value"})

    key: Line
    value: Annotated[str, StringConstraints(max_length=100 * 1024), AfterValidator(_line)] = ""


class AttachmentIn(InputPart):
    """Data to be attached; `encoding` says how `content` is written here."""

    keeps_empty: ClassVar[frozenset[str]] = frozenset({"content"})

    filename: Line = ""
    content_type: Line = ""
    encoding: Literal["base64", "hex", "utf8", "utf-8", "ascii", "binary", "latin1"] = "base64"
    content_transfer_encoding: Text255 | None = None
    """Taken and not followed: every attachment is sent in base64, which changes no byte."""
    content_disposition: Literal["inline", "attachment"] | None = None
    content: Data
    cid: Line = ""


class ReferenceIn(InputPart):
    """The message that is answered or forwarded; `attachments` says which of its attachments go along."""

    mailbox: Oid
    id: Uid
    action: Following
    attachments: Flag | Annotated[list[Text255], Field(max_length=1000)] | None = None


class ComposedInput(Input):
    """A message as its author means it."""

    sender: PersonIn | None = Field(default=None, alias="from")
    reply_to: PersonIn | None = None
    to: People = ()
    cc: People = ()
    bcc: People = ()
    headers: Annotated[tuple[HeaderIn, ...], Field(max_length=200)] = ()
    subject: Annotated[str, StringConstraints(max_length=2048), AfterValidator(_line)] = ""
    text: Annotated[str, StringConstraints(max_length=BODY_CHARACTERS)] = ""
    html: Annotated[str, StringConstraints(max_length=BODY_CHARACTERS)] = ""
    attachments: Annotated[tuple[AttachmentIn, ...], Field(max_length=1000)] = ()
    files: Annotated[tuple[Oid, ...], Field(max_length=1000)] = ()
    reference: ReferenceIn | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it says nothing at all."""
        said = (self.to, self.cc, self.bcc, self.headers, self.subject, self.text, self.html, self.attachments)
        return not any((*said, self.files, self.reference))


def wanted(
    call: Call, given: ComposedInput, at: datetime | None = None, extra: Sequence[tuple[str, str]] = ()
) -> Wanted:
    """Return what is to be composed, with more fields than were given.

    Raises:
        ApiError: an attachment is not written in the encoding it names.
        MailboxNotFound: the reference's.
    """
    return Wanted(
        sender=given.sender.header_address() if given.sender is not None else None,
        reply_to=[given.reply_to.header_address()] if given.reply_to is not None else [],
        to=[one.header_address() for one in given.to],
        cc=[one.header_address() for one in given.cc],
        bcc=[one.header_address() for one in given.bcc],
        subject=given.subject,
        text=given.text,
        html=given.html,
        extra=[*((one.key, one.value) for one in given.headers), *extra],
        parts=[_part(number, one) for number, one in enumerate(given.attachments)],
        files=[object_id(one) for one in given.files],
        reference=reference(call, given.reference) if given.reference is not None else None,
        at=at,
    )


def reference(call: Call, given: ReferenceIn) -> Reference:
    """Return the message that is referred to.

    Raises:
        MailboxNotFound: the user has no such mailbox.
    """
    entry = find_mailbox(call, given.mailbox)
    chosen = tuple(given.attachments) if isinstance(given.attachments, list) else given.attachments
    return Reference(entry.id, given.id, given.action, chosen)


def own_address(call: Call) -> HeaderAddress:
    """Return the user's main address with its name; one round trip."""
    user = call.services.users.get(call.owner)
    return HeaderAddress(user.name, user.address)


def decoded(name: str, data: str | Spool, encoding: str) -> Iterator[bytes]:
    """Yield what a text stands for, piece by piece.

    Raises:
        ApiError: it is not written like that.
    """
    text = data if isinstance(data, Spool) else data.encode("utf-8", "replace")
    if encoding in {"utf8", "utf-8", "ascii"}:
        yield from pieces(text)
        return
    try:
        if encoding == "base64":
            yield from _from_base64(pieces(text))
        elif encoding == "hex":
            yield from _from_hex(pieces(text))
        else:
            yield b"".join(pieces(text)).decode().encode("latin-1")
    except (binascii.Error, ValueError):
        raise invalid({name: f"is not written in {encoding}"}) from None


def _part(number: int, given: AttachmentIn) -> GivenPart:
    name = f"attachments.{number}.content"
    return GivenPart(
        partial(decoded, name, given.content, given.encoding),
        given.content_type,
        given.filename,
        given.cid,
        is_inline=given.content_disposition == "inline",
    )


_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")


def _from_base64(encoded: Iterator[bytes]) -> Iterator[bytes]:
    """Yield what base64 of either alphabet stands for; blanks between do not count, padding may be missing."""
    rest = b""
    for piece in encoded:
        rest += piece.translate(_URL_SAFE, b" \t\r\n")
        whole = (len(rest) - 4) // 4 * 4
        if whole > 0:
            yield binascii.a2b_base64(rest[:whole], strict_mode=True)
            rest = rest[whole:]
    rest += b"=" * (-len(rest) % 4)
    if rest:
        yield binascii.a2b_base64(rest, strict_mode=True)


def _from_hex(encoded: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in encoded:
        rest += piece
        whole = len(rest) // 2 * 2
        yield binascii.a2b_hex(rest[:whole])
        rest = rest[whole:]
    if rest:
        raise ValueError("an odd number of digits")


class MessageIn(InputPart):
    """A message of a mailbox."""

    mailbox: Oid
    id: Uid
