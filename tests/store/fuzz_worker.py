"""One process of the writers' fuzz: its role stands in a JSON file.

A writer changes the mailboxes of one user at random and writes a journal: a line before each
change that could be done twice or lost if the process dies, and one after it was acknowledged.
It may kill itself at any fault point. A checker reads the same mailboxes in two ways and compares.
Other tests can add actions to `ACTIONS`.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bson import ObjectId

from mailcore import fault
from mailcore.errors import MailboxBusy
from mailcore.model.actor import Actor, ActorKind, Door
from mailcore.model.changes import Cause
from mailcore.model.flags import ANSWERED, DELETED, FLAGGED, SEEN, FlagOperation, FlagSet
from mailcore.model.ids import MailboxId, UserId
from mailcore.model.limits import DEFAULT_LIMITS
from mailcore.model.row import NewRow
from mailcore.model.uid_set import UidSet
from mailcore.services import MailServices
from mailcore.services.mailboxes import transfers
from mailcore.store.mailbox import fold, heads
from mailcore.store.mailbox.loading import load_view, refresh_view
from mailcore.store.mailbox.view import MailboxView, uid_set_of
from tests.builders import make_services

MAILBOXES = ("INBOX", "Archive", "Trash")
MOVES = {"INBOX": "Archive", "Archive": "Trash", "Trash": "INBOX"}
"""Each mailbox's messages move to one other only, so that every duplicate is a fault."""
POINTS = (
    "commit.before_push",
    "commit.after_push",
    "expunge.before_push",
    "fold.after_consequences",
    "fold.after_segments",
    "fold.after_swap",
    "move.after_copy",
)
ACTOR = Actor(ActorKind.SYSTEM, Door.WORKER, "fuzz")


@dataclass(frozen=True)
class Config:
    """What one process does."""

    role: str
    directory_uri: str
    user_id: str
    journal: str
    stop: str
    """The process ends when this file is there."""
    seed: int
    death: float = 0.0
    """Probability of dying at each fault point passed."""
    sabotage: str = ""
    """A fault put in on purpose, to see that it is found."""
    extra: dict[str, Any] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(self.__dict__))

    @classmethod
    def read(cls, path: Path) -> Config:
        return cls(**json.loads(path.read_text()))


class Fault(AssertionError):
    """An invariant does not hold."""


class Journal:
    """Lines that survive the process, whenever it is killed."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(self, event: str, **fields: Any) -> None:
        os.write(self._file, json.dumps({"event": event} | fields).encode() + b"\n")


class Writer:
    """Changes mailboxes at random."""

    def __init__(self, config: Config, services: MailServices) -> None:
        self.config = config
        self.services = services
        self.user_id = UserId(ObjectId(config.user_id))
        self.journal = Journal(config.journal)
        self.random = random.Random(config.seed)
        self.ids = {entry.name: entry.id for entry in services.mailboxes.tree(self.user_id) if entry.name in MAILBOXES}
        self._numbers = 0

    def run(self) -> None:
        names, weights = zip(*((name, weight) for name, (weight, _) in ACTIONS.items()), strict=True)
        while not Path(self.config.stop).exists():
            action = self.random.choices(names, weights)[0]
            try:
                ACTIONS[action][1](self)
            except MailboxBusy:
                self.journal.write("busy", action=action)

    def number(self) -> str:
        """A name for one attempt, that no other process gives."""
        self._numbers += 1
        return f"{os.getpid()}-{self._numbers}"

    def mailbox(self) -> tuple[str, MailboxId]:
        name = self.random.choice(MAILBOXES)
        return name, self.ids[name]

    def some(self, view: MailboxView, most: int) -> UidSet:
        """A few UIDs of a view: a range, or scattered, some of them gone."""
        if not view.exists:
            return UidSet()
        first = self.random.randrange(view.exists)
        if self.random.random() < 0.5:
            rows = range(first, min(view.exists, first + self.random.randint(1, most)))
            return uid_set_of(view.uids[list(rows)])
        return UidSet.of(
            max(1, int(self.random.choice(view.uids)) + self.random.choice((0, 0, 0, 1)))
            for _ in range(self.random.randint(1, most))
        )

    def view(self, mailbox_id: MailboxId) -> MailboxView:
        known = self.services.mailboxes.cached(self.user_id, mailbox_id)
        if known is None or self.random.random() < 0.3:
            return self.services.mailboxes.refresh(self.user_id, mailbox_id)
        return known


def append(writer: Writer) -> None:
    name, mailbox_id = writer.mailbox()
    count = writer.random.choice((1, 1, 1, 1, 2, 3, 60))
    rows = [
        NewRow(ObjectId().binary, writer.random.choice((0, 0, SEEN)), writer.random.randint(1, 9999), 1, 2, 3, 4)
        for _ in range(count)
    ]
    keywords = [writer.random.choice(((), (), ("Work",), ("work", "Later"))) for _ in rows]
    key = ObjectId().binary
    attempt = writer.number()
    oids = [row.message_oid.hex() for row in rows]
    writer.journal.write("append?", attempt=attempt, mailbox=name, oids=oids)

    def send() -> Any:
        return writer.services.messages.commit_rows(
            writer.user_id, mailbox_id, rows, Cause.DELIVERY, ACTOR, key, keywords=keywords
        )

    commit = send()
    if writer.random.random() < 0.1:
        again = send()
        if writer.config.sabotage != "no-keys" and (again.modseq, again.first_uid) != (commit.modseq, commit.first_uid):
            raise Fault("sent twice, committed twice", commit, again)
    writer.journal.write("append", attempt=attempt, mailbox=name, uid=commit.first_uid, modseq=commit.modseq, oids=oids)


def store(writer: Writer) -> None:
    name, mailbox_id = writer.mailbox()
    uids = writer.some(writer.view(mailbox_id), 40)
    flags = FlagSet(
        writer.random.choice((SEEN, FLAGGED, ANSWERED, SEEN | FLAGGED, DELETED)),
        writer.random.choice(((), (), ("Work",), (f"k{writer.random.randrange(20)}",))),
    )
    operation = writer.random.choice(tuple(FlagOperation))
    result = writer.services.messages.store(writer.user_id, ACTOR, mailbox_id, uids, operation, flags)
    if set(result.changed) - set(uids):
        raise Fault("changed what was not asked for")
    gone = set(result.changed) - set(result.view.uids.tolist())  # expunged by another, after the commit
    if gone & set(writer.services.mailboxes.refresh(writer.user_id, mailbox_id).uids.tolist()):
        raise Fault("changed what was not there")
    if result.changed:
        writer.journal.write("store", mailbox=name, count=len(result.changed))


def expunge(writer: Writer) -> None:
    name, mailbox_id = writer.mailbox()
    view = writer.view(mailbox_id)
    uids = writer.some(view, 30 if view.exists > 400 else 4)
    if writer.random.random() < 0.2:
        result = writer.services.messages.expunge(writer.user_id, ACTOR, mailbox_id, uids)
    else:
        result = writer.services.messages.expunge(writer.user_id, ACTOR, mailbox_id, uids, only_deleted=False)
    if len(result.view.rows_of(result.expunged)):
        raise Fault("expunged and still there")
    if result.expunged:
        writer.journal.write("expunge", mailbox=name, uids=list(result.expunged))


def copy(writer: Writer) -> None:
    name, mailbox_id = writer.mailbox()
    target = writer.random.choice(MAILBOXES)
    view = writer.view(mailbox_id)
    uids = writer.some(view, 3)
    oids = [view.message_oid(int(row)).hex() for row in view.rows_of(uids)]
    uids = uid_set_of(view.uids[view.rows_of(uids)])
    if not oids:
        return
    attempt = writer.number()
    writer.journal.write("copy?", attempt=attempt, oids=oids)
    result = writer.services.messages.copy(writer.user_id, ACTOR, mailbox_id, uids, target)
    copied = [oids[index] for index, uid in enumerate(uids) if uid in result.source]
    writer.journal.write("copy", attempt=attempt, source=name, mailbox=target, oids=copied, uids=list(result.target))


def move(writer: Writer) -> None:
    name, mailbox_id = writer.mailbox()
    view = writer.view(mailbox_id)
    uids = writer.some(view, 40)
    result = writer.services.messages.move(writer.user_id, ACTOR, mailbox_id, uids, MOVES[name])
    if len(result.view.rows_of(result.source)):
        raise Fault("moved and still there")
    if result.source:
        writer.journal.write("move", mailbox=name, source=list(result.source), target=list(result.target))


def fold_now(writer: Writer) -> None:
    _, mailbox_id = writer.mailbox()
    if writer.services.messages.fold(writer.user_id, mailbox_id):
        writer.journal.write("fold")


ACTIONS: dict[str, tuple[float, Callable[[Writer], None]]] = {
    "append": (10, append),
    "store": (8, store),
    "expunge": (4, expunge),
    "copy": (1, copy),
    "move": (2, move),
    "fold": (1, fold_now),
}
"""Weight and action by name."""


class Checker:
    """Reads mailboxes incrementally and afresh, and compares."""

    def __init__(self, config: Config, services: MailServices) -> None:
        self.config = config
        self.services = services
        self.user_id = UserId(ObjectId(config.user_id))
        self.journal = Journal(config.journal)
        self.ids = {entry.name: entry.id for entry in services.mailboxes.tree(self.user_id) if entry.name in MAILBOXES}
        self.views: dict[str, MailboxView] = {}
        self.oids: dict[str, dict[int, bytes]] = {name: {} for name in MAILBOXES}

    def run(self) -> None:
        compared = 0
        while not Path(self.config.stop).exists():
            for name in MAILBOXES:
                compared += self.check(name)
        self.journal.write("checked", count=compared)

    def check(self, name: str) -> bool:
        stores = self.services.placement.home(self.user_id).shard
        fresh = load_view(stores, self.user_id, self.ids[name])
        known = self.views.get(name)
        if known is None:
            self.views[name] = known = fresh
        self.sound(name, known, fresh)
        newer, _ = refresh_view(stores, known)
        self.sound(name, known, newer)
        self.views[name] = newer
        for _ in range(20):
            if fresh.highest_modseq == newer.highest_modseq:
                break
            fresh, _ = refresh_view(stores, fresh)
            newer, _ = refresh_view(stores, newer)
        else:
            return False
        for one, other in zip(fresh.columns().arrays(), newer.columns().arrays(), strict=True):
            if one.shape != other.shape or (one != other).any():
                raise Fault("incremental and fresh view differ", name)
        return True

    def sound(self, name: str, older: MailboxView, newer: MailboxView) -> None:
        if newer.highest_modseq < older.highest_modseq or newer.uid_next < older.uid_next:
            raise Fault("MODSEQ or UIDNEXT went back", name)
        if newer.exists and ((newer.uids[1:] <= newer.uids[:-1]).any() or newer.uids[-1] >= newer.uid_next):
            raise Fault("UIDs do not ascend", name)
        known = self.oids[name]
        for uid, oid in zip(newer.uids.tolist(), map(bytes, newer.message_oids), strict=True):
            if known.setdefault(uid, oid) != oid:
                raise Fault("a UID changed its message", name, uid)


class _Strict(logging.Handler):
    """Makes a fault of what the engine logs as one."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR:
            raise Fault(record.getMessage(), record.__dict__.get("folded"), record.__dict__.get("head"))


def set_small_limits() -> None:
    """Make folds, row blocks and sealed segments frequent, and old segments short-lived."""
    for name, value in {
        "fold_entries": 16,
        "segment_rows": 128,
        "old_segment_s": 1,
        "log_entry_bytes": 700,
    }.items():
        object.__setattr__(DEFAULT_LIMITS, name, value)
    transfers.BLIND_AFTER_S = float("-inf")  # type: ignore[misc]  # duplicates are then faults without exception


def sabotage(kind: str) -> None:
    """Put in one fault."""
    commit, swap = heads.Heads.commit, heads.Heads.swap
    if kind == "no-compare-and-set":

        def careless_commit(self: Any, user: Any, mailbox: Any, entry: Any, changes: Any, _: Any = None) -> Any:
            return commit(self, user, mailbox, entry, changes)

        heads.Heads.commit = careless_commit  # type: ignore[method-assign,assignment]
    elif kind == "no-generation":

        def careless_swap(self: Any, user: Any, mailbox: Any, wanted: Any) -> bool:
            head = self.read(user, mailbox)
            return swap(self, user, mailbox, fold.Swap(**_fields(wanted) | {"generation": head.state.generation}))

        heads.Heads.swap = careless_swap  # type: ignore[method-assign]
    elif kind == "no-consequences":
        fold.Fold._write_consequences = lambda *_: None  # type: ignore[method-assign]
    elif kind == "no-keys":

        def careless_key(self: Any, user: Any, mailbox: Any, entry: Any, *rest: Any) -> Any:
            changed = {"key": os.urandom(16)} if entry.op == 1 else {}
            return commit(self, user, mailbox, type(entry)(**_fields(entry) | changed), *rest)

        heads.Heads.commit = careless_key  # type: ignore[method-assign,assignment]


def _fields(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


def main(path: str) -> None:
    config = Config.read(Path(path))
    set_small_limits()
    sabotage(config.sabotage)
    logging.getLogger("mailcore").addHandler(_Strict())
    services = make_services(config.directory_uri, {})
    dice = random.Random(f"{config.seed}-{os.getpid()}-{time.time_ns()}")

    def may_die() -> None:
        if dice.random() < config.death:
            os.kill(os.getpid(), signal.SIGKILL)

    if config.death:
        fault.install(dict.fromkeys(POINTS, may_die))
    worker = Writer(config, services) if config.role == "writer" else Checker(config, services)
    try:
        worker.run()
    except Fault as found:
        worker.journal.write("fault", what=repr(found.args))
        raise


def nursery() -> None:
    """Fork a process for each configuration named on standard input, so that none imports anything itself.

    Says on standard output, one JSON list a line, who began (path, pid) and who ended (pid, signal or exit code).
    """
    os.set_blocking(0, False)
    rest = b""
    while True:
        try:
            data = os.read(0, 65536)
            if not data:
                return
            *paths, rest = (rest + data).split(b"\n")
            for path in paths:
                pid = os.fork()
                if pid == 0:
                    _child(path.decode())
                print(json.dumps([path.decode(), pid]), flush=True)
        except BlockingIOError:
            time.sleep(0.01)
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            continue
        if pid:
            print(json.dumps([pid, os.waitstatus_to_exitcode(status)]), flush=True)


def _child(path: str) -> None:
    code = 1
    try:
        stderr = os.open(Path(path).with_suffix(".stderr"), os.O_WRONLY | os.O_CREAT)
        os.dup2(stderr, 2)
        faulthandler.register(signal.SIGUSR1, all_threads=True)
        main(path)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    nursery()
