"""LIST (RFC 9051 §6.3.9; RFC 5258 options, RFC 6154 special use, RFC 5819 STATUS) and LSUB (RFC 3501 §6.3.9)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mailcore.errors import SyntaxFault
from mailcore.imap.mailbox_list import ListedNames, ancestors, in_order
from mailcore.imap.session import Replies, Session
from mailcore.imap.status_items import read_status_items, status_responses
from mailcore.imap.wire.cursor import Cursor
from mailcore.imap.wire.mailbox_pattern import MailboxPattern
from mailcore.imap.wire.responses import Done, ListResponse, MailboxResponse, StatusResponse
from mailcore.model.ids import MailboxId, MailboxName, UserId
from mailcore.model.mailbox import MailboxEntry
from mailcore.model.rights import ALL_RIGHTS, Right, shown_letters
from mailcore.services.mailboxes.sharing import VisibleMailboxes

MAX_PATTERNS = 32
NAMES_BETWEEN_PAUSES = 20
SELECTION_OPTIONS = frozenset({"SUBSCRIBED", "REMOTE", "RECURSIVEMATCH", "SPECIAL-USE"})
RETURN_OPTIONS = frozenset({"SUBSCRIBED", "CHILDREN", "SPECIAL-USE", "MYRIGHTS"})


@dataclass(frozen=True, slots=True)
class ListArgs:
    """What to list, and what to tell of it.

    Attributes:
        basic: an empty pattern asks for the root, as it does without any of the extensions.
    """

    patterns: tuple[str, ...]
    basic: bool = True
    selection: frozenset[str] = frozenset()
    returned: frozenset[str] = frozenset()
    status_items: tuple[str, ...] = ()


def parse_list(cursor: Cursor) -> ListArgs:
    """Read `SP [list-select-opts SP] mailbox SP mbox-or-pat [SP list-return-opts]`."""
    cursor.space()
    selection: list[str] = []
    basic = cursor.peek() != b"("
    if not basic:
        selection = cursor.parenthesized(lambda: _option(cursor, SELECTION_OPTIONS), may_be_empty=True)
        if "RECURSIVEMATCH" in selection and not {"SUBSCRIBED", "SPECIAL-USE"} & set(selection):
            raise SyntaxFault("RECURSIVEMATCH needs another selection option")
        cursor.space()
    reference = cursor.mailbox_reference()
    cursor.space()
    one = cursor.peek() != b"("
    patterns = [cursor.list_mailbox()] if one else cursor.parenthesized(cursor.list_mailbox)
    if len(patterns) > MAX_PATTERNS:
        raise SyntaxFault("too many patterns")
    returned: list[str] = []
    status_items: tuple[str, ...] = ()
    basic = basic and one and cursor.at_end()
    if cursor.accept(b" "):
        if not cursor.accept_word(b"RETURN"):
            raise SyntaxFault("RETURN expected")
        cursor.space()
        for option, items in cursor.parenthesized(lambda: _return_option(cursor), may_be_empty=True):
            returned.append(option)
            status_items = items or status_items
    cursor.end()
    full = tuple(reference + pattern if pattern else "" for pattern in patterns)
    return ListArgs(full, basic, frozenset(selection), frozenset(returned), status_items)


def parse_lsub(cursor: Cursor) -> ListArgs:
    """Read `SP mailbox SP list-mailbox`."""
    cursor.space()
    reference = cursor.mailbox_reference()
    cursor.space()
    pattern = cursor.list_mailbox()
    cursor.end()
    return ListArgs((reference + pattern if pattern else "",))


def _option(cursor: Cursor, known: frozenset[str]) -> str:
    name = cursor.word()
    if name not in known:
        raise SyntaxFault("unknown LIST option")
    return name


def _return_option(cursor: Cursor) -> tuple[str, tuple[str, ...]]:
    if cursor.accept_word(b"STATUS"):
        cursor.space()
        return "STATUS", read_status_items(cursor)
    return _option(cursor, RETURN_OPTIONS), ()


def handle_list(session: Session, args: ListArgs) -> Replies:
    """Answer with one LIST per mailbox: one read, and one more for all counters if asked for."""
    if args.basic and args.patterns == ("",):
        yield ListResponse(b"LIST", ("\\Noselect",), "")
        return Done("LIST completed")
    visible = session.services.sharing.visible(session.user_id, session.actor)
    names = ListedNames(visible.tree)
    listed = _matching(names, args, session.services.offload.pause)
    statuses: dict[MailboxId, StatusResponse] = {}
    if args.status_items:
        if "HIGHESTMODSEQ" in args.status_items:
            yield from session.use_condstore()
        statuses = _statuses(session, visible, [names.entries[name] for name in listed if name in names.entries], args)
    subscription = "SUBSCRIBED" in args.selection | args.returned
    for name in listed:
        info = names.child_info(name, args.selection)
        yield ListResponse(b"LIST", names.attributes(name, subscription=subscription), name, info)
        entry = names.entries.get(name)
        if entry is not None and "MYRIGHTS" in args.returned:  # RFC 8440
            rights = shown_letters(visible.rights.get(entry.id, ALL_RIGHTS))
            yield MailboxResponse(b"MYRIGHTS", name, rights.encode())
        if entry is not None and entry.id in statuses:
            yield statuses[entry.id]
    return Done("LIST completed")


def _statuses(
    session: Session, visible: VisibleMailboxes, entries: Iterable[MailboxEntry], args: ListArgs
) -> dict[MailboxId, StatusResponse]:
    """Return the counters of mailboxes that may be read: a round trip for each owner."""
    by_owner: dict[UserId, list[MailboxEntry]] = {}
    for entry in entries:
        if Right.READ in visible.rights.get(entry.id, ALL_RIGHTS):
            by_owner.setdefault(visible.owners.get(entry.id, session.user_id), []).append(entry)
    found: dict[MailboxId, StatusResponse] = {}
    for owner_id, owned in by_owner.items():
        found |= status_responses(session, owner_id, owned, args.status_items)
    return found


def handle_lsub(session: Session, args: ListArgs) -> Replies:
    r"""Answer with the subscribed names; parents that only `%` stops at are \Noselect."""
    if args.patterns == ("",):
        yield ListResponse(b"LSUB", ("\\Noselect",), "")
        return Done("LSUB completed")
    names = ListedNames(session.services.sharing.visible(session.user_id, session.actor).tree)
    pattern = MailboxPattern(args.patterns[0])
    candidates = set(names.subscribed)
    if pattern.has_percent:
        candidates |= ancestors(names.subscribed)
    for name in sorted(candidates, key=in_order):
        if pattern.matches(name):
            yield ListResponse(b"LSUB", () if name in names.subscribed else ("\\Noselect",), name)
    return Done("LSUB completed")


def _matching(names: ListedNames, args: ListArgs, pause: Callable[[], None]) -> list[MailboxName]:
    """Return what is listed; with RECURSIVEMATCH also parents of what is selected, but not listed itself."""
    patterns = [MailboxPattern(pattern) for pattern in args.patterns if pattern]
    candidates = set(names.all)
    if "SUBSCRIBED" in args.selection:
        candidates |= names.subscribed
    recursive = names.recursive(args.selection)
    matching: list[tuple[MailboxName, bool]] = []
    untold: list[MailboxName] = []
    for index, name in enumerate(sorted(candidates | recursive, key=in_order), 1):
        if index % NAMES_BETWEEN_PAUSES == 0:
            pause()
        selected = names.selected(name, args.selection)
        if not (selected or name in recursive):
            continue
        if any(pattern.matches(name) for pattern in patterns):
            matching.append((name, selected))
        elif selected:
            untold.append(name)
    needed = ancestors(untold)
    return [name for name, selected in matching if selected or name in needed]
