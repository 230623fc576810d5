"""CREATE, with USE (RFC 9051 §6.3.4, RFC 6154 §3)."""

from __future__ import annotations

from dataclasses import dataclass

from mailcore.errors import SyntaxFault
from mailcore.imap.session import Replies, Session
from mailcore.imap.wire.cursor import Cursor
from mailcore.imap.wire.object_ids import mailbox_object_id
from mailcore.imap.wire.responses import Done, No, renamed_response
from mailcore.model.ids import MailboxName
from mailcore.model.mailbox import SpecialUse

SPECIAL_USES = {
    use.lower(): use
    for use in (SpecialUse.ARCHIVE, SpecialUse.DRAFTS, SpecialUse.JUNK, SpecialUse.SENT, SpecialUse.TRASH)
}
"""Those a mailbox can be created for; \\All and \\Flagged would be views, which there are none of."""


@dataclass(frozen=True, slots=True)
class CreateArgs:
    """The new mailbox, `written` as the client wrote it; `uses` in lower case as asked for."""

    name: MailboxName
    written: str
    uses: tuple[str, ...]


def parse_create(cursor: Cursor) -> CreateArgs:
    """Read `SP mailbox [SP "(" "USE" SP "(" *use-attr ")" ")"]`."""
    cursor.space()
    name = cursor.new_mailbox()
    written = cursor.written_name
    uses: list[str] = []
    if cursor.accept(b" "):
        cursor.expect(b"(")
        if not cursor.accept_word(b"USE"):
            raise SyntaxFault("unknown CREATE parameter")
        cursor.space()
        uses = cursor.parenthesized(lambda: _use(cursor), may_be_empty=True)
        cursor.expect(b")")
    cursor.end()
    return CreateArgs(name, written, tuple(uses))


def _use(cursor: Cursor) -> str:
    cursor.expect(b"\\")
    return "\\" + cursor.atom().decode("ascii").lower()


def handle_create(session: Session, args: CreateArgs) -> Replies:
    """Create, with its special use if one was given; IMAP4rev2 is told what a name has become (RFC 9051 §6.3.9.7)."""
    uses = {SPECIAL_USES.get(use) for use in args.uses}
    if None in uses or len(uses) > 1:
        return No("This use is not supported", b"USEATTR")
    use = uses.pop() if uses else None
    place = session.place(args.name)
    if use is not None and session.services.mailboxes.tree(place.owner_id).find_special(use) is not None:
        return No("Another mailbox has this use already", b"USEATTR")
    mailbox_id = session.services.mailboxes.create(place.owner_id, session.actor, place.name, use)
    if session.dialect.rev2 and args.written != args.name:
        yield renamed_response(args.name, args.written, utf8=session.utf8)
    return Done("CREATE completed", b"MAILBOXID (%b)" % mailbox_object_id(mailbox_id))  # RFC 8474 §4.1
