"""Promise P5: MODSEQ is monotonic, and a client that resynchronises ends in the true state."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any

import pytest

from mailcore.model.uid_set import UidSet
from mailcore.services.mailboxes.mailboxes import Mailboxes
from mailcore.store.mailbox.columns import MODSEQS
from mailcore.store.mailbox.replay import Replay
from tests.transcripts.imap import resync_clients
from tests.transcripts.imap.dialogue import Client, Imap
from tests.transcripts.imap.resync_clients import Copy

FLAGS = (r"\Seen", r"\Flagged", r"\Answered", "$Work", "$Later")
WAYS: dict[str, Callable[[resync_clients.Connect, Copy], None]] = {
    "qresync": resync_clients.by_qresync,
    "pairs": resync_clients.by_qresync_with_pairs,
    "fetch": resync_clients.by_fetch_vanished,
    "condstore": resync_clients.by_condstore,
}


class _Play:
    """Writers that change INBOX at random, one client that stays, and several that come back now and then."""

    def __init__(self, imap: Imap, seed: int) -> None:
        self.imap = imap
        self.random = random.Random(seed)
        self.names = itertools.count(100)
        self.writers = [self.connect() for _ in range(2)]
        for writer in self.writers:
            writer.run("SELECT INBOX")
        self.copies = {way: Copy() for way in WAYS}
        self.staying = self.connect()
        self.staying.run("ENABLE QRESYNC")
        self.stayed = Copy()
        self.stayed.hear(self.staying.run("SELECT INBOX"))

    def connect(self) -> Client:
        return self.imap.sign_in(str(next(self.names)))

    def change(self) -> None:
        """One change by one of the writers."""
        writer = self.random.choice(self.writers)
        kind = self.random.random()
        if kind < 0.3:
            self.imap.append(*[b"Subject: x\r\n\r\n"] * self.random.choice((1, 1, 3)))
            return
        writer.run("NOOP")
        exists = writer.connection.session.mailbox.exists
        if not exists:
            return
        low, high = sorted(self.random.choices(range(1, exists + 1), k=2))
        messages = f"{low}:{min(high, low + 5)}"
        if kind < 0.7:
            sign = self.random.choice(("+", "-", ""))
            writer.run(f"STORE {messages} {sign}FLAGS.SILENT ({self.random.choice(FLAGS)})")
        elif kind < 0.85:
            writer.run(rf"STORE {messages} +FLAGS.SILENT (\Deleted)")
            writer.run("EXPUNGE")
        elif kind < 0.92:
            writer.run(f"MOVE {messages} Archive")
        else:
            writer.run(f"COPY {messages} INBOX")

    def run(self, operations: int) -> None:
        """Change things; compare each client with the truth when it has come back."""
        for number in range(operations):
            self.change()
            if self.random.random() < 0.1:
                self.stayed.hear(self.staying.run("NOOP"))
            if self.random.random() < 0.03:
                mailbox_id = self.writers[0].connection.session.mailbox.mailbox_id
                self.imap.services.messages.fold(self.imap.user.user_id, mailbox_id)
            if number % 20 == 19 or number == operations - 1:
                self.compare(last=number == operations - 1)

    def compare(self, *, last: bool) -> None:
        truth = resync_clients.full(self.connect)
        for way, come_back in WAYS.items():
            if last or self.random.random() < 0.5:
                come_back(self.connect, self.copies[way])
                assert self.copies[way].state == truth, way
        self.stayed.hear(self.staying.run("NOOP"))
        assert self.stayed.state == {uid: truth[uid] for uid in self.stayed.state}
        told = self.staying.run("UID SEARCH ALL").split(b"\r\n")[0].split()[2:]
        assert list(map(int, told)) == sorted(truth)
        for number in [number for number, client in self.imap.clients.items() if client.is_closed]:
            del self.imap.clients[number]


def test_incremental_is_full(imap: Imap) -> None:
    _Play(imap, 1).run(500)


def test_below_the_floor(imap: Imap, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the server has forgotten is told as all that is not there."""
    monkeypatch.setattr("mailcore.store.mailbox.fold.TRIM_EVERY", 1)
    monkeypatch.setattr("mailcore.store.mailbox.vanished.KEPT_CHANGES", 2)
    _Play(imap, 2).run(200)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(3, 7))
def test_incremental_is_full_for_long(imap: Imap, seed: int) -> None:
    _Play(imap, seed).run(2500)


def test_control_vanished_untold(imap: Imap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Mailboxes, "vanished_since", lambda *_args: UidSet())
    with pytest.raises(AssertionError):
        _Play(imap, 1).run(60)


def test_control_modseq_not_raised(imap: Imap, monkeypatch: pytest.MonkeyPatch) -> None:
    change = Replay._change_flags

    def changed_in_secret(self: Replay, rows: Any, entry: Any) -> Any:
        before = self.columns[MODSEQS].buffer[rows].copy()
        result = change(self, rows, entry)
        self.columns[MODSEQS].buffer[rows] = before
        return result

    monkeypatch.setattr(Replay, "_change_flags", changed_in_secret)
    with pytest.raises(AssertionError):
        _Play(imap, 1).run(60)
