"""What a client that comes back has missed (QRESYNC, RFC 7162 §3.2.5 and §3.2.6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mailcore.errors import SyntaxFault
from mailcore.imap.selected import Positions, SelectedMailbox
from mailcore.imap.session import Session
from mailcore.imap.wire.cursor import Cursor
from mailcore.imap.wire.modseq import read_modseq
from mailcore.model.ids import ModSeq
from mailcore.model.uid_set import UidSet

if TYPE_CHECKING:
    from mailcore.store.mailbox.view import MailboxView


@dataclass(frozen=True, slots=True)
class QresyncArgs:
    """What a client knew of a mailbox.

    Attributes:
        uid_validity: which incarnation of the mailbox.
        modseq: until when it knew everything.
        known_uids: what it has; None: all.
        known_pairs: sequence numbers and UIDs as it had them, ascending; empty: it does not say.
    """

    uid_validity: int
    modseq: ModSeq
    known_uids: UidSet | None = None
    known_pairs: tuple[tuple[int, int], ...] = ()


def read_qresync(cursor: Cursor) -> QresyncArgs:
    """Read `"(" uidvalidity SP mod-sequence-value [SP known-uids] [SP seq-match-data] ")"`."""
    cursor.expect(b"(")
    uid_validity = cursor.nz_number()
    cursor.space()
    modseq = read_modseq(cursor)
    if modseq < 0:
        raise SyntaxFault("mod-sequence must not be zero")
    known_uids: UidSet | None = None
    pairs: tuple[tuple[int, int], ...] = ()
    more = cursor.accept(b" ")
    if more and cursor.peek() != b"(":
        known_uids = cursor.known_set()
        more = cursor.accept(b" ")
    if more:
        cursor.expect(b"(")
        numbers = cursor.known_set()
        cursor.space()
        uids = cursor.known_set()
        cursor.expect(b")")
        pairs = _pairs(numbers, uids)
    cursor.expect(b")")
    return QresyncArgs(uid_validity, modseq, known_uids, pairs)


MAX_PAIRS = 10_000


def _pairs(numbers: UidSet, uids: UidSet) -> tuple[tuple[int, int], ...]:
    """Return numbers and UIDs side by side.

    Raises:
        SyntaxFault: more of the one than of the other, or more than anybody needs.
    """
    if len(numbers) != len(uids) or len(uids) > MAX_PAIRS:
        raise SyntaxFault("numbers and UIDs do not match")
    return tuple(zip(numbers, uids, strict=True))


def vanished(session: Session, selected: SelectedMailbox, args: QresyncArgs) -> UidSet:
    """Return the UIDs that the client may have and that are gone; three round trips.

    What it lists under the same number as we do it has lost nothing before.
    """
    gone = vanished_since(session, selected, args.modseq)
    if args.known_uids is not None:
        gone = gone & args.known_uids
    agreed = _agreed_uid(selected.view, args.known_pairs)
    return gone - UidSet(((1, agreed),)) if agreed else gone


def vanished_since(session: Session, selected: SelectedMailbox, modseq: int) -> UidSet:
    """Return what went after `modseq`, but for what this session's client still counts: it is told that later."""
    gone = session.services.mailboxes.vanished_since(selected.owner_id, selected.mailbox_id, max(modseq, 0))
    return gone - selected.counted_uids


def _agreed_uid(view: MailboxView, pairs: tuple[tuple[int, int], ...]) -> int:
    """Return the highest UID that has the number the client gives it, 0 if none has."""
    if not pairs:
        return 0
    numbers, uids = np.array(pairs, np.int64).T
    inside = numbers <= view.exists
    numbers, uids = numbers[inside], uids[inside]
    agreed = uids[view.uids[numbers - 1] == uids]
    return int(agreed[-1]) if len(agreed) else 0


def changed_rows(view: MailboxView, args: QresyncArgs) -> Positions:
    """Return the rows that came or changed since, of those the client knows or, if it does not say, of all.

    What it cannot know yet is told as well, for that is new.
    """
    changed: npt.NDArray[np.bool_] = view.modseqs > np.uint64(args.modseq)
    if args.known_uids is not None:
        mask = np.zeros(view.exists, np.bool_)
        mask[view.rows_of(args.known_uids)] = True
        changed &= mask
    return np.flatnonzero(changed)
