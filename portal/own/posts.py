"""Reading posts that wait for a moderator, as far as somebody decides by it: whatever a stranger may have written."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Final

from mailcore.errors import QueueEntryNotFound
from mailcore.model.ids import UserId
from mailcore.services import MailServices
from mailcore.services.outbound.posts import may_be_answered

READ_BYTES: Final = 64 * 1024
"""Of a post; the beginning is what is decided by."""
SHOWN_CHARACTERS: Final = 1000
LINE_CHARACTERS: Final = 200
_MESSAGE_ID: Final = re.compile(r"<[!-;=?-~]{1,500}>")


@dataclass(frozen=True, slots=True)
class Beginning:
    """How a post begins.

    Attributes:
        sender, subject: one line each, "" if it says none.
        text: of its plain text.
        header_message_id: fit to stand in an answer, else "".
        answerable: what may be answered about it by a program (RFC 3834 §2).
    """

    sender: str = ""
    subject: str = ""
    text: str = ""
    header_message_id: str = ""
    answerable: bool = False


def read(mail: MailServices, user_id: UserId, queue_id: str) -> Beginning:
    """Return how a post in a queue begins, nothing if it does not wait any more; a round trip."""
    try:
        raw = beginning(mail.outbound.content(user_id, queue_id).read())
    except QueueEntryNotFound:
        return Beginning()
    message = message_from_bytes(raw, policy=policy.default)
    assert isinstance(message, EmailMessage)
    found = _MESSAGE_ID.fullmatch(_line(message, "Message-ID"))
    return Beginning(
        sender=_line(message, "From"),
        subject=_line(message, "Subject"),
        text=_text(message),
        header_message_id=found[0] if found else "",
        answerable=may_be_answered(raw),
    )


def beginning(pieces: Iterable[bytes]) -> bytes:
    """Return a message as far as it is read."""
    raw = b""
    for piece in pieces:
        raw += piece
        if len(raw) >= READ_BYTES:
            break
    return raw[:READ_BYTES]


def _line(message: EmailMessage, name: str) -> str:
    try:
        value = str(message.get(name, ""))
    except (LookupError, ValueError, AttributeError, TypeError):  # whatever a stranger may write
        return ""
    shown = "".join(each if each.isprintable() else " " for each in value)
    return " ".join(shown.split())[:LINE_CHARACTERS]


def _text(message: EmailMessage) -> str:
    """Return how the plain text begins, "" if there is none that can be read."""
    try:
        body = message.get_body(("plain",))
        return str(body.get_content()).strip()[:SHOWN_CHARACTERS] if body is not None else ""
    except (LookupError, ValueError, AttributeError, KeyError):  # whatever a stranger may write
        return ""
