"""W9: what is revoked ends open sessions and remembered logins on every process, with Redis and without."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from infra.devstack.binaries import REDIS_SERVER, program
from mailcore.model.secret import Secret
from mailcore.model.tenant import State
from mailcore.services import MailServices
from tests.builders import OPERATOR, MadeUser, make_services, make_user
from tests.ports import port_that_stays
from tests.system import altered_server
from tests.system.servers import RunningServer, environment_of, start
from tests.system.strict_imap import StrictImap

PATIENCE_S = 35.0
"""Longer than the promise of 5 s, for machines that are busy; the soak test keeps to that."""


@contextmanager
def redis_of_our_own(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A Redis that may be killed."""
    port = port_that_stays()
    process = subprocess.Popen(
        [program(REDIS_SERVER), "--port", str(port), "--save", "", "--bind", "127.0.0.1", "--dir", str(folder)],
        stdout=subprocess.DEVNULL,
    )
    ends_at = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError:
            assert time.monotonic() < ends_at, "Redis does not start"
            time.sleep(0.02)
    try:
        yield f"redis://127.0.0.1:{port}/0", process
    finally:
        process.kill()
        process.wait()


class World:
    """Two IMAP servers, this process, and perhaps Redis."""

    def __init__(self, services: MailServices, servers: list[RunningServer]) -> None:
        self.services = services
        self.servers = servers
        self.stack = ExitStack()

    def sessions(self, user: MadeUser, password: str, count: int = 2) -> list[StrictImap]:
        """So many sessions on each server; every second one is in IDLE."""
        found = []
        for server in self.servers:
            for number in range(count):
                client = self.stack.enter_context(StrictImap(server.port("imap")))
                client.ok(f'LOGIN {user.address} "{password}"'.encode())
                if number % 2:
                    client.ok(b"SELECT INBOX")
                    client.send(b"i IDLE\r\n")
                    assert client.read().tag == b"+"
                found.append(client)
        return found

    def is_refused(self, user: MadeUser, password: str) -> bool:
        """Whether every server refuses it, or none does."""
        answers = {self._answer(server, user, password) for server in self.servers}
        assert len(answers) == 1
        return answers == {b"NO"}

    def must_refuse(self, user: MadeUser, password: str, seconds: float) -> None:
        """Every server refuses it within so many seconds; none is asked again: without Redis it lets few guess on."""
        ends_at = time.monotonic() + seconds
        for server in self.servers:
            while self._answer(server, user, password) != b"NO":
                assert time.monotonic() < ends_at, "what is gone still opens sessions"

    @staticmethod
    def _answer(server: RunningServer, user: MadeUser, password: str) -> bytes:
        with StrictImap(server.port("imap")) as client:
            return client.run(f'LOGIN {user.address} "{password}"'.encode())[-1].kind


@contextmanager
def world(
    directory_uri: str, shard_uris: dict[str, Any], redis_url: str | None, folder: Path, *alteration: str
) -> Iterator[World]:
    services = make_services(directory_uri, shard_uris, redis_url)
    environment = environment_of(directory_uri, redis_url, ["imap"])
    launcher = (*altered_server.LAUNCH, *alteration) if alteration else ("-m", "mailcore")
    with ExitStack() as stack:
        stack.callback(services.close)
        servers = [stack.enter_context(start(["imap"], environment, folder, launcher=launcher)) for _ in range(2)]
        made = World(services, servers)
        stack.callback(made.stack.close)
        yield made


def must_end(clients: list[StrictImap], seconds: float) -> list[bytes]:
    """Every client hears BYE, without asking, within so many seconds; return what they were told."""
    ends_at = time.monotonic() + seconds
    told = []
    for client in clients:
        client.socket.settimeout(max(ends_at - time.monotonic(), 0.01))
        answer = client.read()
        assert answer.kind == b"BYE", answer
        told.append(answer.value)
        with pytest.raises((EOFError, ConnectionError)):
            client.read()
    return told


def must_go_on(clients: list[StrictImap]) -> None:
    for number, client in enumerate(clients):
        if number % 2:
            client.send(b"DONE\r\n")
            client.until(b"i")
        client.ok(b"NOOP")


def revoke_app_password(world: World, user: MadeUser, seconds: float) -> None:
    """Its sessions end, those of another app password and of the master password go on."""
    made, letters = world.services.app_passwords.create(OPERATOR, user.user_id, "stolen")
    _, others = world.services.app_passwords.create(OPERATOR, user.user_id, "kept")
    stolen = world.sessions(user, letters.reveal_text())
    kept = world.sessions(user, others.reveal_text()) + world.sessions(user, user.password)
    world.services.app_passwords.revoke(OPERATOR, user.user_id, made.id)
    world.must_refuse(user, letters.reveal_text(), seconds)
    told = must_end(stolen, seconds)
    assert set(told) == {b"This app password was revoked or has expired"}
    assert not world.is_refused(user, others.reveal_text())
    assert world.is_refused(user, letters.reveal_text())
    must_go_on(kept)


def change_password(world: World, user: MadeUser, seconds: float) -> None:
    clients = world.sessions(user, user.password)
    world.services.users.set_password(OPERATOR, user.user_id, Secret("another password"))
    world.must_refuse(user, user.password, seconds)
    assert not world.is_refused(user, "another password")
    assert world.is_refused(user, user.password)
    assert set(must_end(clients, seconds)) == {b"The password was changed, sign in again"}


def suspend_user(world: World, user: MadeUser, seconds: float) -> None:
    clients = world.sessions(user, user.password)
    world.services.users.set_state(OPERATOR, user.user_id, State.SUSPENDED)
    world.must_refuse(user, user.password, seconds)
    assert set(must_end(clients, seconds)) == {b"This login is disabled"}
    assert world.is_refused(user, user.password)


def suspend_tenant(world: World, user: MadeUser, seconds: float) -> None:
    clients = world.sessions(user, user.password)
    world.services.tenants.set_state(OPERATOR, user.tenant_id, State.SUSPENDED)
    assert set(must_end(clients, seconds)) == {b"This login is disabled"}
    world.must_refuse(user, user.password, seconds)
    assert world.is_refused(user, user.password)


def log_out(world: World, user: MadeUser, seconds: float) -> None:
    clients = world.sessions(user, user.password)
    world.services.users.log_out(OPERATOR, user.user_id, "Please read the news first")
    assert set(must_end(clients, seconds)) == {b"Please read the news first"}
    assert not world.is_refused(user, user.password)


WAYS: list[Callable[[World, MadeUser, float], None]] = [
    revoke_app_password, change_password, suspend_user, suspend_tenant, log_out,
]  # fmt: skip


def test_with_redis_without_and_after_its_death(directory_uri: str, shard_uris: dict[str, Any], tmp_path: Path) -> None:
    with (
        redis_of_our_own(tmp_path) as (redis_url, redis),
        world(directory_uri, shard_uris, redis_url, tmp_path) as made,
    ):
        for way in WAYS:
            way(made, make_user(made.services), PATIENCE_S)
        redis.kill()
        redis.wait()
        for way in (revoke_app_password, suspend_tenant):
            way(made, make_user(made.services), PATIENCE_S)


@pytest.mark.soak
def test_within_five_seconds(directory_uri: str, shard_uris: dict[str, Any], tmp_path: Path) -> None:
    """A hundred times with Redis, and as often without."""
    with (
        redis_of_our_own(tmp_path) as (redis_url, redis),
        world(directory_uri, shard_uris, redis_url, tmp_path) as made,
    ):
        for _ in range(20):
            for way in WAYS:
                way(made, make_user(made.services), 5.0)
        redis.kill()
        redis.wait()
        for _ in range(20):
            for way in WAYS:
                way(made, make_user(made.services), 5.0)


def test_servers_that_never_look_would_be_seen(
    directory_uri: str, shard_uris: dict[str, Any], redis_url: str, tmp_path: Path
) -> None:
    """Negative control: nobody looks after open sessions."""
    with world(directory_uri, shard_uris, redis_url, tmp_path, "blind-sessions") as made, pytest.raises(TimeoutError):
        change_password(made, make_user(made.services), 5.0)
