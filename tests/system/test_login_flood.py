"""W8: floods of logins with long passwords hash little, hold little, and leave other sessions answered."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from mailcore.services import MailServices
from tests.builders import MadeUser
from tests.system.servers import RunningServer, environment_of, start
from tests.system.strict_imap import StrictImap
from tests.system.test_hostile import bounded

MEGABYTE = 1 << 20
HELD_KB = 64 * 1024
"""Two hashes of 19 MiB, and what the connections themselves take."""


@pytest.fixture
def server(services: MailServices, directory_uri: str, redis_url: str, tmp_path: Path) -> Iterator[RunningServer]:
    with start(["imap"], environment_of(directory_uri, redis_url, ["imap"]), tmp_path) as made:
        yield made
    with Redis.from_url(redis_url) as client:  # else this machine's range waits in the tests that follow
        for key in client.scan_iter("eider:failed:*"):
            client.delete(key)


def attempt(port: int, number: int) -> bytes:
    """One login of its sort; return all that was answered."""
    username = b"nobody%d@nowhere.test" % number
    password = b"x" * (MEGABYTE if number % 2 else 1000)
    with socket.create_connection(("127.0.0.1", port), 60) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(b"a LOGIN %b {%d+}\r\n%b\r\nb LOGOUT\r\n" % (username, len(password), password))
        answered = b""
        with contextlib.suppress(OSError):
            while data := connection.recv(65536):
                answered += data
    return answered


def flood(server: RunningServer, user: MadeUser, count: int, at_once: int) -> tuple[int, list[bytes]]:
    """So many logins while one session goes on asking; return how often it was answered, and what they were told."""
    port = server.port("imap")
    answered = 0
    with StrictImap.signed_in(port, user, "INBOX") as other, ThreadPoolExecutor(at_once) as pool:
        running = [pool.submit(attempt, port, number) for number in range(count)]
        while not all(one.done() for one in running):
            other.ok(b"NOOP")
            answered += 1
        return answered, [one.result() for one in running]


def check(answered: int, told: list[bytes]) -> None:
    assert answered >= 5
    assert not any(b"a OK" in one for one in told)
    assert all(b"* OK" in one or not one for one in told)
    assert sum(b"a NO" in one or b"a BAD" in one or b"BYE" in one for one in told) >= len(told) // 2


def test_a_hundred_logins_at_once(server: RunningServer, user: MadeUser) -> None:
    with bounded(server, "100 logins", HELD_KB):
        check(*flood(server, user, 100, 100))
    assert server.tracebacks() == []


@pytest.mark.soak
def test_a_thousand_logins_at_once(server: RunningServer, user: MadeUser) -> None:
    with bounded(server, "1,000 logins", HELD_KB):
        check(*flood(server, user, 1000, 1000))
    assert server.tracebacks() == []


def test_hashes_without_a_bound_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: as many hashes at once as there are logins."""
    from threading import Barrier

    from mailcore.model.secret import Secret
    from mailcore.services.accounts.passwords import Argon2, Passwords
    from mailcore.services.process.offload import InlineOffload

    together = Barrier(8)

    class Meeting(Argon2):
        def verify(self, encoded: str, password: bytes) -> bool:
            together.wait(5)
            return True

    def slot(_self: Any) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    monkeypatch.setattr(Passwords, "_slot", slot)
    passwords = Passwords(InlineOffload(), Meeting())
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda _: passwords.verify("x", Secret("p")), range(8)))
