"""Ids that stay: MAILBOXID, EMAILID, THREADID (RFC 8474); the first letter says of what, as §7 there advises."""

from __future__ import annotations

import re

from mailcore.errors import SyntaxFault
from mailcore.imap.wire.cursor import Cursor
from mailcore.model import search as model
from mailcore.model.ids import MailboxId
from mailcore.model.search import Criterion

_OBJECT_ID = re.compile(rb"[A-Za-z0-9_-]{1,255}")
_EMAIL_ID = re.compile(rb"M[0-9a-f]{24}")
_THREAD_ID = re.compile(rb"T[0-9a-f]{16}")


def mailbox_object_id(mailbox_id: MailboxId) -> bytes:
    """Return what stands in MAILBOXID's parentheses; it stays when the mailbox is renamed."""
    return b"F" + str(mailbox_id).encode("ascii")


def email_criterion(cursor: Cursor) -> Criterion:
    """Read `objectid`; what is none of ours matches nothing."""
    found = _object_id(cursor)
    return model.MessageIs(bytes.fromhex(found[1:].decode())) if _EMAIL_ID.fullmatch(found) else model.Nothing()


def thread_criterion(cursor: Cursor) -> Criterion:
    """Read `objectid`; what is none of ours matches nothing."""
    found = _object_id(cursor)
    return model.InThread(int(found[1:], 16)) if _THREAD_ID.fullmatch(found) else model.Nothing()


def _object_id(cursor: Cursor) -> bytes:
    value = cursor.astring()
    if not _OBJECT_ID.fullmatch(value):
        raise SyntaxFault("not an object id")
    return value
