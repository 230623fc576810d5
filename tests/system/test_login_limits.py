"""Five real processes of every protocol share one count of guesses; Redis lost in the middle (W7, P16).

A protocol joins by one line in SIGN_IN.
"""

from __future__ import annotations

import base64
import http.client
import imaplib
import json
import poplib
import secrets
import smtplib
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from infra.devstack.stack import Stack
from mailcore.main import SERVERS
from mailcore.model.limits import DEFAULT_LIMITS
from mailcore.model.roles import Role
from mailcore.model.token import PLATFORM
from mailcore.services import MailServices
from tests.builders import OPERATOR, PASSWORD, MadeUser, make_services, make_user
from tests.system.altered_server import LAUNCH
from tests.system.servers import RunningServer, environment_of, start
from tests.waiting import wait_until

PROCESSES = 5
Held = list[socket.socket] | None
SignIn = Callable[..., str]
LIMIT = DEFAULT_LIMITS.logins.user_from_range.free


def _imap(port: int, username: str, password: str, held: Held = None) -> str:
    """Return "ok", "wrong", "limited" or "too many"; keep the connection in `held` if it is ok."""
    client = imaplib.IMAP4("127.0.0.1", port, timeout=30)
    try:
        client.login(username, password)
    except imaplib.IMAP4.error as error:
        client.shutdown()
        return _told(str(error), wrong="AUTHENTICATIONFAILED")
    return _ok(client.sock, held)


def _pop3(port: int, username: str, password: str, held: Held = None) -> str:
    """As `_imap`."""
    client = poplib.POP3("127.0.0.1", port, timeout=30)
    try:
        client.user(username)
        client.pass_(password)
    except poplib.error_proto as error:
        client.close()
        return _told(str(error), wrong="[AUTH]")
    return _ok(client.sock, held)


def _submission(port: int, username: str, password: str, held: Held = None) -> str:
    """As `_imap`."""
    client = smtplib.SMTP("127.0.0.1", port, timeout=30)
    try:
        client.ehlo()
        client.user, client.password = username, password
        client.auth("PLAIN", client.auth_plain)  # `login` would try one mechanism after the other
    except smtplib.SMTPResponseException as error:
        client.close()
        return _told(bytes(error.smtp_error).decode(), wrong="5.7.8")
    assert client.sock is not None
    return _ok(client.sock, held)


def _managesieve(port: int, username: str, password: str, held: Held = None) -> str:
    """As `_imap`; RFC 5804 has no client in the standard library."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    lines = connection.makefile("rb")
    while not lines.readline().startswith(b"OK"):
        pass
    offer = base64.b64encode(f"\0{username}\0{password}".encode()).decode()
    connection.sendall(f'AUTHENTICATE "PLAIN" "{offer}"\r\n'.encode())
    answer = lines.readline()
    if answer.startswith(b"OK"):
        return _ok(connection, held)
    connection.close()
    return _told(answer.decode(), wrong="User name or password is wrong")


def _api(port: int, username: str, password: str, held: Held = None) -> str:
    """As `_imap`: a front end asks, and says for whom; the API keeps no connection for it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    body = json.dumps({"username": username, "password": password, "ip": "127.0.0.1"})
    headers = {"X-Access-Token": FRONT_END[0], "Content-Type": "application/json"}
    connection.request("POST", "/authenticate", body, headers)
    found = json.loads(connection.getresponse().read())
    connection.close()
    return "ok" if "id" in found else {"RateLimitedError": "limited", "AuthFailed": "wrong"}[found["code"]]


def _told(text: str, wrong: str) -> str:
    meanings = {"Too many attempts": "limited", "Too many connections": "too many", wrong: "wrong"}
    return next(meaning for sign, meaning in meanings.items() if sign in text)


def _ok(connection: socket.socket, held: Held) -> str:
    if held is None:
        connection.close()
    else:
        held.append(connection)
    return "ok"


FRONT_END = [""]
"""The token of whoever asks the API; `place` makes one."""
SIGN_IN: dict[str, SignIn] = {
    "imap": _imap,
    "pop3": _pop3,
    "submission": _submission,
    "managesieve": _managesieve,
    "api": _api,
}
WITHOUT_LOGIN = {"lmtp", "lookup", "relay", "hosts"} & set(SERVERS)
KEEPING = [name for name in SIGN_IN if name != "api"]
"""Protocols that stay connected once somebody is in."""


def test_every_protocol_has_a_line() -> None:
    assert set(SIGN_IN) | WITHOUT_LOGIN == set(SERVERS)


class Doors:
    """Five processes, each with every protocol, taken in turn."""

    def __init__(self, servers: list[RunningServer]) -> None:
        self.servers = servers
        self._turns = self._all()

    def _all(self) -> Iterator[tuple[str, int]]:
        while True:
            for name in SIGN_IN:
                for server in list(self.servers):
                    yield name, server.port(name)

    def guess(self, username: str) -> str:
        return self.ask(username, f"guess {secrets.token_hex(4)}")

    def ask(self, username: str, password: str) -> str:
        name, port = next(self._turns)
        return SIGN_IN[name](port, username, password)

    def hold(self, username: str, password: str) -> socket.socket | None:
        """Sign in and stay; None if that is one connection too many."""
        name, port = next(turn for turn in self._turns if turn[0] in KEEPING)
        held: list[socket.socket] = []
        told = SIGN_IN[name](port, username, password, held)
        assert told in {"ok", "too many"}, told
        return held[0] if held else None

    def guesses(self, username: str, most: int = 60) -> int:
        """Guess until every process and protocol says to wait; return how many guesses were looked at."""
        looked_at = limited = 0
        for _ in range(most):
            if self.guess(username) == "limited":
                limited += 1
            else:
                looked_at, limited = looked_at + 1, 0
            if limited == len(self.servers) * len(SIGN_IN):
                return looked_at
        return looked_at


def open_doors(open_: ExitStack, endpoints: Any, folder: Path, count: int = PROCESSES, alteration: str = "") -> Doors:
    names = [*SIGN_IN, "lmtp"]
    environment = environment_of(endpoints.mongo.directory, endpoints.redis, names)
    launcher = (*LAUNCH, alteration) if alteration else ("-m", "mailcore")
    return Doors([open_.enter_context(start(names, environment, folder, launcher=launcher)) for _ in range(count)])


@pytest.fixture
def place(new_stack: Callable[..., Stack]) -> Iterator[tuple[Stack, MailServices]]:
    """A stack whose Redis may be killed, and services on it."""
    stack = new_stack(databases=("main", "redis"))
    services = make_services(stack.directory_uri, stack.shards, stack.redis_url)
    FRONT_END[0] = services.tokens.create(OPERATOR, PLATFORM, Role.AUTH, "front end")[1].reveal_text()
    yield stack, services
    services.close()


def looked_at_in_parallel(doors: Doors, user: MadeUser, guesses: int) -> int:
    """Guess from ten threads at once; return how many guesses were not told to wait."""
    with ThreadPoolExecutor(10) as threads:
        return list(threads.map(lambda _: doors.guess(user.address), range(guesses))).count("wrong")


def test_five_processes_of_every_protocol_share_the_count_to_the_last_guess(
    place: tuple[Stack, MailServices], tmp_path: Path
) -> None:
    """W7: whatever process and protocol a guess comes to, however many come at once."""
    stack, services = place
    user, other = make_user(services), make_user(services)
    with ExitStack() as open_:
        doors = open_doors(open_, stack.endpoints, tmp_path)
        assert looked_at_in_parallel(doors, user, 40) == LIMIT
        assert doors.ask(user.address, PASSWORD) == "limited", "even the right one is not looked at"
        assert doors.ask(other.address, PASSWORD) == "ok"


def test_control_each_process_counts_for_itself(place: tuple[Stack, MailServices], tmp_path: Path) -> None:
    stack, services = place
    with ExitStack() as open_:
        doors = open_doors(open_, stack.endpoints, tmp_path, count=2, alteration="count-apart")
        assert looked_at_in_parallel(doors, make_user(services), 40) == 2 * LIMIT


@pytest.mark.parametrize("fault", ["kill", pytest.param("pause", marks=pytest.mark.soak)])
def test_redis_lost_in_the_middle_guesses_stay_limited_and_mail_flows(
    fault: str, place: tuple[Stack, MailServices], tmp_path: Path
) -> None:
    """P16; and when Redis comes back it is taken up by itself."""
    stack, services = place
    user, other = make_user(services), make_user(services)
    with ExitStack() as open_:
        doors = open_doors(open_, stack.endpoints, tmp_path)
        before = [doors.guess(user.address) for _ in range(5)]
        assert before == ["wrong"] * 5
        getattr(stack, fault)("redis")
        after = doors.guesses(user.address)
        assert 5 + after <= LIMIT + 1
        assert all(server.events("limits.redis.lost") for server in doors.servers)
        for server in doors.servers:
            _mail_flows(server, other)
        stack.restart("redis")
        _until_back(doors, other)
        third = make_user(services)
        assert doors.guesses(third.address) == LIMIT


def test_control_without_the_count_of_its_own_a_process_looks_at_every_guess(
    place: tuple[Stack, MailServices], tmp_path: Path
) -> None:
    stack, services = place
    user = make_user(services)
    with ExitStack() as open_:
        doors = open_doors(open_, stack.endpoints, tmp_path, count=2, alteration="count-never-alone")
        stack.kill("redis")
        assert doors.guesses(user.address, most=25) == 25


def test_five_processes_of_every_protocol_share_the_connections_of_a_user_and_forget_a_killed_one(
    place: tuple[Stack, MailServices], tmp_path: Path
) -> None:
    """Leases of two seconds instead of thirty, so that the end of one can be waited for."""
    stack, services = place
    user = make_user(services)
    services.users.set_limit(OPERATOR, user.user_id, "connections", 10)
    with ExitStack() as open_:
        doors = open_doors(open_, stack.endpoints, tmp_path, alteration="short-leases")
        held = [doors.hold(user.address, PASSWORD) for _ in range(PROCESSES * len(KEEPING) + 3)]
        assert [one is not None for one in held] == [True] * 10 + [False] * (len(held) - 10)
        doors.servers[0].process.kill()
        doors.servers[0].process.wait()
        doors.servers.pop(0)
        said = "what the killed process held still counts"
        held.append(wait_until(lambda: doors.hold(user.address, PASSWORD), said=lambda: said))
        for one in filter(None, held):
            one.close()


def _mail_flows(server: RunningServer, user: MadeUser) -> None:
    """Deliver a message and read it, both at a process that has lost Redis."""
    body = secrets.token_hex(8)
    with smtplib.LMTP("127.0.0.1", server.port("lmtp"), timeout=30) as client:
        client.sendmail("a@sender.test", [user.address], f"Subject: x\r\n\r\n{body}\r\n")
    with imaplib.IMAP4("127.0.0.1", server.port("imap"), timeout=30) as client:
        client.login(user.address, PASSWORD)
        client.select("INBOX")
        assert client.search(None, "BODY", body)[1][0]


def _until_back(doors: Doors, user: MadeUser) -> None:
    """Sign in with right passwords until every process has found Redis again."""
    ends_at = time.monotonic() + 30
    while not all(server.events("limits.redis.back") for server in doors.servers):
        assert time.monotonic() < ends_at
        for server in doors.servers:
            for sign_in_name, sign_in in SIGN_IN.items():
                sign_in(server.port(sign_in_name), user.address, secrets.token_hex(4))
