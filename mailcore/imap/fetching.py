"""FETCH answered in batches, by what the items need: columns only, stored items, or the message itself.

Nothing of a message is sent before its first piece of content was read, so a store that does not
answer ends in a clean NO; only a failure in the middle of a literal has to close the connection.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mailcore.errors import MailError, MessageNotFound
from mailcore.imap.binary import binary_answer
from mailcore.imap.fetch_items import COLUMN_ITEMS, STORED_ITEMS, Cells, ColumnItem, Indexes, format_items, format_table
from mailcore.imap.session import Session, StreamBroken
from mailcore.imap.streaming import Damaged, partial_range, stream_literal
from mailcore.imap.wire.fetch_att import BinaryAtt, BodyAtt, FetchAtt, SimpleAtt
from mailcore.imap.wire.responses import Wire
from mailcore.message.headers import LIGHT_NAMES, filter_fields
from mailcore.model.limits import DEFAULT_LIMITS
from mailcore.model.section import WHOLE_MESSAGE, SectionText

if TYPE_CHECKING:
    from mailcore.model.content import StoredItems
    from mailcore.services.content.stored_content import Content
    from mailcore.services.process.offload import Offload
    from mailcore.store.mailbox.view import MailboxView

COLUMN_BATCH = 4096
ITEM_BATCH = 500
BODY_BATCH = 50
BATCH_BYTES = 4 << 20
DOCUMENT_BYTES = DEFAULT_LIMITS.message_document_bytes
"""More of a message is not read at once; the rest follows in chunks."""
STREAM_BYTES = 64 * 1024
"""Larger literals are sent piece by piece."""
OID_BYTES = 12
_FILTERED = {SectionText.HEADER_FIELDS, SectionText.HEADER_FIELDS_NOT}


@dataclass(frozen=True, slots=True)
class FetchPlan:
    """Items sorted by what answers them."""

    columns: tuple[str, ...]
    stored: tuple[str, ...]
    light: tuple[BodyAtt, ...]
    """Header fields that the stored items hold."""
    bodies: tuple[BodyAtt | BinaryAtt, ...]
    wants_labels: bool = False
    labels: ColumnItem | None = None
    """What answers X-GM-LABELS; a command reads it for all its messages at once."""

    @classmethod
    def of(cls, atts: Sequence[FetchAtt]) -> FetchPlan:
        """Sort the items of one FETCH."""
        names = [att.name for att in atts if isinstance(att, SimpleAtt)]
        bodies = [att for att in atts if isinstance(att, BodyAtt | BinaryAtt)]
        light = [att for att in bodies if isinstance(att, BodyAtt) and _is_light(att)]
        if len(light) < len(bodies):
            light = []  # the header is at hand anyway
        return cls(
            tuple(name for name in names if name in COLUMN_ITEMS),
            tuple(name for name in names if name in STORED_ITEMS),
            tuple(light),
            () if light else tuple(bodies),
            "X-GM-LABELS" in names,
        )

    def with_modseq(self) -> FetchPlan:
        """Return the plan with MODSEQ, as answers to nobody's question have it once it is enabled (RFC 7162 §3.1)."""
        return self if "MODSEQ" in self.columns else replace(self, columns=(*self.columns, "MODSEQ"))

    @property
    def column_items(self) -> list[ColumnItem]:
        """What the columns of the mailbox, and of others, answer."""
        items = [COLUMN_ITEMS[name] for name in self.columns]
        return items if self.labels is None else [*items, self.labels]

    @property
    def sets_seen(self) -> bool:
        r"""Whether the messages become \Seen."""
        return any(not att.peek for att in (*self.light, *self.bodies))


def _is_light(att: BodyAtt) -> bool:
    section = att.section
    if section.part_number or section.text is not SectionText.HEADER_FIELDS:
        return False
    return all(field.lower() in LIGHT_NAMES for field in section.fields)


def fetch(session: Session, plan: FetchPlan, positions: Indexes, rows: Indexes) -> Iterator[Wire]:
    """Yield the responses for messages of the selected mailbox, pausing between batches.

    Round trips: none for columns, one for each 500 messages for stored items, one for each 50
    for bodies, and what their large parts need.

    Raises:
        StoreUnavailable: what was not sent yet cannot be read now.
        MessageNotFound: the rows are there, but not all messages any more; the others were sent.
        StreamBroken: a literal could not be finished.
    """
    view = session.mailbox.view
    batch: Callable[[Session, FetchPlan, MailboxView, Indexes, Indexes], Generator[Wire, None, int]]
    if plan.bodies:
        slices, batch = _slices(len(rows), BODY_BATCH, view.sizes[rows]), _body_batch
    elif plan.stored or plan.light:
        slices, batch = _slices(len(rows), ITEM_BATCH), _item_batch
    else:
        slices, batch = _slices(len(rows), COLUMN_BATCH), _column_batch
    missing = 0
    for part in slices:
        if part.start:
            session.services.offload.pause()
        missing += yield from batch(session, plan, view, positions[part], rows[part])
    if missing:
        raise MessageNotFound(session.owner_id, missing)


def _slices(count: int, size: int, sizes_bytes: npt.NDArray[np.uint32] | None = None) -> list[slice]:
    """Return slices of at most `size` rows, and of not much more than BATCH_BYTES that are read at once."""
    if count == 1:
        return [slice(0, 1)]
    starts = np.arange(count) % size == 0
    if sizes_bytes is not None and count:
        read = np.cumsum(np.minimum(sizes_bytes, DOCUMENT_BYTES), dtype=np.int64) // BATCH_BYTES
        starts[1:] |= read[1:] != read[:-1]
    bounds = [*np.flatnonzero(starts).tolist(), count]
    return [slice(start, end) for start, end in itertools.pairwise(bounds)]


def _column_batch(
    _session: Session, plan: FetchPlan, view: MailboxView, positions: Indexes, rows: Indexes
) -> Generator[Wire, None, int]:
    yield Wire(format_items(view, plan.column_items, positions, rows))
    return 0


def _oids(view: MailboxView, rows: Indexes) -> list[bytes]:
    packed = view.message_oids[rows].tobytes()
    return [packed[start : start + OID_BYTES] for start in range(0, len(packed), OID_BYTES)]


# -- stored items -------------------------------------------------------------------------------


def _item_batch(
    session: Session, plan: FetchPlan, view: MailboxView, positions: Indexes, rows: Indexes
) -> Generator[Wire, None, int]:
    oids = _oids(view, rows)
    items = session.services.content.items(session.owner_id, oids)
    missing = 0
    if not all(oid in items for oid in oids):
        kept = [index for index, oid in enumerate(oids) if oid in items]
        missing = len(oids) - len(kept)
        positions, rows, oids = positions[kept], rows[kept], [oids[index] for index in kept]
    pieces, columns = _item_columns(plan, view, rows, [items[oid] for oid in oids])
    for att in plan.light:
        pieces.append(_label(att) + b" %b")
        columns.append([_light_field(session, att, oid, items[oid]) for oid in oids])
    if oids:
        yield Wire(format_table(pieces, columns, positions))
    return missing


def _item_columns(
    plan: FetchPlan, view: MailboxView, rows: Indexes, stored: Sequence[StoredItems]
) -> tuple[list[bytes], list[Cells]]:
    pieces: list[bytes] = []
    columns: list[Cells] = []
    for column_item in plan.column_items:
        pieces.append(column_item.piece)
        columns.append(column_item.cells(view, rows))
    for name in plan.stored:
        stored_item = STORED_ITEMS[name]
        pieces.append(stored_item.piece)
        columns.append(stored_item.cells(stored))
    return pieces, columns


def _light_field(session: Session, att: BodyAtt, oid: bytes, items: StoredItems) -> bytes:
    header = items.light_headers
    if header is None:
        header = session.services.content.open(session.owner_id, oid).header_bytes()
    return _literal(_cut(filter_fields(header, att.section.fields), att))


# -- bodies -------------------------------------------------------------------------------------


def _body_batch(
    session: Session, plan: FetchPlan, view: MailboxView, positions: Indexes, rows: Indexes
) -> Generator[Wire, None, int]:
    content_store = session.services.content
    oids = _oids(view, rows)
    items: dict[bytes, StoredItems] = content_store.items(session.owner_id, oids) if plan.stored else {}
    next_index = 0
    sent = 0
    whole = any(
        isinstance(att, BodyAtt) and att.section == WHOLE_MESSAGE and att.partial is None for att in plan.bodies
    )
    for content in content_store.open_many(session.owner_id, oids, whole=whole):
        while oids[next_index] != content.message_oid:
            next_index += 1
        index = next_index
        next_index += 1
        if plan.stored and content.message_oid not in items:
            continue
        here = slice(index, index + 1)
        stored = [items[content.message_oid]] if plan.stored else []
        pieces, columns = _item_columns(plan, view, rows[here], stored)
        head = b"* %d FETCH (" % (int(positions[index]) + 1)
        if pieces:
            head += b" ".join(pieces) % tuple(column[0] for column in columns) + b" "
        yield from _one_message(plan.bodies, head, content, session.services.offload)
        sent += 1
    return len(oids) - sent


def _one_message(
    atts: Sequence[BodyAtt | BinaryAtt], head: bytes, content: Content, offload: Offload
) -> Iterator[Wire]:
    """Yield one response; small parts joined, large ones piece by piece."""
    pending = [head]
    begun = False
    try:
        for number, att in enumerate(atts):
            if number:
                pending.append(b" ")
            pending.append(_label(att) + b" ")
            pieces = _body(att, content) if isinstance(att, BodyAtt) else binary_answer(att, content, offload)
            for piece in pieces:
                pending.append(piece)
                if len(piece) >= STREAM_BYTES:
                    yield Wire(b"".join(pending))
                    begun = True
                    pending = []
    except (MailError, Damaged) as error:
        if begun:
            raise StreamBroken from error
        raise
    pending.append(b")\r\n")
    yield Wire(b"".join(pending))


def _body(att: BodyAtt, content: Content) -> Iterator[bytes]:
    """Yield what stands behind the label: NIL, or a literal in pieces."""
    located = content.parts.locate(att.section)
    if located is None:
        yield b"NIL"
        return
    start, end = located
    if att.section.text in _FILTERED:
        header = b"".join(content.read(start, end))
        invert = att.section.text is SectionText.HEADER_FIELDS_NOT
        yield _literal(_cut(filter_fields(header, att.section.fields, invert=invert), att))
        return
    yield from stream_literal(content, *partial_range(start, end, att.partial))


def _label(att: BodyAtt | BinaryAtt) -> bytes:
    return att.label if att.partial is None else b"%b<%d>" % (att.label, att.partial[0])


def _cut(data: bytes, att: BodyAtt) -> bytes:
    if att.partial is None:
        return data
    origin, count = att.partial
    return data[origin : origin + count]


def _literal(data: bytes) -> bytes:
    return b"{%d}\r\n%b" % (len(data), data) if data else b'""'
