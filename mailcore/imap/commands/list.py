"""LIST (RFC 9051 §6.3.9; RFC 5258 options, RFC 6154 special use, RFC 5819 STATUS) and LSUB (RFC 3501 §6.3.9)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mailcore.errors import SyntaxFault
from mailcore.imap.session import Replies, Session
from mailcore.imap.status_items import read_status_items, status_responses
from mailcore.imap.wire.cursor import Cursor
from mailcore.imap.wire.mailbox_pattern import MailboxPattern
from mailcore.imap.wire.responses import Done, ListResponse, MailboxResponse, StatusResponse
from mailcore.model.ids import MailboxId, MailboxName, UserId
from mailcore.model.mailbox import MailboxEntry, MailboxTree
from mailcore.model.rights import ALL_RIGHTS, Right, shown_letters
from mailcore.services.sharing import VisibleMailboxes

MAX_PATTERNS = 32
NAMES_BETWEEN_PAUSES = 20
SELECTION_OPTIONS = frozenset({"SUBSCRIBED", "REMOTE", "RECURSIVEMATCH", "SPECIAL-USE"})
RETURN_OPTIONS = frozenset({"SUBSCRIBED", "CHILDREN", "SPECIAL-USE", "MYRIGHTS"})


@dataclass(frozen=True, slots=True)
class ListArgs:
    """What to list, and what to tell of it."""

    patterns: tuple[str, ...]
    selection: frozenset[str] = frozenset()
    returned: frozenset[str] = frozenset()
    status_items: tuple[str, ...] = ()


def parse_list(cursor: Cursor) -> ListArgs:
    """Read `SP [list-select-opts SP] mailbox SP mbox-or-pat [SP list-return-opts]`."""
    cursor.space()
    selection: list[str] = []
    if cursor.peek() == b"(":
        selection = cursor.parenthesized(lambda: _option(cursor, SELECTION_OPTIONS), may_be_empty=True)
        if "RECURSIVEMATCH" in selection and not {"SUBSCRIBED", "SPECIAL-USE"} & set(selection):
            raise SyntaxFault("RECURSIVEMATCH needs another selection option")
        cursor.space()
    reference = cursor.mailbox_reference()
    cursor.space()
    patterns = cursor.parenthesized(cursor.list_mailbox) if cursor.peek() == b"(" else [cursor.list_mailbox()]
    if len(patterns) > MAX_PATTERNS:
        raise SyntaxFault("too many patterns")
    returned: list[str] = []
    status_items: tuple[str, ...] = ()
    if cursor.accept(b" "):
        if not cursor.accept_word(b"RETURN"):
            raise SyntaxFault("RETURN expected")
        cursor.space()
        for option, items in cursor.parenthesized(lambda: _return_option(cursor), may_be_empty=True):
            returned.append(option)
            status_items = items or status_items
    cursor.end()
    full = tuple(reference + pattern if pattern else "" for pattern in patterns)
    return ListArgs(full, frozenset(selection), frozenset(returned), status_items)


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
    if args.patterns == ("",):
        yield ListResponse(b"LIST", ("\\Noselect",), "")
        return Done("LIST completed")
    visible = session.services.sharing.visible(session.user_id, session.actor)
    names = _Names(visible.tree)
    listed = list(_matching(names, args, session.services.offload.pause))
    statuses: dict[MailboxId, StatusResponse] = {}
    if args.status_items:
        if "HIGHESTMODSEQ" in args.status_items:
            yield from session.use_condstore()
        statuses = _statuses(session, visible, [names.entries[name] for name in listed if name in names.entries], args)
    for name in listed:
        yield ListResponse(b"LIST", names.attributes(name, args), name, names.child_info(name, args))
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
    names = _Names(session.services.sharing.visible(session.user_id, session.actor).tree)
    pattern = MailboxPattern(args.patterns[0])
    candidates = set(names.subscribed)
    if pattern.has_percent:
        candidates |= _ancestors(names.subscribed)
    for name in sorted(candidates, key=_order):
        if pattern.matches(name):
            yield ListResponse(b"LSUB", () if name in names.subscribed else ("\\Noselect",), name)
    return Done("LSUB completed")


class _Names:
    """A user's mailboxes by name, with the parents that have none of their own."""

    def __init__(self, tree: MailboxTree) -> None:
        self.entries: dict[MailboxName, MailboxEntry] = {entry.name: entry for entry in tree.entries}
        self.parents = _ancestors(self.entries)
        self.all = self.entries.keys() | self.parents
        self.subscribed = tree.subscribed_names | {entry.name for entry in tree.entries if entry.subscribed}
        self._recursive: set[MailboxName] | None = None

    def selected(self, name: MailboxName, selection: frozenset[str]) -> bool:
        """Whether the name itself meets the selection options."""
        if "SUBSCRIBED" in selection and name not in self.subscribed:
            return False
        if "SPECIAL-USE" in selection:
            entry = self.entries.get(name)
            return entry is not None and entry.special_use is not None
        return True

    def attributes(self, name: MailboxName, args: ListArgs) -> list[str]:
        r"""Return the attributes of a listed name; \NonExistent implies \Noselect, older clients know only that."""
        attributes = []
        entry = self.entries.get(name)
        if entry is None:
            attributes += ["\\NonExistent", "\\Noselect"]
        attributes.append("\\HasChildren" if name in self.parents else "\\HasNoChildren")
        if name in self.subscribed and "SUBSCRIBED" in args.selection | args.returned:
            attributes.append("\\Subscribed")
        if entry is not None and entry.special_use is not None:
            attributes.append(entry.special_use)
        return attributes

    def child_info(self, name: MailboxName, args: ListArgs) -> bytes:
        """Return CHILDINFO where RECURSIVEMATCH found children (RFC 5258 §3.5)."""
        if name not in self.recursive(args.selection):
            return b""
        options = [option for option in ("SUBSCRIBED", "SPECIAL-USE") if option in args.selection]
        return b'"CHILDINFO" (' + b" ".join(b'"%b"' % option.encode() for option in options) + b")"

    def recursive(self, selection: frozenset[str]) -> set[MailboxName]:
        """Return the names with a descendant that meets the selection options; none without RECURSIVEMATCH."""
        if self._recursive is None:
            self._recursive = set()
            if "RECURSIVEMATCH" in selection:
                candidates = self.subscribed | self.all
                self._recursive = _ancestors(name for name in candidates if self.selected(name, selection))
        return self._recursive


def _matching(names: _Names, args: ListArgs, pause: Callable[[], None]) -> Iterable[MailboxName]:
    patterns = [MailboxPattern(pattern) for pattern in args.patterns if pattern]
    candidates = set(names.all)
    if "SUBSCRIBED" in args.selection:
        candidates |= names.subscribed
    recursive = names.recursive(args.selection)
    for index, name in enumerate(sorted(candidates | recursive, key=_order), 1):
        if index % NAMES_BETWEEN_PAUSES == 0:
            pause()
        if not (names.selected(name, args.selection) or name in recursive):
            continue
        if any(pattern.matches(name) for pattern in patterns):
            yield name


def _ancestors(names: Iterable[MailboxName]) -> set[MailboxName]:
    """Return every parent, at any height, of these names."""
    parents: set[MailboxName] = set()
    for name in names:
        end = name.rfind("/")
        while end > 0:
            parent = MailboxName(name[:end])
            if parent in parents:
                break
            parents.add(parent)
            end = name.rfind("/", 0, end)
    return parents


def _order(name: MailboxName) -> tuple[bool, str]:
    """INBOX and what is below it first, then by name."""
    return not (name == "INBOX" or name.startswith("INBOX/")), name
