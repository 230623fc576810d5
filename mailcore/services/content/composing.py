"""Composing: from what somebody means to say to the bytes of a message, with what it answers and what it carries."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Final

from bson import ObjectId

from mailcore.message.addresses import HeaderAddress
from mailcore.message.composition import Attached, Composition, attachment, write
from mailcore.message.inline_pictures import Picture, pictures_apart
from mailcore.model.address import domain_name
from mailcore.model.ids import UserId
from mailcore.model.limits import Limits
from mailcore.model.octets import Octets
from mailcore.services.content.files import Files
from mailcore.services.content.originals import Answering, Original, Originals, Reference
from mailcore.services.content.spool import gathered
from mailcore.services.process.clock import now
from mailcore.services.process.offload import Offload

__all__ = ["Composing", "GivenPart", "Reference", "Wanted"]

Contents = partial[Iterator[bytes]]
"""Yields data in pieces, as often as it is called."""


@dataclass(frozen=True, slots=True)
class GivenPart:
    """Data that came with a request, to be attached."""

    content: Contents
    content_type: str = ""
    filename: str = ""
    content_id: str = ""
    is_inline: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody means to say.

    Attributes:
        sender: None where the user's own address is meant.
        files: storage files to be attached.
        reference: the message that is answered or forwarded.
        at: for the Date field; now if None.
    """

    sender: HeaderAddress | None = None
    reply_to: Sequence[HeaderAddress] = ()
    to: Sequence[HeaderAddress] = ()
    cc: Sequence[HeaderAddress] = ()
    bcc: Sequence[HeaderAddress] = ()
    subject: str = ""
    text: str = field(default="", repr=False)
    html: str = field(default="", repr=False)
    extra: Sequence[tuple[str, str]] = ()
    parts: Sequence[GivenPart] = ()
    files: Sequence[ObjectId] = ()
    reference: Reference | None = None
    at: datetime | None = None


class Composing:
    """Writes messages; it stores and sends nothing."""

    def __init__(self, originals: Originals, files: Files, offload: Offload, limits: Limits) -> None:
        self._originals = originals
        self._files = files
        self._offload = offload
        self._limits = limits

    def compose(self, user_id: UserId, own: HeaderAddress, wanted: Wanted) -> Octets:
        """Return the whole message, with Bcc; in memory if it is small.

        Round trips: those of `Originals.open` for a reference, one for files and those of reading them. What a
        forwarded message carries is taken over as it lies there: when it is stored it is found to be known.

        Args:
            user_id: whose message, files and originals.
            own: the user's main address and name.
            wanted: what it is to say.

        Raises:
            ValueInvalid: something cannot stand in a message.
            MailboxNotFound, MessageNotFound: what it refers to is not there.
            FileNotFound: the user has no such file.
            MessageTooLarge: it would be larger than a message may be.
        """
        original = self._originals.open(user_id, wanted.reference) if wanted.reference is not None else None
        html, pictures = pictures_apart(wanted.html)
        sender = wanted.sender or own
        composition = Composition(
            message_id=_new_message_id(sender),
            at=wanted.at or now(),
            sender=(sender,),
            reply_to=wanted.reply_to,
            bcc=wanted.bcc,
            extra=wanted.extra,
            text=wanted.text,
            html=html,
            attached=(*self._attached(user_id, wanted, pictures), *(original.carried() if original else ())),
            **self._answer(wanted, original, own),
        )
        return gathered(write(composition), self._limits.message_bytes, self._offload.pause)

    def _answer(self, wanted: Wanted, original: Original | None, own: HeaderAddress) -> Answering:
        """Return to whom it goes, what it is about and what it follows."""
        found = Answering(to=wanted.to, cc=wanted.cc, subject=wanted.subject, in_reply_to=b"", references=())
        return found if original is None else original.answered(found, own.address)

    def _attached(self, user_id: UserId, wanted: Wanted, pictures: Sequence[Picture]) -> Iterator[Attached]:
        for picture in pictures:
            content = partial(iter, (picture.data,))
            yield attachment(content, picture.content_type, picture.filename, picture.content_id, is_inline=True)
        for part in wanted.parts:
            is_inline = part.is_inline or _is_shown(part.content_id, wanted.html)
            yield attachment(part.content, part.content_type, part.filename, part.content_id, is_inline=is_inline)
        for file in self._files.get_many(user_id, wanted.files) if wanted.files else ():
            content = partial(self._files.read, user_id, file)
            is_inline = _is_shown(file.content_id, wanted.html)
            yield attachment(content, file.content_type, file.filename, file.content_id, is_inline=is_inline)


_DOMAIN: Final = re.compile(r"[A-Za-z0-9.-]{1,253}")


def _is_shown(content_id: str, html: str) -> bool:
    identifier = content_id.strip("<>")
    return bool(identifier) and f"cid:{identifier}" in html


def _new_message_id(sender: HeaderAddress) -> bytes:
    domain = domain_name(sender.address.rpartition("@")[2])
    return f"<{ObjectId()}.{ObjectId()}@{domain}>".encode()
