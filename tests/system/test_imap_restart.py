"""Promise P13 at the IMAP server: who is connected hears BYE, what runs ends, what was acknowledged is there."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from mailcore.services import MailServices
from tests.builders import MadeUser, make_user
from tests.system import altered_server
from tests.system.servers import RunningServer, environment_of, start
from tests.system.stored import stored
from tests.system.strict_imap import StrictImap
from tests.waiting import wait_until

LARGE = b"Subject: large\r\n\r\n" + b"0123456789abcdef" * (1 << 20)


@pytest.fixture
def environment(services: MailServices, directory_uri: str, redis_url: str) -> dict[str, str]:
    return environment_of(directory_uri, redis_url, ["imap"])


def test_sigterm_lets_a_command_end_and_says_bye_to_everybody(
    environment: dict[str, str], services: MailServices, user: MadeUser, tmp_path: Path
) -> None:
    with start(["imap"], environment, tmp_path) as server:
        port = server.port("imap")
        greeted, quiet, idle, appending = StrictImap(port), *(StrictImap.signed_in(port, user) for _ in range(3))
        assert quiet.append(LARGE).kind == b"OK"
        fetching = StrictImap.signed_in(port, user, "INBOX")
        idle.ok(b"SELECT INBOX")
        idle.send(b"i IDLE\r\n")
        assert idle.read().tag == b"+"
        appending.send(b"a APPEND INBOX {1000}\r\n")
        assert appending.read().tag == b"+"
        appending.send(b"Subject: half")
        fetching.send(b"f FETCH 1 BODY.PEEK[]\r\n")
        server.wait_open("imap", 5)
        before = stored(services, user)
        server.process.terminate()
        for client in (greeted, quiet, idle, appending):
            assert client.read().kind == b"BYE"
            with pytest.raises((EOFError, ConnectionResetError)):
                client.read()
        fetched, done, farewell = fetching.read(), fetching.read(), fetching.read()
        assert fetched.value[b"BODY[]"] == LARGE
        assert (done.tag, done.kind, farewell.kind) == (b"f", b"OK", b"BYE")
        assert server.process.wait(30) == 0
        with pytest.raises(OSError):
            StrictImap(port)
    assert stored(services, user) == before


class Client(threading.Thread):
    """Appends one message after the other; comes back after a BYE; keeps what went wrong."""

    def __init__(self, port: int, user: MadeUser) -> None:
        super().__init__()
        self.port = port
        self.user = user
        self.acknowledged: dict[int, bytes] = {}
        self.tried: list[bytes] = []
        self.wrong: list[str] = []
        self.farewells = 0
        self.ending = threading.Event()

    def run(self) -> None:
        while not self.ending.is_set():
            try:
                self._session()
            except EOFError as end:
                self.wrong.append(f"cut off: {end}")
            except OSError as error:
                self.wrong.append(f"reset: {error}")

    def _session(self) -> None:
        try:
            client = StrictImap(self.port)
        except (AssertionError, ConnectionError, EOFError):
            return  # nobody listened at that instant, or BYE was the greeting
        with client:
            command = f'LOGIN {self.user.address} "{self.user.password}"'.encode()
            while not self.ending.is_set():
                if not self._said_ok(client, command):
                    return
                raw = b"Subject: %d\r\n\r\n" % len(self.tried)
                command = b"APPEND INBOX {%d+}\r\n%b" % (len(raw), raw)
                self.tried.append(raw)

    def _said_ok(self, client: StrictImap, command: bytes) -> bool:
        client.send(b"t " + command + b"\r\n")
        while True:
            response = client.read()
            if response.kind == b"BYE":
                self.farewells += 1
                return False
            if response.tag == b"t":
                break
        if response.kind != b"OK":
            self.wrong.append(str(response))
            return False
        if command.startswith(b"APPEND"):
            assert response.code is not None
            self.acknowledged[int(response.code.split()[-1])] = self.tried[-1]
        return True


def let_append(clients: Sequence[Client]) -> None:
    """Wait until each client has had five more appended, or something has gone wrong."""
    goals = [len(client.acknowledged) + 5 for client in clients]
    wait_until(
        lambda: all(
            client.wrong or len(client.acknowledged) >= goal for client, goal in zip(clients, goals, strict=True)
        )
    )


def roll(
    environment: dict[str, str], users: Sequence[MadeUser], folder: Path, launcher: tuple[str, ...], turns: int
) -> list[Client]:
    """Two processes on one port, each ended and started anew while clients append."""
    environment = dict(environment)
    with ExitStack() as stack:

        def another() -> RunningServer:
            return stack.enter_context(start(["imap"], environment, folder, launcher=launcher))

        running = [another()]
        environment["EIDER_IMAP_LISTEN"] = f"127.0.0.1:{running[0].port('imap')}"
        running.append(another())
        clients = [Client(running[0].port("imap"), user) for user in users]
        for client in clients:
            client.start()
        for turn in range(turns):
            let_append(clients)
            running.append(another())
            assert running[turn].terminate() == 0
        let_append(clients)
        for client in clients:
            client.ending.set()
            client.join(60)
    return clients


@pytest.mark.timeout(180)
def test_rolling_restart_loses_nothing_and_is_announced(
    environment: dict[str, str], services: MailServices, tmp_path: Path
) -> None:
    """Promises P1, P4 and P13, fault F15."""
    clients = roll(environment, [make_user(services) for _ in range(4)], tmp_path, ("-m", "mailcore"), turns=2)
    assert [client.wrong for client in clients] == [[], [], [], []]
    assert sum(client.farewells for client in clients) > 0
    for client in clients:
        view = services.mailboxes.open(client.user.user_id, "INBOX")
        found = {
            int(uid): b"".join(services.content.open(client.user.user_id, view.message_oid(row)).read())
            for row, uid in enumerate(view.uids)
        }
        assert len(client.acknowledged) >= 15
        assert client.acknowledged.items() <= found.items()
        assert len(set(found.values())) == len(found) <= len(client.tried)


@pytest.mark.timeout(180)
def test_process_that_leaves_without_a_word_would_be_seen(
    environment: dict[str, str], services: MailServices, tmp_path: Path
) -> None:
    """Negative control."""
    launcher = (*altered_server.LAUNCH, "no-bye")
    clients = roll(environment, [make_user(services) for _ in range(4)], tmp_path, launcher, turns=2)
    assert any(client.wrong for client in clients)
