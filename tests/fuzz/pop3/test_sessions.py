"""Sessions in any order of commands (N12), and several at once against a model (N13)."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from mailcore.services import MailServices
from tests.builders import make_services, make_user
from tests.transcripts.pop3.dialogue import Client, Pop3

LINES = [
    b"USER nobody", b"PASS x", b"AUTH PLAIN", b"AGEAYg==", b"*", b"=", b"AUTH LOGIN", b"AUTH XOAUTH2 =", b"CAPA",
    b"STAT", b"LIST", b"LIST 1", b"UIDL", b"UIDL 9", b"RETR 1", b"RETR 2", b"RETR 0", b"TOP 1 1", b"TOP 1", b"DELE 1",
    b"DELE 2", b"RSET", b"NOOP", b"UTF8", b"LANG", b"LANG *", b"STLS", b"garbage", b"", b" ", b"\xff\xfe", b"\0",
    b"RETR 99999999999999999999999", b"QUIT x", b"X" * 9000,
]  # fmt: skip


@pytest.fixture(scope="module")
def services(directory_uri: str, shard_uris: dict[str, Any]) -> Iterator[MailServices]:
    made = make_services(directory_uri, shard_uris)
    yield made
    made.close()


@pytest.fixture
def pop3(services: MailServices) -> Pop3:
    return Pop3(services, make_user(services))


@pytest.mark.parametrize("seed", range(15))
@pytest.mark.parametrize("signed_in", [False, True])
def test_any_order_of_commands_is_answered(pop3: Pop3, seed: int, signed_in: bool) -> None:
    """N12: no crash, no exception text, every reply a whole line."""
    chance = random.Random(seed)
    pop3.fill(3)
    client = pop3.sign_in() if signed_in else pop3.connect()
    for _ in range(80):
        lines = chance.choices(LINES, k=chance.randrange(1, 4))
        answer = client.ask(b"".join(line + b"\r\n" for line in lines))
        assert answer.endswith(b"\r\n")
        for word in (b"Internal error", b"Traceback", b"Error(", b"mailcore", b"ObjectId"):
            assert word not in answer, (lines, answer)
        if client.is_closed:
            assert b"Too many bad commands" in answer
            break
    client.close()
    assert pop3.services.mailboxes.open(pop3.user.user_id, "INBOX").exists == 3


class Book:
    """What one session must see: the snapshot it took, and its marks."""

    def __init__(self, client: Client, ids: dict[str, bytes]) -> None:
        self.client = client
        self.listed = [line.split()[1].decode() for line in client.lines("UIDL")]
        self.marked: set[int] = set()
        assert set(self.listed) <= set(ids) | set(self.listed)


@pytest.mark.parametrize("seed", range(4))
def test_sessions_see_their_own_snapshot_and_delete_at_quit_only(pop3: Pop3, seed: int) -> None:
    """N13: hundreds of random steps of four sessions and of arrivals, against a model."""
    chance = random.Random(seed)
    live: list[bytes] = []
    gone_ids: set[str] = set()
    books: dict[str, Book] = {}
    contents: dict[str, bytes] = {}
    for step in range(150):
        number = chance.choice("1234")
        book = books.get(number)
        if book is None:
            client = pop3.sign_in(number)
            book = books[number] = Book(client, contents)
            assert not gone_ids & set(book.listed), "a unique-id was given again"
            assert len(book.listed) == len(live) == len(set(book.listed))
            contents.update(zip(book.listed, live, strict=True))
        action = chance.randrange(8)
        at = chance.randrange(len(book.listed)) if book.listed else -1
        if action == 0:
            message = b"Subject: %d\r\n\r\n.%d\r\n" % (step, step)
            pop3.append(message)
            live.append(message)
        elif action == 1:
            book.client.run("RSET")
            book.marked.clear()
        elif action == 2 and chance.random() < 0.5:
            removed = {book.listed[index] for index in book.marked}
            book.client.run("QUIT")
            live = [each for each in live if each not in {contents[one] for one in removed}]
            gone_ids |= removed
            del books[number]
        elif action == 3 and chance.random() < 0.5:
            book.client.close()
            del books[number]
        elif action in {4, 5} and at >= 0 and at not in book.marked:
            book.client.run(f"DELE {at + 1}")
            book.marked.add(at)
        elif action == 6:
            shown = [line.split()[1].decode() for line in book.client.lines("UIDL")]
            assert shown == [uid for index, uid in enumerate(book.listed) if index not in book.marked]
        elif at >= 0:
            answer = book.client.ask(b"RETR %d\r\n" % (at + 1))
            uid = book.listed[at]
            if at in book.marked or uid in gone_ids:
                assert answer == b"-ERR No such message\r\n"
            else:
                assert answer.endswith(contents[uid].replace(b"\n.", b"\n..") + b".\r\n")
    view = pop3.services.mailboxes.open(pop3.user.user_id, "INBOX")
    stored = [
        b"".join(pop3.services.content.open(pop3.user.user_id, view.message_oid(row)).read())
        for row in range(view.exists)
    ]
    assert stored == live
