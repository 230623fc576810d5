"""Attack N9: what goes through a whole mailbox pauses between pieces that do not grow with it, and takes turns."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, TypeVar

import pytest

from mailcore.imap.commands import list as list_command
from mailcore.model.uid_set import UidSet
from mailcore.services import MailServices
from mailcore.services.mailboxes.messages import NewMessage
from mailcore.services.search.block_reader import BlockReader
from tests.builders import OPERATOR, make_services, make_user
from tests.transcripts.imap.dialogue import Client, Imap

Result = TypeVar("Result")

HEAVY = {
    "SEARCH TEXT": "SEARCH " + " ".join(f"NOT TEXT nowhere{number}" for number in range(20)),
    "SORT": "SORT (SUBJECT FROM DISPLAYTO) UTF-8 ALL",
    "THREAD": "THREAD REFERENCES UTF-8 ALL",
    "ORDEREDSUBJECT": "THREAD ORDEREDSUBJECT UTF-8 ALL",
}
MESSAGES = 128
COPIES = 24


class _Interleaved:
    """An `Offload` that lets another session be answered in each pause, and counts calls between pauses."""

    def __init__(self) -> None:
        self.meanwhile: Callable[[], None] | None = None
        self.pauses = 0
        self.calls = 0
        self.most_calls = 0

    def run(self, function: Callable[[], Result]) -> Result:
        return function()

    def pause(self) -> None:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            sys.setprofile(None)
            self.pauses += 1
            self.most_calls = max(self.most_calls, self.calls)
            meanwhile()
            self.meanwhile = meanwhile
            self.calls = 0
            sys.setprofile(self._count)

    def _count(self, _frame: FrameType, event: str, _argument: Any) -> None:
        self.calls += event in {"call", "c_call"}

    def watch(self, work: Callable[[], object], meanwhile: Callable[[], None]) -> None:
        """Do `work`, with `meanwhile` in each pause."""
        self.meanwhile, self.pauses, self.calls, self.most_calls = meanwhile, 0, 0, 0
        sys.setprofile(self._count)
        try:
            work()
        finally:
            sys.setprofile(None)
            self.most_calls = max(self.most_calls, self.calls)
            self.meanwhile = None


@pytest.fixture(scope="module")
def offload() -> _Interleaved:
    return _Interleaved()


@pytest.fixture(scope="module")
def services(directory_uri: str, shard_uris: dict[str, Any], offload: _Interleaved) -> Iterator[MailServices]:
    made = make_services(directory_uri, shard_uris, offload=offload)
    yield made
    made.close()


@pytest.fixture(scope="module")
def crowded(services: MailServices) -> tuple[Imap, Client]:
    """A user with 3,072 messages, all in memory, and a session of somebody else."""
    imap = Imap(services, make_user(services))
    imap.append(
        *(
            NewMessage(
                b"Message-ID: <%d@x>\r\nReferences: <%d@x> <%d@y>\r\nSubject: topic %d\r\nFrom: u%d@x\r\n\r\nwords\r\n"
                % (number, number // 2, number, number % 17, number % 31)
            )
            for number in range(MESSAGES)
        )
    )
    inbox = services.mailboxes.find(imap.user.user_id, "INBOX").id
    for _ in range(COPIES - 1):
        services.messages.copy(imap.user.user_id, OPERATOR, inbox, UidSet(((1, MESSAGES),)), "INBOX")
    client = imap.sign_in("heavy", "INBOX")
    for command in HEAVY.values():
        client.run(command)
    return imap, Imap(services, make_user(services)).sign_in(select="INBOX")


def _answered(offload: _Interleaved, client: Client, other: Client, command: str) -> int:
    """Return how often somebody else's NOOP was answered while a command ran."""
    offload.watch(lambda: client.run(command), lambda: other.run("NOOP") and None)  # type: ignore[func-returns-value]
    return offload.pauses


@pytest.mark.parametrize("name", HEAVY)
def test_others_are_answered_meanwhile(name: str, crowded: tuple[Imap, Client], offload: _Interleaved) -> None:
    """With 3,072 messages, three ranges of UIDs: and no piece makes more calls than 8 for each message of a range."""
    imap, other = crowded
    assert _answered(offload, imap.clients["heavy"], other, HEAVY[name]) >= 3
    assert offload.most_calls < 8 * 1024


def test_what_is_not_in_memory_yet_is_read_with_pauses(
    crowded: tuple[Imap, Client], offload: _Interleaved, services: MailServices
) -> None:
    imap, other = crowded
    services.search._unpacked._blocks.clear()
    services.sorting._columns._kept.clear()
    for name, command in HEAVY.items():
        assert _answered(offload, imap.clients["heavy"], other, command) >= 3, name


def test_a_list_of_many_names_pauses(offload: _Interleaved, services: MailServices) -> None:
    """Matching is linear in the name; between pauses there are as many names as one piece may have."""
    imap = Imap(services, make_user(services))
    client = imap.sign_in()
    for number in range(60):
        services.mailboxes.create(imap.user.user_id, OPERATOR, f"a/{number}" + " ab" * 80)
    other = imap.sign_in("2")
    patterns = " ".join(f'"*%*a%*b%*{number}%z"' for number in range(32))
    assert _answered(offload, client, other, f'LIST "" ({patterns})') >= 3
    for length in (50, 100):
        name = "ab" * length
        pattern = list_command.MailboxPattern("*%" * 50 + "z")
        steps = 0

        def count(_frame: FrameType, event: str, _argument: object) -> None:
            nonlocal steps
            steps += event == "call"

        sys.setprofile(count)
        matched = pattern.matches(list_command.MailboxName(name))
        sys.setprofile(None)
        assert not matched
        assert steps <= length * 2 + 10


def test_heavy_work_takes_turns(crowded: tuple[Imap, Client], offload: _Interleaved, services: MailServices) -> None:
    """One at a time for each user: while it runs, the user's turn is taken."""
    imap, _ = crowded
    turns = services.search._heavy
    seen: list[bool] = []
    for command in HEAVY.values():
        seen.clear()
        offload.watch(
            lambda command=command: imap.clients["heavy"].run(command),  # type: ignore[misc]
            lambda: seen.append(imap.user.user_id in turns._turns._queues),
        )
        assert any(seen), command
    assert turns is services.sorting._heavy
    assert not turns._turns._queues


def test_control_no_pauses(
    crowded: tuple[Imap, Client], offload: _Interleaved, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the pauses of reading blocks gone, one piece grows with the search."""
    imap, other = crowded
    assert _answered(offload, imap.clients["heavy"], other, HEAVY["SEARCH TEXT"]) >= 60
    ask = BlockReader._ask

    def ask_without_pause(self: BlockReader, *arguments: Any) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_Interleaved, "pause", lambda _self: None)
            return ask(self, *arguments)

    monkeypatch.setattr(BlockReader, "_ask", ask_without_pause)
    assert _answered(offload, imap.clients["heavy"], other, HEAVY["SEARCH TEXT"]) < 20
