"""Puts together the messages that APPEND and REPLACE bring, parts on the server included (RFC 4469)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from mailcore.errors import MessageTooLarge, NotFound, NotPermitted, SyntaxFault
from mailcore.imap.session import Session
from mailcore.imap.wire.append_message import AppendMessage, Url
from mailcore.imap.wire.imap_url import ImapUrl, parse_imap_url
from mailcore.imap.wire.responses import No
from mailcore.message.headers import filter_fields
from mailcore.model.section import SectionText
from mailcore.model.uid_set import UidSet
from mailcore.services.mailboxes.messages import NewMessage

_SHOWABLE = re.compile(rb"[\x20-\x5b\x5e-\x7e]{1,1000}\Z")


class BadUrl(Exception):
    """A part cannot be had; nothing of the command is done."""

    def __init__(self, url: bytes) -> None:
        super().__init__()
        self.url = url

    def completion(self) -> No:
        """Return NO [BADURL] (RFC 4469 §4), with the URL where that cannot break the line."""
        code = b'BADURL "' + self.url + b'"' if _SHOWABLE.match(self.url) and b'"' not in self.url else b"BADURL"
        return No("A part cannot be had, nothing was stored", code)


class EmptyMessage(Exception):
    """A message of no bytes: the client thought better of it (RFC 3502 §2)."""

    def completion(self) -> No:
        """Return NO."""
        return No("An empty message cannot be stored", b"CANNOT")


Unfit = (BadUrl, EmptyMessage)
"""What keeps a message from being put together, besides errors of the services."""


def assemble(session: Session, messages: Iterable[AppendMessage]) -> list[NewMessage]:
    """Return whole messages; all of a command together are at most as large as one may be.

    Round trips: three for each URL, less where the mailbox is selected or in memory.

    Raises:
        BadUrl: a part is not there, or is no part of a message.
        EmptyMessage: one has no bytes.
        MessageTooLarge: together they are too large.
    """
    room = session.limits.message_bytes
    assembled: list[NewMessage] = []
    for message in messages:
        raw = _joined(session, message, room)
        room -= len(raw)
        if not raw:
            raise EmptyMessage
        assembled.append(NewMessage(raw, message.flags, message.internal_date))
    return assembled


def _joined(session: Session, message: AppendMessage, room: int) -> bytes:
    if len(message.parts) == 1 and isinstance(message.parts[0], bytes):
        return message.parts[0]
    pieces: list[bytes] = []
    for part in message.parts:
        pieces.append(_read(session, part.text, room) if isinstance(part, Url) else part)
        room -= len(pieces[-1])
        if room < 0:
            raise MessageTooLarge("catenated")
    return b"".join(pieces)


def _read(session: Session, text: bytes, room: int) -> bytes:
    """Return what a URL names; at most `room` bytes of it are read."""
    try:
        return _part(session, parse_imap_url(text), text, room)
    except (SyntaxFault, NotFound, NotPermitted) as error:
        raise BadUrl(text) from error


def _part(session: Session, url: ImapUrl, text: bytes, room: int) -> bytes:
    if url.mailbox is not None:
        place = session.place(url.mailbox)
        view = session.services.mailboxes.open(place.owner_id, place.name, session.actor)
    elif session.selected is not None:
        session.check_rights()
        view = session.mailbox.view
    else:
        raise BadUrl(text)
    rows = view.rows_of(UidSet(((url.uid, url.uid),)))
    if url.uid_validity not in {None, view.uid_validity} or not len(rows):
        raise BadUrl(text)
    content = session.services.content.open(view.user_id, view.message_oids[rows[0] : rows[0] + 1].tobytes())
    located = content.parts.locate(url.section)
    if located is None:
        raise BadUrl(text)
    start, end = located
    fields = url.section.text in {SectionText.HEADER_FIELDS, SectionText.HEADER_FIELDS_NOT}
    if url.partial is not None and not fields:
        start = min(start + url.partial[0], end)
        end = end if url.partial[1] is None else min(start + url.partial[1], end)
    if end - start > room:
        raise MessageTooLarge("catenated")
    data = b"".join(content.read(start, end))
    if not fields:
        return data
    data = filter_fields(data, url.section.fields, invert=url.section.text is SectionText.HEADER_FIELDS_NOT)
    if url.partial is None:
        return data
    origin, count = url.partial
    return data[origin:] if count is None else data[origin : origin + count]
