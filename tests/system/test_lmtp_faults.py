"""LMTP while the database is away: 4xx in time, nothing lost, and on it goes (promises P1, P12)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest

from infra.devstack.stack import Stack
from mailcore.services import MailServices
from tests.builders import MadeUser, make_services, make_user
from tests.system import altered_server
from tests.system.servers import RunningServer, environment_of, start
from tests.system.test_lmtp import Raw, inbox
from tests.waiting import wait_until

PATIENCE_S = 12.0


@pytest.mark.timeout(180)
def test_database_that_stops_is_451_and_the_dialogue_goes_on(new_stack: Callable[..., Stack], tmp_path: Path) -> None:
    """The one node is stopped (SIGSTOP) before RCPT, and again before the final dot."""
    stack = new_stack(databases=("main", "redis"))
    services = make_services(stack.directory_uri, stack.shards, stack.redis_url)
    user, other = make_user(services), make_user(services)
    environment = environment_of(stack.directory_uri, stack.redis_url, ["lmtp"])
    with start(["lmtp"], environment, tmp_path) as server:
        client = Raw(server)
        client.begin(user)
        client.send(b"RSET\r\nMAIL FROM:<>\r\n")
        client.expect("250", "250")

        stack.pause("main")
        began = time.monotonic()
        client.send(f"RCPT TO:<{other.address}>\r\n".encode())  # the first one's is known for two seconds
        client.expect("451 4.3.0")
        assert time.monotonic() - began < PATIENCE_S
        idle = Raw(server)
        idle.send(b"LHLO other.test\r\nNOOP\r\n")
        idle.expect("250", "250")
        stack.resume("main")

        wait_until(lambda: takes(client, user), seconds=60)
        client.send(b"DATA\r\n")
        client.expect("354")
        stack.pause("main")
        client.send(b"Subject: first\r\n\r\n.\r\n")
        client.expect("451 4.3.0")
        stack.resume("main")

        ends_at = time.monotonic() + 60
        while True:
            client.send(f"XFORWARD IDENT=q1\r\nMAIL FROM:<>\r\nRCPT TO:<{user.address}>\r\n".encode())
            client.expect("250", "250")
            if client.reply().startswith(b"250"):
                break
            client.send(b"RSET\r\n")
            client.expect("250")
            assert time.monotonic() < ends_at
            time.sleep(0.2)
        client.send(b"DATA\r\nSubject: second\r\n\r\n.\r\n")
        client.expect("354", "250 2.0.0")
        messages = inbox(services, user)
        assert messages.count(b"Subject: second\r\n\r\n") == 1
        assert messages.count(b"Subject: first\r\n\r\n") <= 1, "what was answered 451 may be there, once"
    services.close()


@pytest.mark.timeout(240)
def test_server_waits_for_a_directory_that_is_away(new_stack: Callable[..., Stack], tmp_path: Path) -> None:
    stack = new_stack(databases=("main", "redis"))
    services = make_services(stack.directory_uri, stack.shards, stack.redis_url)
    user = make_user(services)
    services.close()
    stack.kill("main")
    environment = environment_of(stack.directory_uri, stack.redis_url, ["lmtp"])
    waiting = start(["lmtp"], environment, tmp_path, ready="server.waiting_for_directory")
    with waiting as server:
        stack.restart("main")
        server.wait_for("server.started")
        client = Raw(server)
        client.send(b"LHLO x.test\r\nMAIL FROM:<>\r\n")
        client.expect("250", "250")
        wait_until(lambda: takes(client, user))


def takes(client: Raw, user: MadeUser) -> bool:
    client.send(f"RCPT TO:<{user.address}>\r\n".encode())
    return client.reply().startswith(b"250 2.1.5")


class Agent(threading.Thread):
    """A transfer agent: tries each message until it is answered 250, until `ending`; keeps what went wrong."""

    def __init__(self, server: RunningServer, user: MadeUser, number: int) -> None:
        super().__init__()
        self.server = server
        self.user = user
        self.number = number
        self.accepted: list[str] = []
        self.ending = threading.Event()
        self.wrong: list[str] = []
        self.told_to_come_again = 0

    def run(self) -> None:
        while not self.ending.is_set():
            try:
                self._session()
            except OSError as error:
                self.wrong.append(f"cut off: {error}")

    def _session(self) -> None:
        client = Raw.__new__(Raw)
        try:
            Raw.__init__(client, self.server)
        except (AssertionError, OSError):
            self.told_to_come_again += 1  # 421 in the greeting, or nobody listened at that instant
            return
        client.send(b"LHLO mta.test\r\n")
        if not self._answered(client, "250"):
            return
        while not self.ending.is_set():
            ident = f"q{self.number}-{len(self.accepted)}"
            begin = f"XFORWARD IDENT={ident}\r\nMAIL FROM:<>\r\nRCPT TO:<{self.user.address}>\r\nDATA\r\n"
            client.send(begin.encode())
            if not all(self._answered(client, code) for code in ("250", "250", "250", "354")):
                return
            client.send(f"Subject: {ident}\r\n\r\n.\r\n".encode())
            if not self._answered(client, "250"):
                return
            self.accepted.append(ident)

    def _answered(self, client: Raw, code: str) -> bool:
        reply = client.reply().decode()
        if reply.startswith(code):
            return True
        if reply.startswith("421 4.3.2"):
            self.told_to_come_again += 1
        else:
            self.wrong.append(reply or "cut off without a word")
        return False


def let_deliver(agents: Sequence[Agent]) -> None:
    """Wait until each agent has delivered five more, or something has gone wrong."""
    goals = [len(agent.accepted) + 5 for agent in agents]
    wait_until(
        lambda: all(agent.wrong or len(agent.accepted) >= goal for agent, goal in zip(agents, goals, strict=True))
    )


@pytest.mark.timeout(240)
def test_rolling_restart_loses_nothing_and_cuts_nobody_off(
    directory_uri: str, shard_uris: dict[str, Any], redis_url: str, tmp_path: Path
) -> None:
    """Promise P13, fault F15: two processes on one port, each ended and started again under load."""
    services = make_services(directory_uri, shard_uris, redis_url)
    users = [make_user(services) for _ in range(4)]
    environment = environment_of(directory_uri, redis_url, ["lmtp"])
    with ExitStack() as stack:
        first = stack.enter_context(start(["lmtp"], environment, tmp_path))
        environment["EIDER_LMTP_LISTEN"] = f"127.0.0.1:{first.port('lmtp')}"
        second = stack.enter_context(start(["lmtp"], environment, tmp_path))
        agents = [Agent(first, user, number) for number, user in enumerate(users)]
        for agent in agents:
            agent.start()
        running = [first, second]
        for turn in range(2):
            let_deliver(agents)
            fresh = stack.enter_context(start(["lmtp"], environment, tmp_path))
            assert running[turn].terminate() == 0
            running.append(fresh)
        let_deliver(agents)
        for agent in agents:
            agent.ending.set()
            agent.join(30)
        assert [agent.wrong for agent in agents] == [[], [], [], []]
        assert sum(agent.told_to_come_again for agent in agents) > 0
    for agent in agents:
        assert inbox(services, agent.user) == [f"Subject: {ident}\r\n\r\n".encode() for ident in agent.accepted]
        assert len(agent.accepted) >= 15
    services.close()


@pytest.mark.parametrize("launcher", [("-m", "mailcore"), (*altered_server.LAUNCH, "no-bye")], ids=["ours", "control"])
def test_goodbye_of_a_process_that_ends(
    services: MailServices,
    user: MadeUser,
    directory_uri: str,
    redis_url: str,
    tmp_path: Path,
    launcher: tuple[str, ...],
) -> None:
    """Promise P13: a DATA under way is stored and answered, others hear 421; one that just hangs up would be seen."""
    goes_well = "no-bye" not in launcher
    environment = environment_of(directory_uri, redis_url, ["lmtp"])
    with start(["lmtp"], environment, tmp_path, launcher=launcher) as server:
        idle, busy = Raw(server), Raw(server)
        busy.begin(user)
        busy.send(b"DATA\r\n")
        busy.expect("354")
        server.process.terminate()
        assert idle.reply().startswith(b"421 4.3.2") is goes_well
        with nullcontext() if goes_well else suppress(OSError):
            busy.send(b"Subject: late\r\n\r\n.\r\n")
        answer = b""
        with suppress(ConnectionResetError):
            answer = busy.reply()
        assert answer.startswith(b"250 2.0.0") is goes_well
        assert server.process.wait(30) == 0
    assert services.mailboxes.open(user.user_id, "INBOX").exists == goes_well
