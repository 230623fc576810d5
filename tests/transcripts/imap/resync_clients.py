"""Clients that keep a copy of a mailbox by what they are told, each in its own way; and one that reads all of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.transcripts.imap.dialogue import Client

State = dict[int, frozenset[str]]
"""Flags by UID."""

_FETCH = re.compile(rb"\* \d+ FETCH \(UID (\d+) FLAGS \(([^)]*)\)(?: MODSEQ \((\d+)\))?\)")
_VANISHED = re.compile(rb"\* VANISHED (\(EARLIER\) )?([\d:,]+)")
_CODE = re.compile(rb"\[(UIDVALIDITY|HIGHESTMODSEQ) (\d+)\]")


@dataclass
class Copy:
    """What a client has, and up to where it believes to know everything."""

    state: State = field(default_factory=dict)
    uid_validity: int = 0
    highest: int = 1

    def hear(self, answer: bytes) -> None:
        """Take in what the server says; nothing may have changed before what it said was the highest."""
        highest = 0
        for line in answer.split(b"\r\n"):
            if found := _FETCH.fullmatch(line):
                if found[3]:
                    assert int(found[3]) > self.highest, f"{line!r} is not after {self.highest}"
                self.state[int(found[1])] = frozenset(found[2].decode().split())
            elif gone := _VANISHED.fullmatch(line):
                for uid in _numbers(gone[2]):
                    self.state.pop(uid, None)
            for name, value in _CODE.findall(line):
                if name == b"UIDVALIDITY":
                    self.uid_validity = int(value)
                else:
                    highest = int(value)
        if highest:
            assert highest >= self.highest, "HIGHESTMODSEQ went back"
            self.highest = highest


def _numbers(uid_set: bytes) -> Iterator[int]:
    for piece in uid_set.split(b","):
        low, _, high = piece.partition(b":")
        yield from range(int(low), int(high or low) + 1)


Connect = Callable[[], Client]
"""Makes a connection that has signed in."""


def full(connect: Connect) -> State:
    """Return what a client sees that comes for the first time."""
    client = connect()
    client.run("SELECT INBOX")
    answer = client.run("UID FETCH 1:* (FLAGS)")
    client.close()
    return {
        int(uid): frozenset(flags.decode().split())
        for uid, flags in re.findall(rb"\(UID (\d+) FLAGS \(([^)]*)\)\)", answer)
    }


def by_qresync(connect: Connect, copy: Copy, known: str = "") -> None:
    """Connect again and have SELECT tell the rest (RFC 7162 §3.2.5)."""
    client = connect()
    client.run("ENABLE QRESYNC")
    if copy.uid_validity:
        copy.hear(client.run(f"SELECT INBOX (QRESYNC ({copy.uid_validity} {copy.highest}{known}))"))
    else:
        answer = client.run("SELECT INBOX")
        copy.hear(client.run("UID FETCH 1:* (FLAGS)"))
        copy.hear(answer)
    client.close()


def by_qresync_with_pairs(connect: Connect, copy: Copy) -> None:
    """The same, saying which numbers some messages had (§3.2.5.2)."""
    uids = sorted(copy.state)
    places = [place for place in (1, len(uids) // 2, len(uids)) if place]
    places = sorted(set(places))
    known = ""
    if uids:
        numbers = ",".join(map(str, places))
        named = ",".join(str(uids[place - 1]) for place in places)
        known = f" 1:{uids[-1] + 1000} ({numbers} {named})"
    by_qresync(connect, copy, known)


def by_fetch_vanished(connect: Connect, copy: Copy) -> None:
    """Connect again and ask by UID FETCH (§3.2.6)."""
    client = connect()
    client.run("ENABLE QRESYNC")
    selected = client.run("SELECT INBOX")
    copy.hear(client.run(f"UID FETCH 1:* (FLAGS) (CHANGEDSINCE {copy.highest} VANISHED)"))
    copy.hear(selected)
    client.close()


def by_condstore(connect: Connect, copy: Copy) -> None:
    """Connect again; what changed by CHANGEDSINCE, what went by the UIDs that are left (RFC 4549 §4.3)."""
    client = connect()
    selected = client.run("SELECT INBOX (CONDSTORE)")
    copy.hear(client.run(f"UID FETCH 1:* (FLAGS) (CHANGEDSINCE {copy.highest})"))
    left = set(map(int, client.run("UID SEARCH ALL").split(b"\r\n")[0].split()[2:]))
    copy.state = {uid: flags for uid, flags in copy.state.items() if uid in left}
    copy.hear(selected)
    client.close()
