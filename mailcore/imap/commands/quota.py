"""GETQUOTA, GETQUOTAROOT and SETQUOTA: how much may be stored, and how much is (RFC 9208).

One quota root for each user, named "" to the user and `Shared/<address>` to others, and one
resource, STORAGE. A user without limit has no root: there is nothing to tell.
"""

from __future__ import annotations

from mailcore.errors import NotFound
from mailcore.imap.session import Replies, Session
from mailcore.imap.wire.cursor import Cursor
from mailcore.imap.wire.responses import Completion, Done, Line, MailboxResponse, No, astring
from mailcore.model.ids import MailboxName, UserId

UNIT_BYTES = 1024
"""STORAGE is counted in these (RFC 9208 §5.1)."""


def parse_quota_root(cursor: Cursor) -> bytes:
    """Read `SP quota-root-name`."""
    cursor.space()
    root = cursor.astring()
    cursor.end()
    return root


def parse_setquota(cursor: Cursor) -> bytes:
    """Read `SP quota-root-name SP "(" [quota-resource SP number *(...)] ")"`."""
    cursor.space()
    root = cursor.astring()
    cursor.space()
    cursor.expect(b"(")
    if not cursor.accept(b")"):
        cursor.atom()
        cursor.space()
        cursor.number64()
        while not cursor.accept(b")"):
            cursor.space()
            cursor.atom()
            cursor.space()
            cursor.number64()
    cursor.end()
    return root


def handle_getquota(session: Session, args: bytes) -> Replies:
    """Tell use and limit of a root; one read, and for another's root those of LIST."""
    owner_id = _owner(session, args)
    if owner_id is None or session.services.quotas.limit(owner_id) is None:
        raise NotFound("quota root", args)
    yield _quota(session, owner_id, args)
    return Done("GETQUOTA completed")


def _owner(session: Session, root: bytes) -> UserId | None:
    """Return whose root it is: the user's own, or that of somebody who shares a mailbox with the user."""
    if not root:
        return session.user_id
    visible = session.services.sharing.visible(session.user_id, session.actor)
    for entry in visible.tree.entries:
        if entry.id in visible.owners and "/".join(entry.name.split("/", 2)[:2]).encode() == root:
            return visible.owners[entry.id]
    return None


def handle_getquotaroot(session: Session, args: MailboxName) -> Replies:
    """Tell the root of a mailbox, its use and limit; two reads."""
    place = session.place(args)
    session.services.mailboxes.find(place.owner_id, place.name, session.actor)
    if session.services.quotas.limit(place.owner_id) is None:
        yield MailboxResponse(b"QUOTAROOT", args)
        return Done("GETQUOTAROOT completed")
    root = b"" if place.owner_id == session.user_id else args.rpartition(place.name)[0].rstrip("/").encode()
    yield MailboxResponse(b"QUOTAROOT", args, astring(root, utf8=session.utf8))
    yield _quota(session, place.owner_id, root)
    return Done("GETQUOTAROOT completed")


def handle_setquota(_session: Session, _args: bytes) -> Completion:
    """Refuse: quotas are set by who runs the organisation, not by mail clients."""
    return No("Quotas are not set by mail clients", b"NOPERM")


def _quota(session: Session, owner_id: UserId, root: bytes) -> Line:
    limit = session.services.quotas.limit(owner_id) or 0
    used = session.services.quotas.use(owner_id, fresh=True)
    name = astring(root, utf8=session.utf8)
    return Line(b"QUOTA %b (STORAGE %d %d)" % (name, -(-used // UNIT_BYTES), limit // UNIT_BYTES))
