"""Labels on the wire: words behind a backslash for those of the system, else mailbox names (Gmail's X-GM-LABELS)."""

from __future__ import annotations

import re

from mailcore.errors import SyntaxFault
from mailcore.imap.wire.cursor import Cursor
from mailcore.imap.wire.mailbox_name import decode_name
from mailcore.imap.wire.responses import mailbox
from mailcore.model.labels import Label, SystemLabel, system_label

_SYSTEM = re.compile(rb"\\[A-Za-z]+")


def read_labels(cursor: Cursor) -> tuple[Label, ...]:
    """Read labels in parentheses, which may be empty, or without.

    Raises:
        SyntaxFault: a word behind a backslash that is no label of the system.
        MailboxNameInvalid: no mailbox can have that name.
    """
    if cursor.peek() == b"(":
        return tuple(dict.fromkeys(cursor.parenthesized(lambda: _label(cursor), may_be_empty=True)))
    labels = [_label(cursor)]
    while cursor.accept(b" "):
        labels.append(_label(cursor))
    return tuple(dict.fromkeys(labels))


def _label(cursor: Cursor) -> Label:
    if cursor.peek() == b"\\":
        found = system_label(cursor.match(_SYSTEM, "label")[0].decode("ascii"))
        if found is None:
            raise SyntaxFault("unknown system label")
        return found
    return label_of(cursor.astring(), utf8=cursor.utf8)


def label_of(wire: bytes, *, utf8: bool) -> Label:
    """Return the label that a string means; many clients quote those of the system, too.

    Raises:
        MailboxNameInvalid: no mailbox can have that name.
    """
    return system_label(wire.decode("latin-1")) or decode_name(wire, utf8=utf8)


def label_list(labels: tuple[Label, ...], *, utf8: bool) -> bytes:
    """Return labels in parentheses."""
    return b"(" + b" ".join(_written(label, utf8=utf8) for label in labels) + b")"


def _written(label: Label, *, utf8: bool) -> bytes:
    return label.value.encode("ascii") if isinstance(label, SystemLabel) else mailbox(label, utf8=utf8)
