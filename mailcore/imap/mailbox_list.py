"""The names LIST knows of: mailboxes, parents that are none, and what is told of each (RFC 9051 §7.3.1)."""

from __future__ import annotations

from collections.abc import Iterable

from mailcore.model.ids import MailboxName
from mailcore.model.mailbox import MailboxEntry, MailboxTree


class ListedNames:
    """A user's mailboxes by name, with the parents that have none of their own."""

    def __init__(self, tree: MailboxTree) -> None:
        self.entries: dict[MailboxName, MailboxEntry] = {
            entry.name: entry for entry in tree.entries if not entry.hidden
        }
        self.parents = ancestors(self.entries)
        self.all = self.entries.keys() | self.parents
        self.subscribed = tree.subscribed_names | {entry.name for entry in self.entries.values() if entry.subscribed}
        self._recursive: set[MailboxName] | None = None

    def selected(self, name: MailboxName, selection: frozenset[str]) -> bool:
        """Whether the name itself meets the selection options."""
        if "SUBSCRIBED" in selection and name not in self.subscribed:
            return False
        if "SPECIAL-USE" in selection:
            entry = self.entries.get(name)
            return entry is not None and entry.special_use is not None
        return True

    def attributes(self, name: MailboxName, *, subscription: bool) -> list[str]:
        r"""Return the attributes of a listed name; \NonExistent implies \Noselect, older clients know only that."""
        attributes = []
        entry = self.entries.get(name)
        if entry is None:
            attributes += ["\\NonExistent", "\\Noselect"]
        attributes.append("\\HasChildren" if name in self.parents else "\\HasNoChildren")
        if subscription and name in self.subscribed:
            attributes.append("\\Subscribed")
        if entry is not None and entry.special_use is not None:
            attributes.append(entry.special_use)
        return attributes

    def child_info(self, name: MailboxName, selection: frozenset[str]) -> bytes:
        """Return CHILDINFO where RECURSIVEMATCH found children (RFC 5258 §3.5)."""
        if name not in self.recursive(selection):
            return b""
        options = [option for option in ("SUBSCRIBED", "SPECIAL-USE") if option in selection]
        return b'"CHILDINFO" (' + b" ".join(b'"%b"' % option.encode() for option in options) + b")"

    def recursive(self, selection: frozenset[str]) -> set[MailboxName]:
        """Return the names with a descendant that meets the selection options; none without RECURSIVEMATCH."""
        if self._recursive is None:
            self._recursive = set()
            if "RECURSIVEMATCH" in selection:
                candidates = self.subscribed | self.all
                self._recursive = ancestors(name for name in candidates if self.selected(name, selection))
        return self._recursive


def ancestors(names: Iterable[MailboxName]) -> set[MailboxName]:
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


def in_order(name: MailboxName) -> tuple[bool, str]:
    """INBOX and what is below it first, then by name."""
    return not (name == "INBOX" or name.startswith("INBOX/")), name
