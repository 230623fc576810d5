"""Relative IMAP URLs that name a message or a part of one (RFC 5092 §7), as CATENATE needs them.

A URL with a host is not read: nothing here ever fetches from elsewhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from mailcore.errors import SyntaxFault
from mailcore.imap.wire.cursor import Cursor
from mailcore.imap.wire.fetch_att import read_section
from mailcore.imap.wire.scanner import Command, Head
from mailcore.model.ids import MailboxName
from mailcore.model.mailbox import parse_mailbox_name
from mailcore.model.section import Section
from mailcore.model.uid_set import MAX_NUMBER

_URL = re.compile(
    rb"(?:/?(?P<mailbox>[^;/?#][^;?#]*?)(?:;UIDVALIDITY=(?P<validity>[0-9]{1,10}))?)?"
    rb"/?;UID=(?P<uid>[0-9]{1,10})"
    rb"(?:/;SECTION=(?P<section>[^;?#]+?))?"
    rb"(?:/;PARTIAL=(?P<origin>[0-9]{1,18})(?:\.(?P<count>[0-9]{1,18}))?)?\Z",
    re.IGNORECASE,
)
_SCHEME = re.compile(rb"(?:[A-Za-z][A-Za-z0-9+.\-]*:)?//")


@dataclass(frozen=True, slots=True)
class ImapUrl:
    """What a URL names.

    Attributes:
        mailbox: None for the selected one.
        uid_validity: None where the URL does not tell.
        partial: origin and count; a count of None goes to the end.
    """

    mailbox: MailboxName | None
    uid_validity: int | None
    uid: int
    section: Section
    partial: tuple[int, int | None] | None = None


def parse_imap_url(url: bytes) -> ImapUrl:
    """Read a relative URL.

    Raises:
        SyntaxFault: it is none, has a host, or names something other than a message or a part.
    """
    found = None if _SCHEME.match(url) else _URL.match(url)
    if found is None:
        raise SyntaxFault("not a URL of a message")
    uid = int(found["uid"])
    if not 0 < uid <= MAX_NUMBER:
        raise SyntaxFault("no such UID")
    partial = None
    if found["origin"] is not None:
        partial = int(found["origin"]), int(found["count"]) if found["count"] is not None else None
    return ImapUrl(
        _mailbox(found["mailbox"]) if found["mailbox"] is not None else None,
        int(found["validity"]) if found["validity"] is not None else None,
        uid,
        _section(found["section"]) if found["section"] is not None else Section(),
        partial,
    )


def _mailbox(encoded: bytes) -> MailboxName:
    """Read `enc-mailbox`: UTF-8, percent-encoded (RFC 5092 §3)."""
    try:
        return parse_mailbox_name(unquote_to_bytes(encoded).decode("utf-8"))
    except UnicodeDecodeError:
        raise SyntaxFault("mailbox is not UTF-8") from None


def _section(encoded: bytes) -> Section:
    text = b"[" + unquote_to_bytes(encoded) + b"]"
    cursor = Cursor(Command(Head("", "", 0), text, ()))
    section, _ = read_section(cursor)
    cursor.end()
    return section
