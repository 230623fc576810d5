"""INPROGRESS (RFC 9585): who waits long hears that work goes on, and no more often than every ten seconds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

import pytest

from mailcore.model.actions import Flush, Send
from mailcore.services import MailServices
from mailcore.services.search.text_blocks import RANGE_UIDS
from tests.builders import make_services, make_user
from tests.transcripts.imap.dialogue import Imap

Result = TypeVar("Result")


class _Slow:
    """An `Offload` in whose pauses time passes."""

    def __init__(self) -> None:
        self.now = 0.0
        self.step_s = 0.0

    def run(self, function: Any) -> Any:
        return function()

    def pause(self) -> None:
        self.now += self.step_s


@pytest.fixture(scope="module")
def slow() -> _Slow:
    return _Slow()


@pytest.fixture(scope="module")
def services(directory_uri: str, shard_uris: dict[str, Any], slow: _Slow) -> Iterator[MailServices]:
    made = make_services(directory_uri, shard_uris, offload=slow)
    yield made
    made.close()


@pytest.fixture(scope="module")
def three_ranges(services: MailServices, slow: _Slow) -> Imap:
    """Messages in three ranges of UIDs: 1 to 10, and ten more in each of two further ones."""
    imap = Imap(services, make_user(services))
    client = imap.sign_in(select="INBOX")
    client.connection.session.clock = lambda: slow.now
    for _ in range(2):
        imap.fill(10)
        imap.fill(RANGE_UIDS - 10, deleted=set(range(1, RANGE_UIDS - 9)))
        client.run("NOOP")
        client.run("EXPUNGE")
    imap.fill(10)
    client.run("NOOP")
    return imap


def test_long_work_is_told(three_ranges: Imap, slow: _Slow) -> None:
    """§3.1: tag, what is done, what there is to do; not when all is done."""
    slow.step_s = 0
    three_ranges.transcript("""
        C: A000 SEARCH TEXT nowhere
        S: * SEARCH
        S: A000 OK SEARCH completed
        """)
    slow.step_s = 6.0  # two pauses for each range
    three_ranges.transcript("""
        C: A001 SEARCH TEXT nowhere
        S: * OK [INPROGRESS ("A001" 10 30)] Still working
        S: * OK [INPROGRESS ("A001" 20 30)] Still working
        S: * SEARCH
        S: A001 OK SEARCH completed
        """)
    slow.step_s = 0.5
    three_ranges.transcript("""
        C: A002 SEARCH TEXT nowhere
        S: * SEARCH
        S: A002 OK SEARCH completed
        """)


def test_it_is_sent_at_once(three_ranges: Imap, slow: _Slow) -> None:
    slow.step_s = 6.0
    client = three_ranges.clients[""]
    actions = list(client.connection.receive(b"a SEARCH TEXT nowhere\r\n"))
    told = [index for index, action in enumerate(actions) if isinstance(action, Send) and b"INPROGRESS" in action.data]
    assert len(told) == 2
    assert all(isinstance(actions[index + 1], Flush) for index in told)


def test_sort_and_thread_tell_too(three_ranges: Imap, slow: _Slow) -> None:
    slow.step_s = 12.0
    client = three_ranges.clients[""]
    for command in ("SORT (SUBJECT) UTF-8 ALL", "THREAD REFERENCES UTF-8 ALL"):
        assert b'* OK [INPROGRESS ("t" ' in client.run(command), command
