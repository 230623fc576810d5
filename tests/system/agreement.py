"""What was acknowledged to many players, and whether it is what is there: views, mailboxes, flags of their own."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tests.system.strict_imap import StrictImap
from tests.system.tracked_session import TrackedSession, View

Copy = tuple[int, int]
"""UIDVALIDITY and UID: one copy of a message for ever."""


@dataclass
class Ledger:
    """What was acknowledged, to whomever; sets and counters are changed under the interpreter's lock."""

    faults: list[str] = field(default_factory=list)
    born: dict[Copy, bytes] = field(default_factory=dict)
    moved: set[Copy] = field(default_factory=set)
    may_go: set[Copy] = field(default_factory=set)
    """Somebody was about to move or to delete it."""
    owned: dict[tuple[int, Copy], bool] = field(default_factory=dict)
    """Whether a player's own keyword is on a copy; nobody else touches it."""
    void: set[Copy] = field(default_factory=set)
    """Flags were replaced here, so that owned keywords went."""
    derived: list[tuple[Copy, Copy]] = field(default_factory=list)
    """Which copy was made of which; who saw a message first may be told of its birth last."""
    relabelled: set[Copy] = field(default_factory=set)
    labelled: set[bytes] = field(default_factory=set)
    """Messages whose labels somebody changed: copies of them come and go."""
    counts: Counter[str] = field(default_factory=Counter)
    _highest: dict[int, tuple[int, int]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def bear(self, copy: Copy, token: bytes) -> None:
        """A UID was given; never twice to different messages."""
        with self._lock:
            if self.born.setdefault(copy, token) != token:
                self.faults.append(f"{copy} was {self.born[copy]!r} and now is {token!r}")

    def settle(self) -> None:
        """When all rest: name what is a copy of what, and what was labelled; the rest came by labels itself."""
        known = -1
        while known != len(self.born) + len(self.may_go):
            known = len(self.born) + len(self.may_go)
            for source, copy in self.derived:
                if source in self.born:
                    self.bear(copy, self.born[source])
                if source in self.may_go:
                    self.may_go.add(copy)
        self.labelled = {self.born[copy] for copy in self.relabelled if copy in self.born}

    def floor(self) -> dict[int, tuple[int, int]]:
        """HIGHESTMODSEQ and UIDNEXT by UIDVALIDITY, as anybody was told them so far."""
        with self._lock:
            return dict(self._highest)

    def rise(self, floor: dict[int, tuple[int, int]], view: View) -> Iterator[str]:
        """Compare a mailbox that was selected after `floor` was taken: neither number ever falls."""
        now = (view.highest_modseq, view.uid_next)
        before = floor.get(view.uid_validity, (0, 0))
        if now[0] < before[0] or now[1] < before[1]:
            yield f"HIGHESTMODSEQ and UIDNEXT of {view.uid_validity} fell from {before} to {now}"
        with self._lock:
            last = self._highest.get(view.uid_validity, (0, 0))
            self._highest[view.uid_validity] = max(last[0], now[0]), max(last[1], now[1])

    def count(self, what: str) -> None:
        with self._lock:
            self.counts[what] += 1


@dataclass
class Truth:
    """A mailbox as a new session finds it."""

    uid_validity: int
    flags: dict[int, frozenset[bytes]]
    tokens: dict[int, bytes]


def compare(
    truths: dict[int, Truth], sessions: Sequence[tuple[TrackedSession, bool]], ledger: Ledger, converge_s: float
) -> None:
    """Compare every session's view, and what was acknowledged, with the mailboxes as they are.

    Args:
        truths: by UIDVALIDITY; nobody changes them any more.
        sessions: with whether they idle; these must come to the truth within `converge_s` by what they are told.
        ledger: takes what is wrong.
        converge_s: for all of them together.
    """
    until = time.monotonic() + converge_s
    for number, (session, idles) in enumerate(sessions):
        truth = truths[session.view.uid_validity]
        if idles:
            while not _is_as(session, truth) and time.monotonic() < until:
                session.hear(min(1.0, until - time.monotonic()))
            if not _is_as(session, truth):
                ledger.faults.append(f"player {number} idles and was never told: {_difference(session, truth)}")
            session.done()
        else:
            session.run(b"NOOP")
        session.learn()
        if session.view.uids != list(truth.flags) or session.view.state != truth.flags:
            ledger.faults.append(f"view of player {number}: {_difference(session, truth)}")
        session.run(b"FETCH 1:* (UID FLAGS)")
        if session.view.messages and session.view.state != truth.flags:
            ledger.faults.append(f"full fetch of player {number}: {_difference(session, truth)}")
    ledger.settle()
    for truth in truths.values():
        ledger.faults += _breaches(ledger, truth)
    ledger.counts["messages left"] = sum(len(truth.flags) for truth in truths.values())


def read_truth(client: StrictImap, name: str) -> Truth:
    selected = client.ok(b"SELECT " + name.encode())
    validity = next(int(one.code.split()[1]) for one in selected if one.code and one.code.startswith(b"UIDVALIDITY"))
    found = Truth(validity, {}, {})
    exists = next(one.number for one in selected if one.kind == b"EXISTS")
    if exists:
        for response in client.ok(b"FETCH 1:* (UID FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])"):
            items = response.value
            found.flags[items[b"UID"]] = frozenset(items[b"FLAGS"])
            found.tokens[items[b"UID"]] = token_of(items[b"BODY[HEADER.FIELDS (SUBJECT)]"])
    return found


def _is_as(session: TrackedSession, truth: Truth) -> bool:
    """Whether all that a listener was told is so, and it counts right; UIDs of new messages IDLE does not tell."""
    messages = session.view.messages
    return len(messages) == len(truth.flags) and all(
        seen.uid in {None, uid} and seen.flags in {None, flags}
        for seen, (uid, flags) in zip(messages, truth.flags.items(), strict=True)
    )


def _difference(session: TrackedSession, truth: Truth) -> str:
    view = session.view
    told, there = set(view.uids), set(truth.flags)
    flags = {uid: (view.state[uid], truth.flags[uid]) for uid in told & there if view.state[uid] != truth.flags[uid]}
    return f"{len(view.messages)} of {len(there)}, strange {told - there}, missing {there - told}, flags {flags}"


def _breaches(ledger: Ledger, truth: Truth) -> Iterator[str]:
    """Compare a mailbox with what was acknowledged."""
    there = {(truth.uid_validity, uid): token for uid, token in truth.tokens.items()}
    born = {copy: token for copy, token in ledger.born.items() if copy[0] == truth.uid_validity}
    for copy, token in there.items():
        if born.get(copy) != token and not (copy not in born and token in ledger.labelled):
            yield f"{copy} is {token!r}; given as {born.get(copy)!r}"
        if copy in ledger.moved:
            yield f"{copy} was moved away and is still there"
    unlabelled = {copy for copy, token in born.items() if token in ledger.labelled}
    for copy in born.keys() - there.keys() - ledger.may_go - unlabelled:
        yield f"{copy} is lost: nobody moved or deleted it"
    for (number, copy), is_set in ledger.owned.items():
        if copy in there and copy not in ledger.void and (b"$P%d" % number in truth.flags[copy[1]]) != is_set:
            yield f"keyword of player {number} on {copy}: acknowledged {is_set}, flags {truth.flags[copy[1]]}"


def token_of(content: bytes) -> bytes:
    """Return what a message of ours is called."""
    return content.partition(b"\r\n")[0].removeprefix(b"Subject: ")
