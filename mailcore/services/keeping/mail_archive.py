"""All mail of a user as a tar archive that any program reads: a folder for each mailbox, a file for each message.

The first file, `account.json`, has what is not mail: addresses, settings, rules. What signs in is left out.
"""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from mailcore.errors import MailboxChanged, StoreDamaged
from mailcore.model.ids import UserId
from mailcore.model.mail_export import ExportedMailbox, Place
from mailcore.services.content.content import ContentStore
from mailcore.services.content.stored_content import Content
from mailcore.services.keeping.data_export import DataExport
from mailcore.services.mailboxes.mailboxes import Mailboxes

PIECE_BYTES: Final = 1 << 20
ROWS_AT_ONCE: Final = 500
LONGEST_FOLDER: Final = 80
"""Letters of one level of a folder's name: four bytes each are still a file name everywhere."""
BLOCK_BYTES: Final = 512
"""Of which archives are made (POSIX.1-1988)."""
END_OF_ARCHIVE: Final = bytes(2 * BLOCK_BYTES)
BEGIN: Final = Place()


@dataclass(frozen=True, slots=True)
class Stretch:
    """Some bytes of an archive.

    Attributes:
        place: where to go on behind them; None: they end within a file.
        messages: so many ended in them.
        damaged: so many of those could not be read whole.
    """

    data: bytes
    place: Place | None
    messages: int = 0
    damaged: int = 0


@dataclass(slots=True)
class _File:
    """A file of the archive; `is_damaged` is known once its content was read."""

    name: str
    mtime: int
    size: int
    place: Place
    content: Content | bytes
    is_damaged: bool = False

    def header(self) -> bytes:
        import tarfile  # few processes write archives

        entry = tarfile.TarInfo(self.name)
        entry.size, entry.mtime = self.size, self.mtime
        return entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")

    def pieces(self) -> Iterator[bytes]:
        """Yield exactly so many bytes as the header says: what cannot be read is zeros."""
        left = self.size
        try:
            for piece in [self.content] if isinstance(self.content, bytes) else self.content.read():
                yield piece
                left -= len(piece)
        except StoreDamaged:
            self.is_damaged = True
        while left:
            yield bytes(min(left, PIECE_BYTES))
            left -= min(left, PIECE_BYTES)
        yield bytes(-self.size % BLOCK_BYTES)


class MailArchive:
    """Writes the archive; a mebibyte or two in memory at a time, and a chunk of a large message."""

    def __init__(self, data_export: DataExport, mailboxes: Mailboxes, content: ContentStore) -> None:
        self._data_export = data_export
        self._mailboxes = mailboxes
        self._content = content

    def plan(self, user_id: UserId) -> tuple[tuple[ExportedMailbox, ...], int]:
        """Return the mailboxes that there are now, and about how large the archive will be; two round trips.

        Raises:
            UserNotFound: there is no such user.
        """
        entries = self._mailboxes.tree(user_id).entries
        status = self._mailboxes.status(user_id, [entry.id for entry in entries])
        names: dict[str, int] = {}
        mailboxes = tuple(
            ExportedMailbox(entry.id, _folder(entry.name, names), status[entry.id].uid_next) for entry in entries
        )
        expected = sum(one.size_bytes + one.exists * BLOCK_BYTES * 3 // 2 for one in status.values())
        return mailboxes, expected + PIECE_BYTES // 100

    def read(self, user_id: UserId, mailboxes: Sequence[ExportedMailbox], after: Place = BEGIN) -> Iterator[Stretch]:
        """Yield the archive of these mailboxes behind a place; without what was expunged or moved meanwhile.

        Raises:
            UserNotFound: there is no such user.
            StoreUnavailable: something does not answer; go on behind the last place.
        """
        if after.mailbox >= len(mailboxes):
            return
        held, messages, damaged = bytearray(), 0, 0
        for file in self._files(user_id, mailboxes, after):
            held += file.header()
            for piece in file.pieces():
                held += piece
                if len(held) >= PIECE_BYTES:
                    yield Stretch(bytes(held), None, messages, damaged)
                    held, messages, damaged = bytearray(), 0, 0
            messages += file.place.mailbox >= 0 and file.place.uid > 0
            damaged += file.is_damaged
            if len(held) >= PIECE_BYTES // 2:
                yield Stretch(bytes(held), file.place, messages, damaged)
                held, messages, damaged = bytearray(), 0, 0
        yield Stretch(bytes(held) + END_OF_ARCHIVE, Place(len(mailboxes)), messages, damaged)

    def whole(self, user_id: UserId) -> Iterator[bytes]:
        """Yield the whole archive as it is now.

        Raises:
            UserNotFound, StoreUnavailable: as `read`.
        """
        mailboxes, _ = self.plan(user_id)
        return (stretch.data for stretch in self.read(user_id, mailboxes))

    def _files(self, user_id: UserId, mailboxes: Sequence[ExportedMailbox], after: Place) -> Iterator[_File]:
        if after.mailbox < 0:
            about = [record for record in self._data_export.description(user_id) if record["type"] != "mailbox"]
            text = json.dumps(about, default=str, ensure_ascii=False, indent=1).encode()
            yield _File("account.json", 0, len(text), Place(0, 0), text)
        for number in range(max(after.mailbox, 0), len(mailboxes)):
            last_uid = after.uid if number == after.mailbox else 0
            yield from self._messages(user_id, number, mailboxes[number], last_uid)

    def _messages(self, user_id: UserId, number: int, mailbox: ExportedMailbox, last_uid: int) -> Iterator[_File]:
        try:
            view = self._mailboxes.refresh(user_id, mailbox.id)
        except MailboxChanged:
            return
        wanted = np.flatnonzero((view.uids > last_uid) & (view.uids < mailbox.uid_next))
        for start in range(0, len(wanted), ROWS_AT_ONCE):
            rows = wanted[start : start + ROWS_AT_ONCE].tolist()
            oids = [bytes(view.message_oid(row)) for row in rows]
            rows_of: dict[bytes, deque[int]] = defaultdict(deque)  # a message may be there twice
            for row, oid in zip(rows, oids, strict=True):
                rows_of[oid].append(row)
            for content in self._content.open_many(user_id, oids):  # in this order, without what is not there
                row = rows_of[bytes(content.message_oid)].popleft()
                uid, arrived = int(view.uids[row]), int(view.internal_dates[row])
                name = f"{mailbox.folder}/{uid}.eml"
                yield _File(name, arrived, content.size_bytes, Place(number, uid), content)


def _folder(name: str, taken: dict[str, int]) -> str:
    """Return a mailbox's name as a path that every system takes, and that no other mailbox has."""
    letters = "".join("_" if one in '\\:*?"<>|' or ord(one) < 32 else one for one in name)
    levels = [level.strip(". ")[:LONGEST_FOLDER] or "_" for level in letters.split("/")]
    folder = "/".join(levels)
    count = taken[folder.casefold()] = taken.get(folder.casefold(), 0) + 1
    return folder if count == 1 else _folder(f"{folder} ({count})", taken)
