"""The maildrop: STAT, LIST, RETR, DELE, NOOP, RSET, TOP, UIDL, QUIT (RFC 1939 §5 to §7); N13."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from mailcore.errors import StoreUnavailable
from mailcore.pop3 import maildrop
from mailcore.services.content.content import ContentStore
from mailcore.services.mailboxes.mailboxes import Mailboxes
from mailcore.services.mailboxes.messages import Messages
from mailcore.store.message.chunks import Chunks, Tier
from tests.transcripts.pop3.dialogue import Pop3


def raw(number: int, size: int = 120) -> bytes:
    """A message of exactly that many octets."""
    head = b"Subject: %d\r\n\r\n" % number
    return head + b"x" * (size - len(head) - 2) + b"\r\n"


def exists(pop3: Pop3) -> int:
    return pop3.services.mailboxes.open(pop3.user.user_id, "INBOX").exists


def test_session_of_the_rfc(pop3: Pop3) -> None:
    """The example of RFC 1939 §10, and those of §5 and §7 on the same two messages."""
    pop3.append(raw(1, 120), raw(2, 200))
    pop3.connect()
    pop3.transcript(f"""
        C: USER {pop3.user.address}
        S: +OK Password?
        C: PASS {pop3.user.password}
        S: +OK 2 messages (320 octets)
        C: STAT
        S: +OK 2 320
        C: LIST
        S: +OK 2 messages (320 octets)
        S: 1 120
        S: 2 200
        S: .
        C: LIST 2
        S: +OK 2 200
        C: LIST 3
        S: -ERR No such message
        C: RETR 1
        S: +OK 120 octets
        S: Subject: 1
        S:
        S: xxx…
        S: .
        C: DELE 1
        S: +OK Marked to be deleted
        C: DELE 1
        S: -ERR No such message
        C: NOOP
        S: +OK Done
        C: UIDL
        S: +OK 1 messages (200 octets)
        S: 2 «second»
        S: .
        C: UIDL 2
        S: +OK 2 «second»
        C: UIDL 3
        S: -ERR No such message
        C: RSET
        S: +OK 2 messages (320 octets)
        C: TOP 1 0
        S: +OK Top of message follows
        S: Subject: 1
        S:
        S: .
        C: TOP 3 10
        S: -ERR No such message
        C: RETR 2
        S: +OK 200 octets
        S: Subject: 2
        S:
        S: xxx…
        S: .
        C: DELE 1
        S: +OK Marked to be deleted
        C: DELE 2
        S: +OK Marked to be deleted
        C: STAT
        S: +OK 0 0
        C: QUIT
        S: +OK Goodbye
        """)
    assert pop3.clients[""].is_closed
    assert exists(pop3) == 0


@pytest.mark.parametrize(
    "command",
    ["STAT 1", "LIST 0", "LIST x", "LIST 1 2", "LIST -1", "RETR", "RETR 1 2", "RETR 99999999999999999999", "DELE",
     "DELE one", "TOP 1", "TOP", "TOP 1 -1", "TOP 1 1 1", "UIDL 0", "UIDL a", "NOOP x", "RSET 1", "QUIT now", "",
     " STAT", "STAT\0", "ST\rAT", "RETR\t1", "LIST １", "X" * 20],
)  # fmt: skip
def test_nonsense_is_refused(pop3: Pop3, command: str) -> None:
    pop3.fill(1)
    client = pop3.sign_in()
    answer = client.ask(command.encode() + b"\r\n")
    assert answer.startswith(b"-ERR ")
    assert answer.count(b"\r\n") == 1
    assert client.run("STAT").startswith(b"+OK 1 ")


def test_clients_that_are_careless_are_understood(pop3: Pop3) -> None:
    pop3.fill(1)
    client = pop3.sign_in()
    for command in (
        b"stat\r\n",
        b"STAT\n",
        b"STAT \r\n",
        b"Retr 1\r\n",
        b"RETR  1 \r\n",
        b"list 001\r\n",
        b"LIST \r\n",
    ):
        assert client.ask(command).startswith(b"+OK"), command


def test_pipelined_commands_are_answered_in_order(pop3: Pop3) -> None:
    """RFC 2449 §6.6."""
    pop3.append(raw(1), raw(2))
    client = pop3.connect()
    commands = ["STAT", "RETR 1", "DELE 1", "RETR 2", "QUIT", "STAT"]
    lines = [f"USER {pop3.user.address}", f"PASS {pop3.user.password}", *commands]
    answer = client.ask("".join(f"{line}\r\n" for line in lines).encode())
    assert [line for line in answer.split(b"\r\n") if line.startswith((b"+", b"-"))] == [
        b"+OK Password?", b"+OK 2 messages (240 octets)", b"+OK 2 240", b"+OK 120 octets", b"+OK Marked to be deleted",
        b"+OK 120 octets", b"+OK Goodbye",
    ]  # fmt: skip
    assert client.is_closed


def test_numbers_never_change_in_a_session(pop3: Pop3) -> None:
    """What arrives is not seen, what is marked keeps its number, what others expunge cannot be had."""
    pop3.append(*(raw(number) for number in range(1, 6)))
    client = pop3.sign_in()
    before = client.lines("UIDL")
    client.run("DELE 2")
    pop3.append(raw(6))
    imap = pop3.imap()
    imap.run(r"STORE 4 +FLAGS (\Deleted)")
    imap.run("EXPUNGE")
    assert client.run("STAT") == b"+OK 4 480\r\n"
    assert client.lines("UIDL") == [before[0], before[2], before[3], before[4]]
    assert [line.split()[0] for line in client.lines("LIST")] == [b"1", b"3", b"4", b"5"]
    assert client.retrieve(5) == raw(5)
    for command in (b"RETR 4\r\n", b"TOP 4 0\r\n", b"RETR 2\r\n", b"RETR 6\r\n", b"LIST 2\r\n"):
        assert client.ask(command) == b"-ERR No such message\r\n", command
    client.run("RSET")
    assert client.lines("UIDL") == before
    assert pop3.sign_in("2").run("STAT") == b"+OK 5 600\r\n"


def test_message_expunged_after_it_was_read_ahead_is_gone(pop3: Pop3) -> None:
    pop3.append(*(raw(number) for number in range(1, 10)))
    client = pop3.sign_in()
    client.run("RETR 1")
    client.run("RETR 2")
    imap = pop3.imap()
    imap.run(r"STORE 4 +FLAGS (\Deleted)")
    imap.run("EXPUNGE")
    assert client.retrieve(3) == raw(3)
    assert client.ask(b"RETR 4\r\n") == b"-ERR No such message\r\n"
    assert client.retrieve(5) == raw(5)


def test_retrieving_sets_no_flag(pop3: Pop3) -> None:
    pop3.append(raw(1))
    client = pop3.sign_in()
    client.run("RETR 1")
    client.run("QUIT")
    view = pop3.services.mailboxes.open(pop3.user.user_id, "INBOX")
    assert (view.unseen, int(view.flags[0])) == (1, 0)


# -- N13 ----------------------------------------------------------------------------------------


def test_dropped_connection_deletes_nothing(pop3: Pop3) -> None:
    """N13: only QUIT does; not the end of the connection, a timeout, or the end of the process."""
    pop3.append(*(raw(number) for number in range(1, 4)))
    for ends in ("close", "time_out", "drain"):
        client = pop3.sign_in()
        client.run("DELE 1")
        client.run("DELE 2")
        getattr(client, ends)()
        client.close()
        assert exists(pop3) == 3
    client = pop3.sign_in()
    client.run("DELE 2")
    client.run("QUIT")
    assert exists(pop3) == 2


def test_two_sessions_delete_what_each_has_marked(pop3: Pop3) -> None:
    """N13: nothing is locked; a message both have marked is removed once, and others' marks are nobody's."""
    pop3.append(*(raw(number) for number in range(1, 6)))
    first, second = pop3.sign_in("1"), pop3.sign_in("2")
    uids = [line.split()[1] for line in first.lines("UIDL")]
    for client, numbers in ((first, (1, 2)), (second, (2, 3))):
        for number in numbers:
            client.run(f"DELE {number}")
    first.run("QUIT")
    assert second.retrieve(5) == raw(5)
    assert second.ask(b"RETR 1\r\n") == b"-ERR No such message\r\n"
    second.run("QUIT")
    assert [line.split()[1] for line in pop3.sign_in().lines("UIDL")] == uids[3:]


def test_unique_id_is_never_given_again_and_outlives_moves(pop3: Pop3) -> None:
    """N13, RFC 1939 §7."""
    pop3.append(*(raw(number) for number in range(1, 6)))
    client = pop3.sign_in()
    seen = {line.split()[1] for line in client.lines("UIDL")}
    assert len(seen) == 5
    assert all(0 < len(uid) <= 70 and uid.isalnum() for uid in seen)
    for number in range(1, 6):
        client.run(f"DELE {number}")
    client.run("QUIT")
    pop3.append(*(raw(number) for number in range(1, 6)))
    client = pop3.sign_in()
    again = [line.split()[1] for line in client.lines("UIDL")]
    assert not seen & set(again)
    imap = pop3.imap()
    imap.run("MOVE 2 Archive")
    imap.run("SELECT Archive")
    imap.run("MOVE 1 INBOX")
    assert {line.split()[1] for line in pop3.sign_in().lines("UIDL")} == set(again)


def test_quit_that_cannot_delete_says_so_and_ends(pop3: Pop3, monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 1939 §6."""
    pop3.append(raw(1))
    client = pop3.sign_in()
    client.run("DELE 1")

    def unavailable(*_arguments: object, **_more: object) -> None:
        raise StoreUnavailable("away")

    monkeypatch.setattr(Messages, "expunge", unavailable)
    assert client.ask(b"QUIT\r\n") == b"-ERR [SYS/TEMP] Try again later\r\n"
    assert client.is_closed
    assert exists(pop3) == 1


# -- bytes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "sent"),
    [
        pytest.param(b"A: b\r\n\r\n.\r\n..\r\n.x\r\n", b"A: b\r\n\r\n..\r\n...\r\n..x\r\n", id="dots"),
        pytest.param(b".A: b\r\n\r\n", b"..A: b\r\n\r\n", id="first octet"),
        pytest.param(b"A: b\r\n\r\nend", b"A: b\r\n\r\nend\r\n", id="no line end"),
        pytest.param(b"A: b\r\n\r\nend\n", b"A: b\r\n\r\nend\n\r\n", id="bare LF at the end"),
        pytest.param(b"A: b\r\n\r\nend\r", b"A: b\r\n\r\nend\r\r\n", id="bare CR at the end"),
        pytest.param(b"A: b\n\n.\n+OK 1 octets\r\n.\r\n", b"A: b\n\n..\n+OK 1 octets\r\n..\r\n", id="smuggled end"),
        pytest.param(b"A: b\r\n\r\n\0\xff\xfe\r\n", b"A: b\r\n\r\n\0\xff\xfe\r\n", id="binary"),
    ],
)
def test_octets_are_sent_as_they_are_stored(pop3: Pop3, message: bytes, sent: bytes) -> None:
    """P2: dots aside; LIST tells the size of what is sent."""
    pop3.append(message)
    client = pop3.sign_in()
    assert client.run("RETR 1") == b"+OK %d octets\r\n" % len(message) + sent + b".\r\n"
    assert client.retrieve(1) == message
    assert client.run("LIST 1") == b"+OK 1 %d\r\n" % len(message)


def test_top(pop3: Pop3) -> None:
    body = [b"%d" % number for number in range(5)]
    pop3.append(b"A: b\r\nC: d\r\n\r\n" + b"\r\n".join(body), b"Only: header\r\n", b"A: b\r\n\r\n..\r\n.\r\n")
    client = pop3.sign_in()
    header = [b"A: b", b"C: d", b""]
    for lines, expected in ((0, []), (1, body[:1]), (4, body[:4]), (5, body), (99999999, body), (10**17, body)):
        assert client.lines(f"TOP 1 {lines}") == header + expected, lines
    assert client.lines("TOP 2 0") == [b"Only: header"]
    assert client.run("TOP 3 1").endswith(b"\r\n\r\n...\r\n.\r\n")


def test_large_message_is_sent_in_pieces(pop3: Pop3) -> None:
    message = b"Subject: large\r\n\r\n" + b".0123456789abcd\r\n" * 100_000
    pop3.append(message)
    client = pop3.sign_in()
    client.sent_sizes.clear()
    assert client.retrieve(1) == message
    assert len(client.sent_sizes) >= 1
    top = client.lines("TOP 1 3")
    assert top[2:] == [b".0123456789abcd"] * 3


def test_message_that_cannot_be_read_whole_closes_the_connection(pop3: Pop3, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of it nothing else would be understood; before it, -ERR does."""
    from mailcore.services.content.stored_content import Content

    message = b"Subject: large\r\n\r\n" + b"0123456789abcd\r\n" * 20_000
    pop3.append(message, raw(2))
    whole = Content.read
    sends = 0

    def torn(self: Content, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        data = b"".join(whole(self, start, end))
        if sends:
            yield data[:sends]
        raise StoreUnavailable("cold")

    monkeypatch.setattr(Content, "read", torn)
    client = pop3.sign_in()
    assert client.ask(b"RETR 1\r\n") == b"-ERR [SYS/TEMP] Try again later\r\n"
    sends = 100_000
    answer = client.ask(b"RETR 1\r\n")
    assert answer.startswith(b"+OK %d octets\r\n" % len(message))
    assert client.is_closed
    assert not answer.endswith(b"\r\n.\r\n")


# -- round trips --------------------------------------------------------------------------------


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many messages each read asked for; a read is two round trips."""
    asked: list[int] = []
    read = ContentStore.open_many

    def counting(self: ContentStore, user_id: object, oids: list[bytes]) -> object:
        asked.append(len(oids))
        return read(self, user_id, oids)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(ContentStore, "open_many", counting)
        yield asked


def test_client_that_retrieves_in_sequence_is_read_ahead_for(pop3: Pop3, monkeypatch: pytest.MonkeyPatch) -> None:
    messages = [raw(number) for number in range(1, 201)]
    pop3.append(*messages)
    client = pop3.sign_in()
    with counted(monkeypatch) as asked:
        assert [client.retrieve(number) for number in range(1, 201)] == messages
    assert asked == [1, 4, 16, 50, 50, 50, 29]
    with counted(monkeypatch) as asked:
        for number in (150, 3, 77, 10):
            assert client.retrieve(number) == messages[number - 1]
    assert asked == [1, 1, 1, 1]


def test_large_messages_are_not_read_ahead(pop3: Pop3, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one session holds is bounded by bytes, not by messages."""
    pop3.append(*(raw(number, 400_000) for number in range(1, 9)))
    client = pop3.sign_in()
    with counted(monkeypatch) as asked:
        for number in range(1, 9):
            client.run(f"RETR {number}")
    assert asked == [1, 4, 3]


def with_attachment(number: int, size: int = 40_000) -> bytes:
    data = base64.encodebytes(random.Random(number).randbytes(size)).replace(b"\n", b"\r\n")
    head = b"Subject: %d\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\n" % number
    return head + b"Content-Transfer-Encoding: base64\r\n\r\n" + data


def test_attachments_are_read_with_the_messages(pop3: Pop3, monkeypatch: pytest.MonkeyPatch) -> None:
    """One call for all that a batch has stored apart; none where only the beginnings are wanted."""
    large = with_attachment(99, 1_500_000)
    messages = [*(with_attachment(number) for number in range(1, 10)), large, with_attachment(10), large]
    pop3.append(*messages)
    fetched: list[int] = []
    fetch = Chunks.fetch

    def counting(self: Chunks, keys: Sequence[bytes], tier: Tier) -> dict[bytes, bytes]:
        fetched.append(len(keys))
        return fetch(self, keys, tier)

    monkeypatch.setattr(Chunks, "fetch", counting)
    client = pop3.sign_in()
    for number in range(1, 10):
        client.run(f"TOP {number} 0")
    assert fetched == []
    assert [client.retrieve(number) for number in range(1, 13)] == messages
    assert fetched == [1, 4, 5, 2, 2]


def test_attachments_that_cannot_be_read_ahead_are_asked_for_again(pop3: Pop3, monkeypatch: pytest.MonkeyPatch) -> None:
    messages = [with_attachment(number) for number in range(1, 6)]
    pop3.append(*messages)
    client = pop3.sign_in()

    def away(*_arguments: object) -> dict[bytes, bytes]:
        raise StoreUnavailable("cold")

    with monkeypatch.context() as patch:
        patch.setattr(Chunks, "fetch", away)
        for number in (1, 2):
            assert client.ask(b"RETR %d\r\n" % number) == b"-ERR [SYS/TEMP] Try again later\r\n"
    assert [client.retrieve(number) for number in (3, 4, 5, 2, 1)] == [messages[at] for at in (2, 3, 4, 1, 0)]


def test_marked_messages_are_not_read_ahead(pop3: Pop3, monkeypatch: pytest.MonkeyPatch) -> None:
    pop3.append(*(raw(number) for number in range(1, 7)))
    client = pop3.sign_in()
    for number in (3, 5):
        client.run(f"DELE {number}")
    with counted(monkeypatch) as asked:
        assert [client.retrieve(number) for number in (1, 2, 4, 6)] == [raw(number) for number in (1, 2, 4, 6)]
    assert asked == [1, 2, 1]


def test_signing_in_again_reads_one_small_thing(pop3: Pop3, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tree of mailboxes is not read again where this process knows it."""
    pop3.append(raw(1))
    pop3.sign_in("1").run("QUIT")
    trees = 0
    read = Mailboxes.tree

    def counting(self: Mailboxes, user_id: object) -> object:
        nonlocal trees
        trees += 1
        return read(self, user_id)  # type: ignore[arg-type]

    monkeypatch.setattr(Mailboxes, "tree", counting)
    assert pop3.sign_in("2").run("STAT") == b"+OK 1 120\r\n"
    assert trees == 0


def test_listing_of_many_messages_comes_in_batches(pop3: Pop3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maildrop, "LIST_BATCH", 7)
    pop3.fill(30)
    client = pop3.sign_in()
    client.run("DELE 8")
    numbers = [number for number in range(1, 31) if number != 8]
    assert [int(line.split()[0]) for line in client.lines("LIST")] == numbers
    assert [int(line.split()[0]) for line in client.lines("UIDL")] == numbers
    assert [client.run(f"UIDL {number}").split()[1:] for number in numbers] == [
        line.split() for line in client.lines("UIDL")
    ]
