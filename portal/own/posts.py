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
from mailcore.services.outbound.posts import may_be_answered, text_of_html

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
        text: of its plain text, else what its HTML shows.
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
    """Return how the plain text begins, else what the HTML shows, "" if there is none that can be read."""
    if plain := _content(message, "plain"):
        return plain[:SHOWN_CHARACTERS]
    return text_of_html(_content(message, "html"), SHOWN_CHARACTERS)


def _content(message: EmailMessage, subtype: str) -> str:
    try:
        body = message.get_body((subtype,))
        text = str(body.get_content()).strip() if body is not None else ""
    except (LookupError, ValueError, AttributeError, KeyError):  # whatever a stranger may write
        return ""
    return text.encode("utf-8", "replace").decode()  # UTF-7 may say half a character
