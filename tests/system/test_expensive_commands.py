"""Attack N9: commands that go through a whole mailbox leave the process to everybody else; counted, not timed."""

from __future__ import annotations

import select
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from mailcore.model.uid_set import UidSet
from mailcore.services import MailServices
from mailcore.services.mailboxes.messages import NewMessage
from tests.builders import OPERATOR, MadeUser, make_user
from tests.system import altered_server
from tests.system.servers import RunningServer, environment_of, start
from tests.system.strict_imap import StrictImap

DISTINCT = 256
COPIES = 32
NEEDLES = b" ".join(b"NOT TEXT nowhere%d" % number for number in range(200))
HEAVY = {
    "search": b"SEARCH " + NEEDLES,
    "thread": b"THREAD REFERENCES UTF-8 ALL",
}
LEAST = {"search": 20, "thread": 3}
"""So often somebody else is answered meanwhile; 70 and 6 were seen."""

pytestmark = pytest.mark.soak
"""What the short form shows by counting is in `tests/transcripts/imap/test_expensive_commands.py`."""


def _fill(services: MailServices, user: MadeUser) -> None:
    messages = [
        NewMessage(
            b"Message-ID: <%d@x>\r\nIn-Reply-To: <%d@x>\r\nSubject: topic %d\r\nFrom: u%d@x.org\r\n\r\n%b\r\n"
            % (number, number // 2, number % 17, number % 31, b"words to look through " * 20)
        )
        for number in range(DISTINCT)
    ]
    mailbox_id = services.mailboxes.find(user.user_id, "INBOX").id
    services.messages.append(user.user_id, OPERATOR, "INBOX", messages)
    for _ in range(COPIES - 1):
        services.messages.copy(user.user_id, OPERATOR, mailbox_id, UidSet(((1, DISTINCT),)), "INBOX")


@pytest.fixture(scope="module")
def crowded(services: MailServices) -> MadeUser:
    """A user with many messages."""
    user = make_user(services)
    _fill(services, user)
    return user


@pytest.fixture(scope="module")
def second_crowded(services: MailServices) -> MadeUser:
    """Another user with as many."""
    user = make_user(services)
    _fill(services, user)
    return user


def _noops_meanwhile(server: RunningServer, user: MadeUser, other: MadeUser, command: bytes) -> int:
    """Return how often somebody else's NOOP is answered while a command runs."""
    port = server.port("imap")
    with StrictImap.signed_in(port, user, "INBOX") as busy, StrictImap.signed_in(port, other, "INBOX") as idle:
        busy.ok(command)  # what is read from the database is in memory now, so only pauses let others run
        count = 0
        busy.send(b"heavy " + command + b"\r\n")
        while not select.select([busy.socket], [], [], 0)[0]:
            idle.ok(b"CAPABILITY")
            count += 1
        busy.until(b"heavy")
        return count


@pytest.mark.parametrize("name", HEAVY)
def test_others_are_answered_meanwhile(
    name: str, mail_server: RunningServer, crowded: MadeUser, user: MadeUser
) -> None:
    assert _noops_meanwhile(mail_server, crowded, user, HEAVY[name]) >= LEAST[name]


def _finished_before(server: RunningServer, many: MadeUser, one: MadeUser) -> int:
    """Return how many of one user's six searches are done when another's single one, sent last, is."""
    port = server.port("imap")
    with ExitStack() as stack:

        def signed_in(user: MadeUser) -> StrictImap:
            return stack.enter_context(StrictImap.signed_in(port, user, "INBOX"))

        crowd = [signed_in(many) for _ in range(6)]
        single = signed_in(one)
        crowd[0].ok(HEAVY["search"])
        single.ok(HEAVY["search"])
        for client in crowd:
            client.send(b"heavy " + HEAVY["search"] + b"\r\n")
        single.send(b"heavy " + HEAVY["search"] + b"\r\n")
        single.until(b"heavy")
        done = len(select.select([client.socket for client in crowd], [], [], 0)[0])
        for client in crowd:
            client.until(b"heavy")
        return done


def test_sessions_of_one_user_share_one_turn(
    mail_server: RunningServer, crowded: MadeUser, second_crowded: MadeUser
) -> None:
    assert _finished_before(mail_server, crowded, second_crowded) <= 2


@pytest.fixture
def altered(
    directory_uri: str, redis_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[RunningServer]:
    """A server with the function replaced that the test names."""
    environment = environment_of(directory_uri, redis_url, ["imap"])
    with start(["imap"], environment, tmp_path, launcher=(*altered_server.LAUNCH, request.param)) as server:
        yield server


@pytest.mark.parametrize("altered", ["no-pause"], indirect=True)
def test_control_without_pauses(altered: RunningServer, crowded: MadeUser, user: MadeUser) -> None:
    """What is read anew lets others in without a pause: once in three it is all in memory."""
    for name, command in HEAVY.items():
        assert min(_noops_meanwhile(altered, crowded, user, command) for _ in range(3)) < LEAST[name]


@pytest.mark.parametrize("altered", ["no-turns"], indirect=True)
def test_control_without_turns(altered: RunningServer, crowded: MadeUser, second_crowded: MadeUser) -> None:
    """The first time some sessions still read what the others have in memory."""
    assert max(_finished_before(altered, crowded, second_crowded) for _ in range(2)) > 2
