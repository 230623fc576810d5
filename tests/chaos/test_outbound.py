"""Accepted mail leaves, once, whoever dies: relays by SIGKILL at random and at a point, the primary (P1, P17, F12)."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import random
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from infra.devstack.mongo import drop_databases
from infra.devstack.stack import PLACES, Stack
from mailcore.errors import MailError
from mailcore.model.actor import SYSTEM
from mailcore.model.outbound import EntryState, NewOutbound, OutboundRecipient, QueueId, Reason
from mailcore.model.secret import Secret
from mailcore.services import MailServices
from mailcore.services.wiring import connect
from mailcore.settings import MailSettings
from tests.chaos.ledger import digest
from tests.fork_server import ForkedProcess, start_module
from tests.stubs.outside import Behaviour, MailExchanger, Outside, outside
from tests.waiting import wait_until

DOMAIN = "far.test"


@dataclass
class RelayProcess:
    """One relay, killed and started again."""

    name: str
    environment: dict[str, str]
    log_path: Path
    options: str
    process: ForkedProcess | None = None

    def start(self) -> None:
        self.process = start_module(["tests.chaos.launcher", self.options, "relay"], self.environment, self.log_path)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)

    def events(self) -> list[dict[str, object]]:
        lines = self.log_path.read_text(errors="replace").splitlines() if self.log_path.exists() else []
        found = []
        for line in lines:
            with contextlib.suppress(ValueError):  # the last words of one that was killed may be cut off
                found.append(json.loads(line))
        return found


@dataclass
class Sending:
    """A system that sends: services of this process, relays of their own, an outside."""

    stack: Stack
    folder: Path
    world: Outside
    services: MailServices
    exchanger: MailExchanger
    environment: dict[str, str]
    relays: list[RelayProcess] = field(default_factory=list)
    sent: dict[str, tuple[QueueId, str]] = field(default_factory=dict)
    """Number in the message -> queue id, digest; only what `enqueue` returned for."""

    def relay(self, options: str = "impatient") -> RelayProcess:
        name = f"relay{len(self.relays)}"
        made = RelayProcess(name, self.environment, self.folder / f"{name}.log", options)
        self.relays.append(made)
        made.start()
        return made

    def enqueue(self, number: int, *, size: int = 2000, give_up_s: float = 60) -> None:
        """Queue a message as a client would: again with the same key until it is told that it is taken."""
        rng = random.Random(number)
        attachment = base64.encodebytes(rng.randbytes(size)).replace(b"\n", b"\r\n")
        message = (
            b"From: ann@near.test\r\nTo: bob@far.test\r\nX-Number: %d\r\nMIME-Version: 1.0\r\n"
            b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n%b.\r\n..dots\r\n"
        ) % (number, attachment)
        user_id = self.services.addresses.get("ann@near.test").user_id
        new = NewOutbound(
            user_id,
            self.services.placement.home(user_id).tenant_id,
            "ann@near.test",
            (OutboundRecipient(f"bob{number}@{DOMAIN}"),),
            message,
            Reason.SUBMISSION,
            f"key{number}".encode(),
            header_message_id=f"{number}@near.test",
        )
        until = time.monotonic() + give_up_s
        while True:
            try:
                queue_id = self.services.queueing.enqueue(new, SYSTEM)
            except MailError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)
            else:
                self.sent[str(number)] = queue_id, digest(message)
                return

    def wait_sent(self, timeout_s: float = 90) -> None:
        """Wait until no message waits any more."""
        user_id = self.services.addresses.get("ann@near.test").user_id
        until = time.monotonic() + timeout_s
        while True:
            with contextlib.suppress(MailError):
                if not self.services.outbound.list_of_user(user_id, 1):
                    return
            assert time.monotonic() < until, self._tails()
            time.sleep(0.1)

    def check(self) -> Counter[str]:
        """Every message that was taken arrived byte for byte; twice only where the remote's answer was lost.

        A lost answer is one that the exchanger kept back, or one that came to a relay which died before it was
        written down; both stand in a relay's log.
        """
        arrived: Counter[str] = Counter()
        for taken in self.exchanger.taken:
            number = taken.message.partition(b"X-Number: ")[2].partition(b"\r\n")[0].decode()
            assert number in self.sent, f"{number} was never acknowledged, or never sent"
            assert digest(taken.message) == self.sent[number][1], f"{number} arrived changed"
            arrived[number] += 1
        missing = set(self.sent) - set(arrived)
        assert not missing, f"acknowledged and lost: {sorted(missing)[:5]}"
        events = [event for relay in self.relays for event in relay.events()]
        excused: Counter[str] = Counter()
        for event in events:
            if event.get("event") == "relay.interrupted" or event.get("outcome_of_sending") == "unknown":
                excused[str(event["queue_id"])] += 1
        counted: Counter[str] = Counter(messages=len(self.sent))
        for number, copies in arrived.items():
            queue_id = self.sent[number][0]
            assert copies - 1 <= excused[queue_id], f"{number}: {copies} copies, {excused[queue_id]} lost answers"
            counted["doubles"] += copies - 1
        counted["lost answers"] = sum(excused.values())
        return counted

    def _tails(self) -> str:
        return "\n".join(relay.log_path.read_text(errors="replace")[-1500:] for relay in self.relays)


@contextlib.contextmanager
def sending(stack: Stack, folder: Path, behaviour: Behaviour | None = None) -> Iterator[Sending]:
    with outside() as world:
        exchanger = world.domain(DOMAIN, behaviour)
        environment = {
            "MONGO_URI": stack.directory_uri,
            "REDIS_URL": stack.redis_url,
            "EIDER_SEALING_KEYS": "1:" + base64.b64encode(secrets.token_bytes(32)).decode(),
            "EIDER_HOSTNAME": "relay.near.test",
            **world.environment(folder),
        }
        services = connect(MailSettings.from_environment(environment))
        made = Sending(stack, folder, world, services, exchanger, {**os.environ, **environment})
        try:
            for name, uris in stack.shards.items():
                services.shards.add(SYSTEM, name, "eu", uris.hot, uris.cold)
            tenant_id = services.tenants.create(SYSTEM, "near", "eu", "a")
            services.domains.create(SYSTEM, tenant_id, "near.test")
            services.users.create(SYSTEM, "ann@near.test", Secret("chaos-Passw0rd"), "Ann", tenant_id)
            yield made
        finally:
            for relay in made.relays:
                relay.kill()
            services.close()


@pytest.fixture(scope="module")
def one_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack(tmp_path_factory.mktemp("outbound") / "stack", databases=("main", "redis"), durable=False)
    stack.start()
    yield stack
    stack.discard()


@pytest.fixture
def stack(one_stack: Stack) -> Iterator[Stack]:
    yield one_stack
    drop_databases(one_stack.directory_uri, [f"eider_{name}" for name in PLACES])


def lossy(seed: int, share: float) -> Behaviour:
    """An exchanger that is not always quick, and now and then takes a message without saying so."""
    rng = random.Random(seed)
    lock = threading.Lock()

    def content(_mail: str) -> str | None:
        with lock:
            pause, is_lost = rng.uniform(0, 0.03), rng.random() < share
        time.sleep(pause)
        return None if is_lost else "250 2.0.0 taken"

    return Behaviour(content=content)


def kill_at_random(sending: Sending, rng: random.Random, until: Callable[[], bool]) -> int:
    """Kill one relay after the other and start it again."""
    kills = 0
    while not until():
        time.sleep(rng.uniform(0.3, 1.2))
        victim = rng.choice(sending.relays)
        victim.kill()
        kills += 1
        victim.start()
    return kills


def run(sending: Sending, messages: int, seed: int, halfway: Callable[[], None] = lambda: None) -> int:
    """Queue messages while relays are killed at random; return how many were killed."""
    rng = random.Random(seed)
    for _ in range(2):
        sending.relay()
    ended = threading.Event()
    kills: list[int] = []
    killer = threading.Thread(target=lambda: kills.append(kill_at_random(sending, rng, ended.is_set)))
    killer.start()
    try:
        for number in range(messages):
            sending.enqueue(number, size=rng.choice((500, 2000, 60_000)))
            if number == messages // 2:
                halfway()
            time.sleep(0.02)
    finally:
        ended.set()
        killer.join()
    sending.wait_sent()
    return kills[0]


@pytest.mark.timeout(240)
def test_killed_between_the_remote_answer_and_the_record_sends_one_double_and_says_so(
    stack: Stack, tmp_path: Path
) -> None:
    """Promise P17: at most one more copy, of the message whose answer died with the relay; it is logged and traced."""
    with sending(stack, tmp_path) as system:
        for number in range(4):
            system.enqueue(number)
        first = system.relay("impatient,relay.after_remote_250:2")
        assert first.process is not None
        assert first.process.wait(60) == -9, "the fault point was not passed"
        system.relay()
        system.wait_sent()
        counted = system.check()
        assert 1 <= counted["doubles"] <= counted["lost answers"]
        interrupted = [event for event in system.relays[1].events() if event.get("event") == "relay.interrupted"]
        assert interrupted
        tenant_id = system.services.tenants.get_by_name("near").id
        queue_id = str(interrupted[0]["queue_id"])
        search = partial(system.services.trace.search, tenant_id, queue_id=queue_id)
        wait_until(lambda: "interrupted" in {row.step for row in search()}, seconds=10)


@pytest.mark.timeout(240)
def test_relay_that_writes_nothing_down_would_be_seen(stack: Stack, tmp_path: Path) -> None:
    """Negative control: every attempt is made anew, and the check of doubles turns red."""
    with sending(stack, tmp_path) as system:
        system.enqueue(0)
        system.relay("forgetful")
        wait_until(lambda: len(system.exchanger.taken) >= 2, 60, system._tails)
        with pytest.raises(AssertionError, match="copies"):
            system.check()


@pytest.mark.timeout(240)
def test_drained_relay_leaves_nothing_half_done(stack: Stack, tmp_path: Path) -> None:
    """Promise P13: SIGTERM lets what is under way come to its end; nothing is sent twice for it."""
    with sending(stack, tmp_path, lossy(1, 0)) as system:
        relays = [system.relay() for _ in range(2)]
        wait_until(
            lambda: all(any(event["event"] == "server.started" for event in relay.events()) for relay in relays),
            seconds=60,
            said=lambda: "a signal before that just ends a process",
        )
        for number in range(20):
            system.enqueue(number)
        wait_until(lambda: system.exchanger.taken, seconds=60)
        for relay in relays:
            assert relay.process is not None
            relay.process.terminate()
            assert relay.process.wait(40) == 0
            relay.start()
        system.wait_sent()
        assert system.check() == Counter(messages=20, doubles=0)


@pytest.mark.timeout(180)
def test_messages_arrive_once_under_kills_of_relays_and_of_the_primary(tmp_path: Path) -> None:
    """Promises P1 and P17, faults F1 and F12: 80 messages, two relays killed at random, the primary killed once."""
    counted = under_kills(tmp_path, messages=80, seed=7)
    assert counted["messages"] == 80


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_thousand_messages_arrive_once_under_kills(tmp_path: Path) -> None:
    """The long form."""
    counted = under_kills(tmp_path, messages=1000, seed=secrets.randbelow(1 << 30))
    assert counted["messages"] == 1000


def under_kills(folder: Path, messages: int, seed: int) -> Counter[str]:
    stack = Stack(folder / "stack", nodes=3, databases=("main", "redis"), durable=False)
    stack.start()
    try:
        with sending(stack, folder, lossy(seed, 0.05)) as system:
            kills = run(system, messages, seed, lambda: stack.kill("main-0"))
            assert kills, "nothing was killed: the run proves nothing"
            counted = system.check()
            print(f"seed {seed}: {kills} relays killed, {dict(counted)}")
            user_id = system.services.addresses.get("ann@near.test").user_id
            remembered = system.services.outbound.list_of_user(user_id, 1000, waiting=False)
            assert {entry.state for entry in remembered} == {EntryState.DONE}
            return counted
    finally:
        stack.discard()
