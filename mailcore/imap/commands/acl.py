"""SETACL, DELETEACL, GETACL, LISTRIGHTS and MYRIGHTS: who may do what with a mailbox (RFC 4314 §3).

An identifier is an address of the tenant. There are no groups, no "anyone" and no negative rights.
"""

from __future__ import annotations

from dataclasses import dataclass

from mailcore.errors import AddressNotFound, SyntaxFault
from mailcore.imap.session import Replies, Session
from mailcore.imap.wire.cursor import Cursor
from mailcore.imap.wire.responses import Completion, Done, MailboxResponse, astring
from mailcore.model.ids import MailboxName
from mailcore.model.rights import ALL_RIGHTS, LETTERS, Right, parse_rights, shown_letters


@dataclass(frozen=True, slots=True)
class IdentifierArgs:
    """A mailbox and somebody."""

    name: MailboxName
    identifier: bytes


@dataclass(frozen=True, slots=True)
class SetAclArgs:
    """`mode`: "+" adds, "-" takes away, "=" replaces."""

    name: MailboxName
    identifier: bytes
    mode: str
    rights: Right


def parse_identifier(cursor: Cursor) -> IdentifierArgs:
    """Read `SP mailbox SP identifier`."""
    args = _identifier(cursor)
    cursor.end()
    return args


def parse_setacl(cursor: Cursor) -> SetAclArgs:
    """Read `SP mailbox SP identifier SP mod-rights`."""
    who = _identifier(cursor)
    cursor.space()
    letters = cursor.astring()
    cursor.end()
    mode = letters[:1].decode("ascii", "replace") if letters[:1] in {b"+", b"-"} else "="
    rights = parse_rights(letters.removeprefix(mode.encode()).decode("ascii", "replace"))
    return SetAclArgs(who.name, who.identifier, mode, rights)


def _identifier(cursor: Cursor) -> IdentifierArgs:
    cursor.space()
    name = cursor.mailbox()
    cursor.space()
    identifier = cursor.astring()
    if not identifier:
        raise SyntaxFault("identifier expected")
    return IdentifierArgs(name, identifier)


def handle_setacl(session: Session, args: SetAclArgs) -> Completion:
    """Change what somebody may do."""
    place = session.place(args.name)
    session.services.sharing.set_rights(session.actor, place, _text(args.identifier), args.mode, args.rights)
    return Done("SETACL completed")


def handle_deleteacl(session: Session, args: IdentifierArgs) -> Completion:
    """Take all rights away."""
    place = session.place(args.name)
    session.services.sharing.set_rights(session.actor, place, _text(args.identifier), "=", Right.NONE)
    return Done("DELETEACL completed")


def handle_getacl(session: Session, args: MailboxName) -> Replies:
    """List everybody with rights; the owner has all, always."""
    acl = session.services.sharing.acl(session.actor, session.place(args))
    words = [word for address, rights in acl for word in (address.encode(), shown_letters(rights).encode())]
    yield MailboxResponse(b"ACL", args, b" ".join(astring(word, utf8=session.utf8) for word in words))
    return Done("GETACL completed")


def handle_listrights(session: Session, args: IdentifierArgs) -> Replies:
    """Tell which rights can be given: each by itself; the owner's are fixed."""
    place = session.place(args.name)
    fixed = session.services.sharing.check_identifier(session.actor, place, _text(args.identifier))
    rights = shown_letters(ALL_RIGHTS).encode() if fixed else b'"" ' + " ".join(LETTERS).encode()
    yield MailboxResponse(b"LISTRIGHTS", args.name, astring(args.identifier, utf8=session.utf8) + b" " + rights)
    return Done("LISTRIGHTS completed")


def handle_myrights(session: Session, args: MailboxName) -> Replies:
    """Tell the user's own rights."""
    rights = session.services.sharing.my_rights(session.actor, session.place(args))
    yield MailboxResponse(b"MYRIGHTS", args, shown_letters(rights).encode())
    return Done("MYRIGHTS completed")


def _text(identifier: bytes) -> str:
    try:
        return identifier.decode("utf-8")
    except UnicodeDecodeError:
        raise AddressNotFound(identifier) from None
