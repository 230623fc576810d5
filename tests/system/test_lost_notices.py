"""A change whose notice is lost: the process that made it died between commit and notice, or Redis is dead.

The change is committed, so whoever idles learns of it by the poll: within 35 s.
"""

from __future__ import annotations

import smtplib
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from mailcore.services import MailServices
from mailcore.services.mailboxes.notices import POLL_ALONE_S, POLL_JITTER, POLL_S
from tests.builders import MadeUser
from tests.system import altered_server
from tests.system.servers import environment_of, start
from tests.system.strict_imap import HOST, StrictImap

PROMISED_S = 35.0
DIES = ("-m", "tests.chaos.launcher", "commit.after_push:1")
"""Killed when the head has the message and nobody was told."""
PLAIN = ("-m", "mailcore")
NO_REDIS = "redis://127.0.0.1:1/0"


@contextmanager
def idling(
    environment: dict[str, str], folder: Path, launcher: tuple[str, ...], user: MadeUser
) -> Iterator[StrictImap]:
    """A client that idles in an empty INBOX."""
    with (
        start(["imap"], environment, folder, launcher=launcher) as server,
        StrictImap.signed_in(server.port("imap"), user, "INBOX") as client,
    ):
        client.send(b"i IDLE\r\n")
        assert client.read().tag == b"+"
        yield client


def deliver(environment: dict[str, str], folder: Path, launcher: tuple[str, ...], user: MadeUser) -> None:
    """Deliver one message by a process of its own; it may die of it."""
    with start(["lmtp"], environment, folder, launcher=launcher) as server:
        with suppress(smtplib.SMTPException, OSError), smtplib.LMTP(HOST, server.port("lmtp"), timeout=20) as client:
            client.sendmail("a@example.org", [user.address], b"Subject: untold\r\n\r\n")
        if launcher is DIES:
            assert server.process.wait(20) == -9, "the fault point was not passed"


def hears(client: StrictImap, seconds: float) -> bool:
    """Whether the one message is told in time."""
    ends_at = time.monotonic() + seconds
    while (left := ends_at - time.monotonic()) > 0:
        if client.waits(left):
            response = client.read()
            if (response.kind, response.number) == (b"EXISTS", 1):
                return True
    return False


def lose(
    services: MailServices,
    user: MadeUser,
    uris: tuple[str, str],
    folder: Path,
    *,
    reader: tuple[str, ...],
    writer: tuple[str, ...],
    seconds: float,
) -> bool:
    """Lose a notice; return whether the idling client hears of the message all the same."""
    environment = environment_of(*uris, ["imap", "lmtp"])
    of_imap = {name: value for name, value in environment.items() if "LMTP" not in name}
    of_lmtp = {name: value for name, value in environment.items() if "IMAP" not in name}
    with idling(of_imap, folder, reader, user) as client:
        deliver(of_lmtp, folder, writer, user)
        assert services.mailboxes.open(user.user_id, "INBOX").exists == 1
        return hears(client, seconds)


def test_polls_are_never_further_apart_than_promised() -> None:
    assert max(POLL_S, POLL_ALONE_S) * max(POLL_JITTER) < PROMISED_S - 1


@pytest.mark.timeout(240)
def test_publisher_killed_between_commit_and_notice(
    services: MailServices, user: MadeUser, directory_uri: str, redis_url: str, tmp_path: Path
) -> None:
    often = (*altered_server.LAUNCH, "poll-often")
    assert lose(services, user, (directory_uri, redis_url), tmp_path, reader=often, writer=DIES, seconds=PROMISED_S)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("writer", [PLAIN, DIES], ids=["lives", "killed"])
def test_redis_is_dead(
    services: MailServices, user: MadeUser, directory_uri: str, tmp_path: Path, writer: tuple[str, ...]
) -> None:
    often = (*altered_server.LAUNCH, "poll-often")
    assert lose(services, user, (directory_uri, NO_REDIS), tmp_path, reader=often, writer=writer, seconds=PROMISED_S)


@pytest.mark.timeout(240)
def test_without_the_poll_the_message_would_stay_untold(
    services: MailServices, user: MadeUser, directory_uri: str, redis_url: str, tmp_path: Path
) -> None:
    """Negative control."""
    deaf = (*altered_server.LAUNCH, "no-poll")
    assert not lose(services, user, (directory_uri, redis_url), tmp_path, reader=deaf, writer=DIES, seconds=3.0)


@pytest.mark.soak
@pytest.mark.timeout(240)
@pytest.mark.parametrize("redis_is_dead", [False, True])
def test_poll_as_it_is_keeps_the_promise(
    services: MailServices, user: MadeUser, directory_uri: str, redis_url: str, tmp_path: Path, redis_is_dead: bool
) -> None:
    uris = directory_uri, NO_REDIS if redis_is_dead else redis_url
    assert lose(services, user, uris, tmp_path, reader=PLAIN, writer=DIES, seconds=PROMISED_S)
