"""A user's changes as they happen, and again from where somebody stopped: out of the ordered stream of events.

Notices and the poll of `Notices` only say when to look; what is told, and its order, is what the sequencer numbered.
So nothing is missing after a lost notice, without Redis, or when another process answers the next request.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from bson import ObjectId

from mailcore.errors import MailError, ValueInvalid
from mailcore.model.flags import SEEN
from mailcore.model.ids import MailboxId, UserId
from mailcore.services.accounts.connections import Connections, Lease
from mailcore.services.mailboxes.mailboxes import Mailboxes
from mailcore.services.mailboxes.notices import Notices
from mailcore.services.mailboxes.watch import Stir
from mailcore.store.mailbox.log_entry import LogEntry, Op, decode_entry
from mailcore.store.mailbox.view import MailboxView
from mailcore.store.placement import Home, Placement

EVENTS: Final = 100
"""Read and held at once."""
WINDOW: Final = 5000
"""So many of the tenant's events are looked through in one read."""
NUMBERED_WITHIN_S: Final = 5.0
"""So long after a notice a change may be without number; until then the stream is looked at often."""
OFTEN_S: Final = 0.3
SELDOM_S: Final = 5.0
_POSITION: Final = re.compile(r"([a-z0-9-]{1,64}):([0-9]{1,18})", re.ASCII)
_TREE: Final = {"mailbox.created": "CREATE", "mailbox.renamed": "RENAME", "mailbox.deleted": "DELETE"}

Command = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Update:
    """One command for the client.

    Attributes:
        position: where to go on once it is known; None if more of the same event follows, or it is no event's.
    """

    command: Command
    position: str | None = None


class Feed:
    """What one client is told; ends with `close`. Holds no more than a batch of events."""

    def __init__(self, home: Home, mailboxes: Mailboxes, notices: Notices, lease: Lease, after: int | None) -> None:
        self._home = home
        self._mailboxes = mailboxes
        self._lease = lease
        self._woken = threading.Event()
        self._stir: Stir = notices.stir(home.user_id, self._hear)
        self._look_often_until = 0.0
        self._looked_at = float("-inf")
        self.number = home.shard.trail.highest_number(home.tenant_id) if after is None else after
        """Of the last event that was looked at."""

    @property
    def position(self) -> str:
        """Where the feed stands."""
        return f"{self._home.shard.name}:{self.number}"

    def wait(self, seconds: float) -> bool:
        """Wait until it is time to read, at most so long; return whether it is."""
        self._woken.wait(min(seconds, OFTEN_S) if time.monotonic() < self._look_often_until else seconds)
        at = time.monotonic()
        if self._woken.is_set():
            self._woken.clear()
            self._look_often_until = at + NUMBERED_WITHIN_S
        gap = OFTEN_S if at < self._look_often_until else SELDOM_S
        return at - self._looked_at >= gap

    def read(self) -> Iterator[Update]:
        """Yield what was numbered since the last read, then the counters of the mailboxes concerned.

        Round trips: two if there is nothing, one more for each 5000 events of the tenant, and for flags and counters
        one for each mailbox.

        Raises:
            StoreUnavailable: the shard does not answer; nothing is skipped.
        """
        self._looked_at = time.monotonic()
        trail, user_id = self._home.shard.trail, self._home.user_id
        newest = trail.highest_number(self._home.tenant_id)
        while self.number < newest:
            upto = min(newest, self.number + WINDOW)
            found = trail.of_user(self._home.tenant_id, user_id, self.number, upto, EVENTS)
            touched: set[MailboxId] = set()
            views: dict[MailboxId, MailboxView | None] = {}
            for document in found:
                yield from self._told(document, touched, views)
                self.number = document["number"]
            if len(found) < EVENTS:
                self.number = upto
            yield from self._counters(touched)

    def close(self) -> None:
        """Tell no more."""
        self._stir.close()
        self._lease.close()

    def _hear(self) -> None:
        self._woken.set()

    # -- from events to commands ------------------------------------------------------------

    def _told(
        self, document: dict[str, Any], touched: set[MailboxId], views: dict[MailboxId, MailboxView | None]
    ) -> Iterator[Update]:
        """Yield an event's commands; only the last one moves the client's position."""
        position = f"{self._home.shard.name}:{document['number']}"
        commands = self._commands(document, touched, views)
        waiting = next(commands, None)
        for following in commands:
            assert waiting is not None
            yield Update(waiting)
            waiting = following
        if waiting is not None:
            yield Update(waiting, position)

    def _commands(
        self, document: dict[str, Any], touched: set[MailboxId], views: dict[MailboxId, MailboxView | None]
    ) -> Iterator[Command]:
        if "entry" not in document:
            name = _TREE.get(document["kind"])
            if name is not None:
                yield self._of_tree(name, document)
            return
        mailbox_id = MailboxId(ObjectId(bytes(document["_id"])[12:24]))
        entry = self._entry(mailbox_id, document)
        if entry is None or entry.op is Op.CLEAR:
            return
        touched.add(mailbox_id)
        if entry.op is Op.APPEND:
            yield from _appended(mailbox_id, document["first_uid"], entry)
        elif entry.op is Op.EXPUNGE:
            for uid in _uids(entry):
                yield {"command": "EXPUNGE", "mailbox": str(mailbox_id), "uid": uid}
        else:
            if mailbox_id not in views:
                views[mailbox_id] = self._view(mailbox_id)
            yield from _flagged(mailbox_id, views[mailbox_id], entry)

    def _of_tree(self, name: str, document: dict[str, Any]) -> Command:
        wanted, after = document.get("wanted", {}), document.get("after", {})
        command: Command = {"command": name, "path": wanted.get("to", wanted.get("mailbox", ""))}
        if "mailbox_id" in after:
            command["mailbox"] = after["mailbox_id"]
        if name == "RENAME":
            command["oldPath"] = wanted.get("mailbox", "")
            entry = self._mailboxes.tree(self._home.user_id).find(command["path"])
            if entry is not None:
                command["mailbox"] = str(entry.id)
        return command

    def _entry(self, mailbox_id: MailboxId, document: dict[str, Any]) -> LogEntry | None:
        """Return a change with its rows; None if it does not decode, or its rows are gone: a client reads anew then."""
        try:
            entry = decode_entry(bytes(document["entry"]))
            return self._home.shard.row_blocks.resolve(self._home.user_id, mailbox_id, [entry])[0]
        except (MailError, LookupError):
            return None

    def _view(self, mailbox_id: MailboxId) -> MailboxView | None:
        try:
            return self._mailboxes.refresh(self._home.user_id, mailbox_id)
        except MailError:
            return None

    def _counters(self, touched: set[MailboxId]) -> Iterator[Update]:
        if not touched:
            return
        for mailbox_id, status in self._mailboxes.status(self._home.user_id, sorted(touched)).items():
            if not status.deleted:
                yield Update(
                    {
                        "command": "COUNTERS",
                        "mailbox": str(mailbox_id),
                        "total": status.exists,
                        "unseen": status.unseen,
                    }
                )


class Updates:
    """Opens feeds."""

    def __init__(self, placement: Placement, mailboxes: Mailboxes, notices: Notices, connections: Connections) -> None:
        self._placement = placement
        self._mailboxes = mailboxes
        self._notices = notices
        self._connections = connections

    def open(self, user_id: UserId, after: str = "") -> Feed:
        """Begin to tell a user's changes: all after a position, or from now on.

        Raises:
            UserNotFound: there is no such user.
            TooManyConnections: it has as many connections open, of all kinds, as it may.
            ValueInvalid: the position is none of this user's stream; the client has to read everything anew.
            StoreUnavailable: the shard does not answer.
        """
        home = self._placement.home(user_id)
        number = _number(home, after) if after else None
        lease = self._connections.open(user_id, home.limits.connections)
        try:
            return Feed(home, self._mailboxes, self._notices, lease, number)
        except BaseException:
            lease.close()
            raise


def _number(home: Home, position: str) -> int:
    found = _POSITION.fullmatch(position)
    if found is None or found[1] != home.shard.name:
        raise ValueInvalid("not a position in this stream: read everything anew")
    number = int(found[2])
    if number > home.shard.trail.highest_number(home.tenant_id):
        raise ValueInvalid("a position that is yet to come: read everything anew")
    return number


def _appended(mailbox_id: MailboxId, first_uid: int, entry: LogEntry) -> Iterator[Command]:
    for index, row in enumerate(entry.rows()):
        yield {
            "command": "EXISTS",
            "mailbox": str(mailbox_id),
            "message": row["message_oid"].tobytes().hex(),
            "uid": first_uid + index,
            "unseen": not int(row["flags"]) & SEEN,
        }


def _flagged(mailbox_id: MailboxId, view: MailboxView | None, entry: LogEntry) -> Iterator[Command]:
    """Yield the flags as they are now of those messages that are still there."""
    for uid in _uids(entry) if view is not None else ():
        assert view is not None
        row = view.row_of(uid)
        if row >= 0:
            yield {
                "command": "FETCH",
                "mailbox": str(mailbox_id),
                "message": view.message_oid(row).hex(),
                "uid": uid,
                "flags": list(view.flag_names(int(view.flags[row]))),
                "unseen": not int(view.flags[row]) & SEEN,
            }


def _uids(entry: LogEntry) -> Iterator[int]:
    for low, high in entry.ranges():
        yield from range(int(low), int(high) + 1)
