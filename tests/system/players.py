"""A player: one session after the other that changes mailboxes at random, and says what was acknowledged to it.

Players with an odd number enable QRESYNC and come back to a mailbox with what they knew of it (RFC 7162).
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence

from tests.system.agreement import Copy, Ledger, token_of
from tests.system.resync import Known, enable_qresync, remember, resynchronise
from tests.system.strict_imap import Response
from tests.system.tracked_session import LOST, EndedByServer, TrackedSession

SHARED = ("INBOX", "one", "two")
"""Never deleted or renamed."""
FLEETING = ("fleeting-0", "fleeting-1", "fleeting-0/below")
CROWDED = (*("INBOX",) * 6, *SHARED[1:] * 2, *FLEETING)
"""Where players go; most of them meet in one mailbox."""
FLAGS = (b"\\Seen", b"\\Flagged", b"\\Answered", b"\\Deleted", b"$Forwarded")
LABELS = (rb"\Inbox", b"one", b"two")
EXPECTED_NO = (b"EXPUNGEISSUED", b"INUSE", b"NONEXISTENT", b"TRYCREATE", b"ALREADYEXISTS", b"HASCHILDREN", b"CANNOT")


class Player(threading.Thread):
    """One session, or several one after the other."""

    def __init__(self, connect: Callable[[], TrackedSession], ledger: Ledger, seed: str, number: int) -> None:
        super().__init__(daemon=True)
        self.number = number
        self._connect = connect
        self._known: dict[str, Known] = {}
        self.session = self._connected()
        self.operations = 0
        self.at_rest = threading.Event()
        self.may_go_on: Callable[[int], bool] = lambda _: False
        self._ledger = ledger
        self._random = random.Random(f"{seed}/{number}")
        self._actions: tuple[tuple[int, Callable[[], None]], ...] = (
            (14, self.append), (16, self.store), (10, self.mark), (8, self.copy), (10, self.move), (10, self.expunge),
            (10, self.fetch), (6, self.search), (8, self.ask), (5, self.idle), (5, self.go_elsewhere), (4, self.rename),
            (6, self.label),
        )  # fmt: skip

    def run(self) -> None:
        try:
            self.go_elsewhere()
            while self.may_go_on(self.operations):
                self._one()
                self.operations += 1
            self.rest()
        except BaseException as error:  # a thread's fault must not go unseen
            self._ledger.faults.append(f"player {self.number}: {error!r}")
        finally:
            self.at_rest.set()

    def connect_anew(self) -> None:
        """Perhaps to another process."""
        self.session.close()
        self.session = self._connected()

    def _connected(self) -> TrackedSession:
        session = self._connect()
        if self.number % 2:
            enable_qresync(session)
        return session

    def rest(self) -> None:
        """Come to rest, if possible where it is: what it was told so far is compared in the end. A listener idles."""
        if self.session.name not in SHARED or not self.session.view.selected:
            self._enter(self._random.choice(SHARED))
        self.session.learn()
        if self.is_listener and not self.session.idle():
            self._ledger.faults.append(f"player {self.number}: IDLE was refused")

    @property
    def is_listener(self) -> bool:
        return self.number % 3 == 2

    def _one(self) -> None:
        weights, actions = zip(*self._actions, strict=True)
        try:
            self._random.choices(actions, weights)[0]()
        except EndedByServer as farewell:
            if b"deleted" not in bytes(farewell.args[0]):
                self._ledger.faults.append(f"player {self.number}: BYE {farewell}")
            self._ledger.count("bye")
            self._anew()
        except LOST as error:
            self._ledger.faults.append(f"player {self.number}: {error!r}")
            self._anew()

    def _anew(self) -> None:
        self.connect_anew()
        self.go_elsewhere()

    # -- what players do ------------------------------------------------------------------------

    def append(self) -> None:
        token = b"p%d-%d" % (self.number, self.operations)
        raw = b"Subject: %b\r\n\r\n%b\r\n" % (token, b"x" * self._random.randrange(600))
        flags = b" ".join(self._random.sample(FLAGS[:3], self._random.randrange(3)))
        command = b"APPEND %b (%b) {%d+}\r\n%b" % (self._any_mailbox(), flags, len(raw), raw)
        done = self._run(command)
        if done.kind == b"OK" and done.code is not None:
            _, validity, uid = done.code.split()
            self._ledger.bear((int(validity), int(uid)), token)

    def store(self) -> None:
        """Flags of some messages, by number or UID, silently or not; sometimes replaced."""
        numbers = self._some()
        if not numbers:
            return
        operation = self._random.choices((b"+", b"-", b""), (6, 4, 1))[0]
        flags = frozenset(self._random.sample(FLAGS, self._random.randrange(1, 3)))
        copies = self._copies(numbers)
        if not operation:
            self._ledger.void |= copies
        if operation != b"-" and b"\\Deleted" in flags:
            self._ledger.may_go |= copies
        silent = self._random.random() < 0.4
        self._store(numbers, operation, flags, silent=silent)

    def mark(self) -> None:
        """This player's own keyword."""
        numbers = self._some(3)
        if not numbers:
            return
        operation = self._random.choice((b"+", b"-"))
        copies = self._copies(numbers)
        for copy in copies:
            self._ledger.owned.pop((self.number, copy), None)
        done = self._store(numbers, operation, frozenset({self._keyword}), silent=self._random.random() < 0.5)
        if done.kind == b"OK":
            self._ledger.owned |= {(self.number, copy): operation == b"+" for copy in copies}

    def copy(self) -> None:
        self._transfer(b"COPY")

    def move(self) -> None:
        self._transfer(b"MOVE")

    def label(self) -> None:
        """Add labels, take them away or replace them: copies come and go that nobody is told the UIDs of."""
        numbers = self._some(4)
        if not numbers:
            return
        self._ledger.relabelled |= self._copies(numbers)
        operation = self._random.choice((b"+", b"+", b"-", b"-", b""))
        labels = b" ".join(self._random.sample(LABELS, self._random.randrange(1, 3)))
        silent = b".SILENT" * (self._random.random() < 0.5)
        change = b" %bX-GM-LABELS%b (%b)" % (operation, silent, labels)
        by_uid = self._random.random() < 0.5
        messages = b"UID STORE " + self._uid_set(numbers) if by_uid else b"STORE " + _numbers(numbers)
        if self._run(messages + change).kind == b"OK":
            self._ledger.count("labels")

    def expunge(self) -> None:
        """Mark some as deleted, then remove these or all that anybody marked."""
        numbers = self._some(4)
        if not numbers:
            return
        self._ledger.may_go |= self._copies(numbers)
        uids = self._uid_set(numbers)
        self._store(numbers, b"+", frozenset({b"\\Deleted"}), silent=self._random.random() < 0.5)
        self._run(self._random.choice((b"EXPUNGE", b"UID EXPUNGE " + uids, b"UID EXPUNGE " + uids)))
        self._ledger.count("expunge")

    def fetch(self) -> None:
        """Something of each kind; what is UID's content must never change."""
        numbers = self._some()
        if not numbers:
            return
        validity = self.session.view.uid_validity
        subject = b"(UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])"
        what = self._random.choice((b"(FLAGS UID)", b"FLAGS", subject, b"(UID BODY[])"))
        if self._random.random() < 0.5:
            _, others = self._told(b"FETCH %b %b" % (_numbers(numbers), what))
        else:
            _, others = self._told(b"UID FETCH %b %b" % (self._uid_set(numbers), what))
        for response in others:
            if response.kind == b"FETCH" and b"UID" in response.value:
                content = response.value.get(b"BODY[]") or response.value.get(b"BODY[HEADER.FIELDS (SUBJECT)]")
                if content:
                    self._ledger.bear((validity, response.value[b"UID"]), token_of(content))

    def search(self) -> None:
        key = self._random.choice((b"ALL", b"SEEN", b"DELETED", b"UNFLAGGED", b"KEYWORD " + self._keyword, b"1:3"))
        by_uid = self._random.random() < 0.5
        _, others = self._told((b"UID SEARCH " if by_uid else b"SEARCH ") + key)
        if by_uid and key == b"ALL":
            known = {uid for uid in self.session.view.uids if uid is not None}
            for response in others:
                if response.kind == b"SEARCH" and None not in self.session.view.uids:
                    strange = set(response.value) - known - self.session.view.expunged
                    if strange:
                        self._ledger.faults.append(f"UID SEARCH found {strange}, not in the view")

    def ask(self) -> None:
        """Be told; then everything that was told so far is as a fetch of all has it: that tells nothing newer."""
        if self._random.random() < 0.3:
            self._run(b"STATUS %b (MESSAGES UIDNEXT UNSEEN)" % self._any_mailbox())
        if self._run(b"NOOP").kind != b"OK":
            return
        self.session.learn()
        told = {seen.uid: seen.flags for seen in self.session.view.messages if None not in {seen.uid, seen.flags}}
        if not told:
            return
        done, others = self._told(b"FETCH 1:%d (UID FLAGS)" % len(self.session.view.messages))
        full: dict[int, frozenset[bytes]] = {}
        for one in others:
            if one.kind == b"FETCH":
                full.setdefault(one.value[b"UID"], frozenset(one.value[b"FLAGS"]))  # the first; news may follow
        wrong = {uid: (flags, full.get(uid)) for uid, flags in told.items() if flags != full.get(uid)}
        if done.code == b"EXPUNGEISSUED":
            wrong = {uid: both for uid, both in wrong.items() if both[1] is not None}
        if wrong:
            self._ledger.faults.append(f"player {self.number}: flags by increments and in full differ: {wrong}")
        self._ledger.count("full syncs")

    def idle(self) -> None:
        if not self.session.idle():
            self.go_elsewhere()
            return
        until = time.monotonic() + self._random.random() / 5
        while (left := until - time.monotonic()) > 0:
            self.session.hear(left)
        self.session.done()

    def go_elsewhere(self) -> None:
        """Another mailbox; sometimes by CLOSE, which removes what is marked."""
        if self.session.view.selected:
            known = remember(self.session, asks=self._random.random() < 0.5)
            if known is not None:
                self._known[self.session.name] = known
            if self._random.random() < 0.2:
                self._run(self._random.choice((b"CLOSE", b"UNSELECT")))
        if not self._enter(self._random.choice(CROWDED)):
            self._enter(self._random.choice(SHARED))

    def _enter(self, name: str) -> bool:
        """Select: by what is known of it already, or by a look at everything."""
        known = self._known.get(name)
        floor = self._ledger.floor()
        if known is None or not self.session.view.vanishes or self._random.random() < 0.2:
            entered = self.session.select(name).kind == b"OK"
            self.session.learn()
        else:
            entered, told = resynchronise(self.session, name, known)
            self._ledger.count("resyncs" if told else "resyncs without news")
        if entered:
            self._ledger.faults += self._ledger.rise(floor, self.session.view)
        return entered

    def rename(self) -> None:
        """Make, rename and delete fleeting mailboxes; others have them selected."""
        one, other = (name.encode() for name in self._random.sample(FLEETING, 2))
        rename = b"RENAME %b %b" % (one, other)
        self._run(self._random.choice((b"CREATE " + one, b"CREATE " + one, rename, b"DELETE " + one)))

    # -- parts ----------------------------------------------------------------------------------

    @property
    def _keyword(self) -> bytes:
        return b"$P%d" % self.number

    def _any_mailbox(self) -> bytes:
        return self._random.choice(CROWDED).encode()

    def _some(self, most: int = 8) -> list[int]:
        """Neighbouring numbers whose UIDs this session knows."""
        known = [number for number, uid in enumerate(self.session.view.uids, 1) if uid is not None]
        if not known:
            return []
        first = self._random.randrange(len(known))
        return known[first : first + self._random.randrange(1, most + 1)]

    def _copies(self, numbers: Sequence[int]) -> set[Copy]:
        view = self.session.view
        return {(view.uid_validity, uid) for number in numbers if (uid := view.uids[number - 1]) is not None}

    def _uid_set(self, numbers: Sequence[int]) -> bytes:
        return _numbers(sorted(uid for _, uid in self._copies(numbers)))

    def _run(self, command: bytes) -> Response:
        return self._told(command)[0]

    def _told(self, command: bytes) -> tuple[Response, list[Response]]:
        done, others = self.session.run(command)
        if done.kind != b"OK":
            code = (done.code or b"").partition(b" ")[0]
            self._ledger.count(code.decode() or done.kind.decode())
            if done.kind == b"BAD" or code not in EXPECTED_NO:
                self._ledger.faults.append(f"player {self.number}: {command[:60]!r} -> {done}")
            if code == b"NONEXISTENT" and self.session.view.selected and not command.startswith((b"RENAME", b"DELETE")):
                self.go_elsewhere()
        return done, others

    def _store(self, numbers: Sequence[int], operation: bytes, flags: frozenset[bytes], *, silent: bool) -> Response:
        """STORE; a silent one tells the client nothing, so it believes what it asked for (RFC 9051 §6.4.6)."""
        item = operation + b"FLAGS" + b".SILENT" * silent
        change = b" %b (%b)" % (item, b" ".join(sorted(flags)))
        seen = [self.session.view.messages[number - 1] for number in numbers]
        before = [message.flags for message in seen]
        if silent:
            for message in seen:
                if message.flags is not None:
                    message.flags = _changed(message.flags, operation, flags)
        believed = [message.flags for message in seen]
        if self._random.random() < 0.5:
            done = self._run(b"STORE " + _numbers(numbers) + change)
        else:
            done = self._run(b"UID STORE " + self._uid_set(numbers) + change)
        if done.kind != b"OK" and done.code != b"EXPUNGEISSUED":
            for message, old, new in zip(seen, before, believed, strict=True):
                if message.flags is new:
                    message.flags = old
        return done

    def _transfer(self, verb: bytes) -> None:
        numbers = self._some(5)
        if not numbers:
            return
        meant = self._copies(numbers)
        validity = self.session.view.uid_validity
        if verb == b"MOVE":
            self._ledger.may_go |= meant
        if self._random.random() < 0.5:
            command = b"UID %b %b" % (verb, self._uid_set(numbers))
        else:
            command = b"%b %b" % (verb, _numbers(numbers))
        done, others = self._told(b"%b %b" % (command, self._any_mailbox()))
        code = next((one.code for one in (*others, done) if one.code and one.code.startswith(b"COPYUID")), None)
        if code is None:
            return
        _, target, sources, copies = code.split()
        for source, copy in zip(_spread(sources), _spread(copies), strict=True):
            if (validity, source) not in meant:
                self._ledger.faults.append(f"{verb!r} took UID {source}, {sorted(meant)} were meant")
            self._ledger.derived.append(((validity, source), (int(target), copy)))
            if verb == b"MOVE":
                self._ledger.moved.add((validity, source))
        self._ledger.count(verb.decode().lower())


def _changed(flags: frozenset[bytes], operation: bytes, changed: frozenset[bytes]) -> frozenset[bytes]:
    return flags | changed if operation == b"+" else flags - changed if operation == b"-" else changed


def _numbers(numbers: Sequence[int]) -> bytes:
    return b",".join(b"%d" % number for number in numbers)


def _spread(ranges: bytes) -> list[int]:
    found: list[int] = []
    for part in ranges.split(b","):
        low, _, high = part.partition(b":")
        found += range(int(low), int(high or low) + 1)
    return found
