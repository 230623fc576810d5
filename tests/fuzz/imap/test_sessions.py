"""Several sessions on one mailbox: each client's own books never disagree with the server (P6), in any state (N12)."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import Any

import pytest

from mailcore.services import MailServices
from tests.builders import make_services, make_user
from tests.transcripts.imap.dialogue import Client, Imap

_FETCH = re.compile(rb"\* (\d+) FETCH \((?:UID (\d+) ?)?(?:FLAGS \(([^)]*)\))?(?: ?UID (\d+))?\)\Z")
FLAGS = ["\\Seen", "\\Flagged", "\\Deleted", "\\Answered", "$Work", "$Later"]


@pytest.fixture(scope="module")
def services(directory_uri: str, shard_uris: dict[str, Any]) -> Iterator[MailServices]:
    made = make_services(directory_uri, shard_uris)
    yield made
    made.close()


@pytest.fixture
def imap(services: MailServices) -> Imap:
    return Imap(services, make_user(services))


class Book:
    """What a client that believes its server knows of the selected mailbox."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.uids: list[int | None] = []
        self.flags: list[frozenset[bytes] | None] = []
        self.seen: dict[int, int] = {}
        self.number = 0
        self.idles = False

    def select(self) -> None:
        self.uids, self.flags = [], []
        self.ask("SELECT INBOX")
        self.ask("UID FETCH 1:* (FLAGS)")

    def ask(self, command: str) -> bytes:
        self.number += 1
        tag = b"t%d" % self.number
        may_expunge = not command.startswith(("FETCH", "STORE", "SEARCH"))
        answer = self.client.ask(tag + b" " + command.encode() + b"\r\n")
        lines = answer.split(b"\r\n")
        assert lines.pop() == b""
        assert lines[-1].startswith(tag + b" "), answer
        assert b"SERVERBUG" not in answer
        for line in lines[:-1]:
            self.hear(line, may_expunge=may_expunge, command=command)
        return lines[-1]

    def hear(self, line: bytes, *, may_expunge: bool, command: str = "") -> None:
        words = line.split()
        if words[-1] == b"EXISTS":
            count = int(words[1])
            assert count >= len(self.uids), (line, command)
            self.uids += [None] * (count - len(self.uids))
            self.flags += [None] * (count - len(self.flags))
        elif words[-1] == b"EXPUNGE":
            assert may_expunge, command
            position = int(words[1]) - 1
            assert 0 <= position < len(self.uids), line
            del self.uids[position]
            del self.flags[position]
        elif words[2:3] == [b"FETCH"]:
            match = _FETCH.match(line)
            assert match, line
            position = int(match[1]) - 1
            assert position < len(self.uids), (line, command)
            uid = match[2] or match[4]
            if uid is not None:
                assert self.uids[position] in {None, int(uid)}, (line, self.uids[position], command)
                self.uids[position] = int(uid)
            if match[3] is not None:
                self.flags[position] = frozenset(match[3].split())


@pytest.mark.parametrize("seed", range(3))
def test_every_client_ends_with_the_same_books(imap: Imap, seed: int) -> None:
    """Sequence numbers, UIDs and flags of each session after several hundred changes by all of them."""
    chance = random.Random(seed)
    imap.fill(20)
    books = [Book(imap.sign_in(str(number))) for number in range(4)]
    for book in books:
        book.select()
    for _ in range(250):
        book = chance.choice(books)
        count = len(book.uids)
        low = chance.randint(1, count) if count else 1
        high = min(count, low + chance.randrange(4))
        sign = chance.choice(["+", "-", ""])
        flags = " ".join(chance.sample(FLAGS, chance.randrange(1, 3)))
        silent = chance.choice(["", ".SILENT"])
        action = chance.randrange(12)
        if action == 0:
            imap.append(b"Subject: new\r\n\r\n")
        elif action == 1:
            book.ask("EXPUNGE")
        elif action == 2:
            book.ask("NOOP")
        elif action == 3:
            book.ask(chance.choice(["SEARCH ALL", "UID SEARCH FLAGGED"]))
        elif action == 4 and count:
            book.ask(f"COPY {low}:{high} INBOX")
        elif action == 5:
            idler = chance.choice(books)
            idler.client.ask(b"i IDLE\r\n")
            imap.append(b"Subject: woken\r\n\r\n")
            idler.client.notice()
            *lines, last, empty = idler.client.ask(b"DONE\r\n").split(b"\r\n")
            assert (last, empty) == (b"i OK IDLE completed", b"")
            idler.select()
            assert not lines
        elif action == 6 and count:
            book.ask(f"UID FETCH {chance.randrange(1, 40)}:* (FLAGS)")
        elif action in {7, 8} and count:
            book.ask(f"FETCH {low}:{high} (UID FLAGS)")
        elif count:
            answer = book.ask(f"STORE {low}:{high} {sign}FLAGS{silent} ({flags})")
            assert b" OK " in answer or b"EXPUNGEISSUED" in answer
            if silent:  # a client that is told nothing believes what it asked for
                for position in range(low - 1, high):
                    book.flags[position] = None
    truth: list[tuple[int | None, frozenset[bytes] | None]] | None = None
    for book in books:
        book.ask("NOOP")
        told = list(zip(book.uids, book.flags, strict=True))
        book.ask("FETCH 1:* (UID FLAGS)")
        now = list(zip(book.uids, book.flags, strict=True))
        for before, after in zip(told, now, strict=True):
            assert before[0] in {None, after[0]}
            assert before[1] in {None, after[1]}, (before, after)
        truth = truth or now
        assert now == truth
    fresh = Book(imap.sign_in("fresh"))
    fresh.select()
    assert list(zip(fresh.uids, fresh.flags, strict=True)) == truth


LINES = [
    b'a LOGIN nobody "x"', b"a AUTHENTICATE PLAIN", b"AGEAYg==", b"*", b"=", b"a NOOP", b"a IDLE", b"DONE",
    b"a SELECT INBOX", b"a EXAMINE Trash", b"a CLOSE", b"a UNSELECT", b"a FETCH 1 FLAGS", b"a UID FETCH 1:* (BODY[])",
    b"a STORE 1 FLAGS ()", b"a EXPUNGE", b'a LIST "" *', b"a CREATE x", b"a DELETE x", b"a RENAME x y",
    b"a APPEND INBOX {3+}\r\nabc", b"a SEARCH ALL", b"a APPEND INBOX {3}", b"abc", b"a CAPABILITY", b"a ID NIL",
    b"a ENABLE UTF8=ACCEPT", b"a COPY 1 Trash", b"a MOVE 1 Trash", b"a STATUS INBOX (MESSAGES)", b"a STARTTLS",
    b"garbage", b"", b"a", b"a {5}", b"12345", b"a UID", b"a UID EXPUNGE 1", b"\xff\xfe",
]  # fmt: skip


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("signed_in", [False, True])
def test_any_order_of_commands_is_answered(imap: Imap, seed: int, signed_in: bool) -> None:
    """N12: no crash, no exception text, every response a whole line."""
    chance = random.Random(seed)
    client = imap.sign_in() if signed_in else imap.connect()
    client.take()
    for _ in range(60):
        lines = chance.choices(LINES, k=chance.randrange(1, 4))
        answer = client.ask(b"".join(line + b"\r\n" for line in lines))
        assert answer == b"" or answer.endswith(b"\r\n")
        for word in (b"SERVERBUG", b"Traceback", b"Error(", b"mailcore", b"ObjectId"):
            assert word not in answer, (lines, answer)
        if client.is_closed:
            assert b"* BYE" in answer or b"STARTTLS" in b"".join(lines)
            break
        if chance.random() < 0.05:
            client.notice()
    client.close()
