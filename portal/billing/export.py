"""An organisation takes its mail with it: one archive for each user, every message byte for byte."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator

from mailcore.model.ids import UserId
from mailcore.services import MailServices

MOST_NAME_BYTES = 200


def archive(mail: MailServices, user_id: UserId) -> Iterator[bytes]:
    """Yield a tar archive with a folder for each mailbox and a file for each message; holds one message at a time.

    Raises:
        UserNotFound: there is no such user.
        StoreUnavailable: a shard does not answer; the archive ends there.
    """
    sink = _Sink()
    with tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT) as written:
        for entry in mail.mailboxes.tree(user_id).entries:
            view = mail.mailboxes.open(user_id, entry.name)
            folder = entry.name.replace("..", "_")[:MOST_NAME_BYTES]
            oids = [view.message_oid(row) for row in range(view.exists)]
            for row, content in enumerate(mail.content.open_many(user_id, oids)):
                raw = b"".join(content.read())
                member = tarfile.TarInfo(f"{folder}/{int(view.uids[row])}.eml")
                member.size, member.mtime = len(raw), int(view.internal_dates[row])
                written.addfile(member, io.BytesIO(raw))
                yield sink.take()
    yield sink.take()


class _Sink(io.RawIOBase):
    """Holds what was written until it is taken."""

    def __init__(self) -> None:
        super().__init__()
        self._held = bytearray()

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: object, /) -> int:
        """Hold more."""
        self._held += data  # type: ignore[arg-type]
        return len(data)  # type: ignore[arg-type]

    def take(self) -> bytes:
        """Return what is held, and hold it no more."""
        taken = bytes(self._held)
        self._held.clear()
        return taken
