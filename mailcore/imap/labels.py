"""Labels as one session names them: mailboxes of the selected one's owner by the names they have here."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from mailcore.errors import NotPermitted
from mailcore.imap.fetch_items import Cells, ColumnItem, Indexes
from mailcore.imap.session import Session
from mailcore.imap.wire.labels import label_list, label_of
from mailcore.model import search as model
from mailcore.model.ids import MailboxName
from mailcore.model.labels import FLAGS, Label, LabelSet, SystemLabel
from mailcore.model.search import Criterion
from mailcore.services.mailboxes.access import SHARED

if TYPE_CHECKING:
    from mailcore.store.mailbox.view import MailboxView


def label_item(session: Session, rows: Indexes) -> ColumnItem:
    """Return X-GM-LABELS of rows of the selected mailbox, read for all of them at once."""
    labelling = session.services.labels.of(session.actor, session.mailbox.view, rows)
    name_of = _names(session)
    texts = [label_list(tuple(name_of(label) for label in labels), utf8=session.utf8) for labels in labelling.sets]

    def cells(_view: MailboxView, wanted: Indexes) -> Cells:
        which = labelling.which[np.searchsorted(rows, wanted)]
        return [texts[number] for number in which.tolist()]

    return ColumnItem(b"X-GM-LABELS %b", cells)


def label_set(session: Session, labels: tuple[Label, ...]) -> LabelSet:
    """Return labels that a client named by what they are to the owner of the selected mailbox.

    Raises:
        MailboxNotFound: a shared name of nobody.
        NotPermitted: a mailbox of somebody else, who would have another message.
    """
    system = frozenset(label for label in labels if isinstance(label, SystemLabel))
    return LabelSet(system, tuple(_own(session, label) for label in labels if not isinstance(label, SystemLabel)))


def label_criterion(session: Session, text: str) -> Criterion:
    """Return what a label means in a search of the selected mailbox.

    Raises:
        MailboxNameInvalid: no mailbox can have that name.
        MailboxNotFound, NotPermitted: as `label_set`.
    """
    label = label_of(text.encode(), utf8=session.utf8)
    flags = FLAGS.get(label) if isinstance(label, SystemLabel) else None
    if flags is not None:
        return model.HasFlag(flags.system) if flags.system else model.HasKeyword(flags.keywords[0])
    own = label if isinstance(label, SystemLabel) else _own(session, label)
    return model.Uids(session.services.labels.holding(session.actor, session.mailbox.view, own))


def _own(session: Session, name: MailboxName) -> MailboxName:
    place = session.place(name)
    if place.owner_id != session.owner_id:
        raise NotPermitted("a label of somebody else's")
    return place.name


def _names(session: Session) -> Callable[[Label], Label]:
    """Return what gives labels the names they have for this user; one round trip for others' mailboxes."""
    if session.owner_id == session.user_id:
        return lambda label: label
    prefix = f"{SHARED}/{session.services.mailboxes.access.address(session.owner_id)}/"
    return lambda label: label if isinstance(label, SystemLabel) else MailboxName(prefix + label)
