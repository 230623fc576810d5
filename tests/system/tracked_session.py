"""One session's view of its mailbox, kept from what the server says alone, and every rule it must keep.

A `View` is fed each response together with the command that is in progress (RFC 9051 §5.2, §7.4.1, §7.5.1;
RFC 7162). What no server may say becomes a line in `faults`; it never raises, so that one fault does not
hide the next.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.builders import MadeUser
from tests.system.strict_imap import Response, StrictImap

NO_EXPUNGE = (b"FETCH", b"STORE", b"SEARCH", b"SORT", b"THREAD")
"""While these are in progress without UID, sequence numbers must not move (RFC 9051 §7.5.1)."""
_NUMBER = re.compile(rb"(UIDNEXT|UIDVALIDITY|HIGHESTMODSEQ) ([0-9]+)")


@dataclass
class Seen:
    """One message as the client knows it; None where it was not told."""

    uid: int | None = None
    flags: frozenset[bytes] | None = None
    modseq: int = 0


@dataclass
class View:
    """What one session knows of its selected mailbox."""

    faults: list[str] = field(default_factory=list)
    messages: list[Seen] = field(default_factory=list)
    uid_validity: int = 0
    uid_next: int = 0
    highest_modseq: int = 0
    selected: bool = False
    vanishes: bool = False
    """QRESYNC is enabled: removals come as VANISHED, never as EXPUNGE (RFC 7162 §3.2.10)."""
    expunged: set[int] = field(default_factory=set)
    """UIDs that were announced as gone, where they were known."""
    removals: int = 0

    def begin(self) -> None:
        """A mailbox is about to be selected, or left."""
        self.messages, self.uid_validity, self.uid_next, self.highest_modseq = [], 0, 0, 0
        self.selected, self.expunged = False, set()

    def take(self, response: Response, command: bytes) -> None:
        """Count one response that came while `command` was in progress (b"" if none was)."""
        kind, number = response.kind, response.number
        if response.code is not None:
            for name, value in _NUMBER.findall(response.code):
                self._code(name, int(value))
        if number is not None and not self.selected and not command.startswith((b"SELECT", b"EXAMINE")):
            self.fault(f"{kind!r} though nothing is selected", command)
        elif kind == b"EXISTS" and number is not None:
            self._exists(number, command)
        elif kind == b"EXPUNGE" and number is not None:
            self._expunge(number, command)
        elif kind == b"FETCH" and number is not None:
            self._fetch(number, response.value, command)
        elif kind == b"VANISHED":
            self._vanished(*response.value, command)
        elif kind == b"SEARCH" and not command.startswith(b"UID"):
            for found in response.value:
                if found > len(self.messages):
                    self.fault(f"SEARCH found number {found} of {len(self.messages)}", command)

    def fault(self, what: str, command: bytes) -> None:
        """Note a breach, with the command in progress."""
        self.faults.append(f"{what} during {command[:60]!r}")

    @property
    def uids(self) -> list[int | None]:
        """UIDs by sequence number."""
        return [seen.uid for seen in self.messages]

    @property
    def state(self) -> dict[int | None, frozenset[bytes] | None]:
        """Flags by UID, without Recent, which we never give."""
        return {seen.uid: seen.flags for seen in self.messages}

    # -- rules ----------------------------------------------------------------------------------

    def _code(self, name: bytes, value: int) -> None:
        if name == b"UIDVALIDITY":
            self.uid_validity = value
        elif name == b"UIDNEXT":
            self.uid_next = value
        elif value < self.highest_modseq:
            self.fault(f"HIGHESTMODSEQ went from {self.highest_modseq} back to {value}", b"")
        else:
            self.highest_modseq = value

    def _exists(self, number: int, command: bytes) -> None:
        if number < len(self.messages):
            self.fault(f"EXISTS shrinks from {len(self.messages)} to {number}", command)
        self.messages += [Seen() for _ in range(number - len(self.messages))]

    def _expunge(self, number: int, command: bytes) -> None:
        if self.vanishes:
            self.fault("EXPUNGE though QRESYNC is enabled", command)
        if command.startswith(NO_EXPUNGE) or not command:
            self.fault("EXPUNGE", command or b"(nothing)")
        if not 1 <= number <= len(self.messages):
            self.fault(f"EXPUNGE {number} of {len(self.messages)}", command)
            return
        self._gone(self.messages.pop(number - 1))

    def _vanished(self, earlier: bool, ranges: list[tuple[int, int]], command: bytes) -> None:
        if not self.vanishes:
            self.fault("VANISHED though QRESYNC is not enabled", command)
        if earlier:
            if not command.startswith((b"SELECT", b"EXAMINE", b"UID FETCH")):
                self.fault("VANISHED (EARLIER)", command)
            for low, high in ranges:
                for seen in [seen for seen in self.messages if seen.uid is not None and low <= seen.uid <= high]:
                    self.messages.remove(seen)
                    self._gone(seen)
            return
        if command.startswith(NO_EXPUNGE):
            self.fault("VANISHED", command)
        for low, high in ranges:
            for uid in range(low, high + 1):
                self._vanish(uid, command)

    def _vanish(self, uid: int, command: bytes) -> None:
        """Take one message away: the one of that UID, else one that may be it."""
        for index, seen in enumerate(self.messages):
            if seen.uid == uid or (seen.uid is None and self._may_be(index, uid)):
                self._gone(Seen(uid))
                del self.messages[index]
                return
        self.fault(f"VANISHED {uid}, which is none of ours", command)

    def _may_be(self, index: int, uid: int) -> bool:
        before = [seen.uid for seen in self.messages[:index] if seen.uid is not None]
        after = [seen.uid for seen in self.messages[index:] if seen.uid is not None]
        return (not before or before[-1] < uid) and (not after or uid < after[0])

    def _gone(self, seen: Seen) -> None:
        self.removals += 1
        if seen.uid is not None:
            if seen.uid in self.expunged:
                self.fault(f"UID {seen.uid} went twice", b"")
            self.expunged.add(seen.uid)

    def _fetch(self, number: int, items: dict[bytes, Any], command: bytes) -> None:
        if not 1 <= number <= len(self.messages):
            self.fault(f"FETCH {number} of {len(self.messages)}", command)
            return
        seen = self.messages[number - 1]
        uid = items.get(b"UID")
        if uid is not None:
            if seen.uid is None:
                if uid in self.expunged or not self._may_be_at(number - 1, uid):
                    self.fault(f"UID {uid} at number {number}, not ascending or gone before", command)
                seen.uid = uid
            elif seen.uid != uid:
                self.fault(f"number {number} was UID {seen.uid} and now is {uid}", command)
        if b"FLAGS" in items:
            seen.flags = frozenset(items[b"FLAGS"])
        modseq = items.get(b"MODSEQ", 0)
        if modseq:
            if modseq < seen.modseq:
                self.fault(f"MODSEQ of UID {seen.uid} went from {seen.modseq} back to {modseq}", command)
            seen.modseq = max(seen.modseq, modseq)

    def _may_be_at(self, index: int, uid: int) -> bool:
        left = next((seen.uid for seen in reversed(self.messages[:index]) if seen.uid is not None), 0)
        right = next((seen.uid for seen in self.messages[index + 1 :] if seen.uid is not None), 1 << 32)
        return left < uid < right


class TrackedSession:
    """A strict client whose every response goes through a `View`."""

    def __init__(self, port: int, user: MadeUser, faults: list[str]) -> None:
        self.view = View(faults)
        self.client = StrictImap(port)
        self.client.ok(f'LOGIN {user.address} "{user.password}"'.encode())
        self.name = ""
        self.commands = 0
        self.responses = 0
        self._idling: bytes | None = None

    def close(self) -> None:
        self.client.close()

    def run(self, command: bytes) -> tuple[Response, list[Response]]:
        """Send a command; return how it ended and the rest of what was said."""
        self.commands += 1
        tag = b"t%d" % self.commands
        if command.startswith((b"SELECT", b"EXAMINE")):
            self.view.begin()
        self.client.send(tag + b" " + command + b"\r\n")
        *others, done = self._until(tag, command)
        if done.kind == b"OK" and command.startswith((b"SELECT", b"EXAMINE")):
            self.view.selected = True
        elif command.startswith((b"CLOSE", b"UNSELECT")) and done.kind == b"OK":
            self.view.begin()
        return done, others

    def select(self, name: str) -> Response:
        self.name = name
        return self.run(b"SELECT " + name.encode())[0]

    def learn(self) -> None:
        """Ask for what was not told yet: UIDs and flags of new messages."""
        messages = enumerate(self.view.messages, 1)
        unknown = [number for number, seen in messages if seen.uid is None or seen.flags is None]
        if unknown:
            self.run(b"FETCH %b (UID FLAGS)" % b",".join(b"%d" % number for number in unknown))

    # -- idling ---------------------------------------------------------------------------------

    def idle(self) -> bool:
        """Begin to idle; False if the server refused."""
        self.commands += 1
        self._idling = b"t%d" % self.commands
        self.client.send(self._idling + b" IDLE\r\n")
        for response in self._until(self._idling, b"IDLE", b"+"):
            if response.tag == self._idling:
                self._idling = None
                return False
        return True

    def hear(self, seconds: float) -> bool:
        """While idling, read what comes; False when nothing came for that long."""
        ready = self.client.waits(seconds)
        if ready:
            self._take(self.client.read(), b"IDLE")
        return ready

    def done(self) -> Response:
        """End the idling."""
        assert self._idling is not None
        self.client.send(b"DONE\r\n")
        tag, self._idling = self._idling, None
        return list(self._until(tag, b"IDLE"))[-1]

    # -- reading --------------------------------------------------------------------------------

    def _until(self, *ends: bytes) -> Iterator[Response]:
        tag, command, *more = ends
        while True:
            response = self.client.read()
            self._take(response, command)
            yield response
            if response.tag == tag or response.tag in more:
                return

    def _take(self, response: Response, command: bytes) -> None:
        self.responses += 1
        if response.kind == b"BYE":
            raise EndedByServer(response.value)
        self.view.take(response, command)


class EndedByServer(EOFError):
    """BYE."""


LOST = (EOFError, ConnectionError, socket.timeout)
