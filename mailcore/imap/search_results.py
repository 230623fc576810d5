"""The answer of SEARCH and SORT: numbers, or ESEARCH (RFC 4731 §3.1), and what `$` then stands for (RFC 5182)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from mailcore.imap.selected import Positions, SelectedMailbox
from mailcore.imap.session import Session
from mailcore.imap.wire.modseq import shown
from mailcore.imap.wire.responses import Line, NumbersResponse, Response
from mailcore.imap.wire.search_return import ReturnOptions
from mailcore.model.uid_set import UidSet

Numbers = npt.NDArray[np.int64]


def answer(
    session: Session,
    kind: bytes,
    positions: Positions,
    options: ReturnOptions | None,
    *,
    by_uid: bool,
    with_modseq: bool,
) -> Iterator[Response]:
    """Yield the response for messages at `positions`, in the order they are given.

    Args:
        session: whose mailbox was searched.
        kind: SEARCH or SORT.
        positions: what was found.
        options: what the client wants to know; None: the numbers, as RFC 3501 lists them.
        by_uid: whether UIDs are listed.
        with_modseq: whether the highest MODSEQ of the messages found is told (RFC 7162 §3.1.5, §3.1.6).
    """
    mailbox = session.mailbox
    if options is None:
        numbers = _numbers(mailbox, positions, by_uid=by_uid)
        modseq = b" (MODSEQ %d)" % _highest(mailbox, positions) if with_modseq and len(positions) else b""
        yield NumbersResponse(kind, numbers.tolist(), modseq)
        return
    told = _told(positions, options)
    if options.saves:
        mailbox.saved = mailbox.uids_at(np.sort(told))
    if options.tells:
        words = [b'ESEARCH (TAG "%b")' % session.tag.encode("ascii")]
        if by_uid:
            words.append(b"UID")
        words += _values(_numbers(mailbox, positions, by_uid=by_uid), options)
        if with_modseq and len(told):
            words.append(b"MODSEQ %d" % _highest(mailbox, told))
        yield Line(b" ".join(words))


def _told(positions: Positions, options: ReturnOptions) -> Positions:
    """Return the messages that the answer is about: all, unless only some were asked for (RFC 5182 §2.1)."""
    if options.names & {"ALL", "COUNT"} or not (options.names & {"MIN", "MAX"} or options.partial):
        return positions
    if not len(positions):
        return positions
    parts = [positions[:0]]
    if "MIN" in options.names:
        parts.append(positions[:1])
    if "MAX" in options.names:
        parts.append(positions[-1:])
    if options.partial is not None:
        parts.append(positions[options.partial.slice(len(positions))])
    return np.unique(np.concatenate(parts))


def _values(numbers: Numbers, options: ReturnOptions) -> Iterator[bytes]:
    """Yield what was asked for; MIN, MAX and ALL only if there is something (RFC 4731 §3.1)."""
    if len(numbers):
        if "MIN" in options.names:
            yield b"MIN %d" % int(numbers[0])
        if "MAX" in options.names:
            yield b"MAX %d" % int(numbers[-1])
        if "ALL" in options.names:
            yield b"ALL " + ordered_set(numbers)
    if "COUNT" in options.names:
        yield b"COUNT %d" % len(numbers)
    if options.partial is not None:
        page = numbers[options.partial.slice(len(numbers))]
        yield b"PARTIAL (%b %b)" % (options.partial.wire, ordered_set(page) if len(page) else b"NIL")


def ordered_set(numbers: Numbers) -> bytes:
    """Return numbers as `sequence-set` in their order; what rises by one each is one range."""
    breaks = np.flatnonzero(np.diff(numbers) != 1)
    lows = numbers[np.concatenate(([0], breaks + 1))].tolist()
    highs = numbers[np.concatenate((breaks, [len(numbers) - 1]))].tolist()
    return UidSet(tuple(zip(lows, highs, strict=True))).to_wire()


def _numbers(mailbox: SelectedMailbox, positions: Positions, *, by_uid: bool) -> Numbers:
    return mailbox.uid_array(positions).astype(np.int64) if by_uid else positions + 1


def _highest(mailbox: SelectedMailbox, positions: Positions) -> int:
    rows = mailbox.rows(positions)
    return shown(int(mailbox.view.modseqs[rows[rows >= 0]].max(initial=0)))
