"""Connections counted in any order of opens, ends, flushes and beats, the one while the other waits for Redis."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import redis
from bson import ObjectId
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailcore.errors import TooManyAttempts, TooManyConnections
from mailcore.model.access import Protocol
from mailcore.model.ids import UserId
from mailcore.model.limits import LoginLimits
from mailcore.model.secret import Secret
from mailcore.services.accounts.connections import Connections, Lease
from mailcore.services.accounts.failed_logins import FailedLogins
from mailcore.services.accounts.login_guard import Attempt
from mailcore.services.process.redis_link import RedisLink

LIMIT = 4
STEPS = 40


class Play:
    """Five processes and two users; `faults` are questions that fail, before Redis has done the work or after it."""

    def __init__(self, redis_url: str, chance: random.Random, *, faults: bool) -> None:
        self.chance = chance
        self.faults = faults
        self.now = 0.0
        self.users = [UserId(ObjectId()) for _ in range(2)]
        self.links = [RedisLink(Secret(redis_url), clock=lambda: self.now) for _ in range(5)]
        self.processes = [Connections(link) for link in self.links]
        for process, link in zip(self.processes, self.links, strict=True):
            process.start(lambda work: None)
            link.ask = self.interrupted(link.ask)  # type: ignore[method-assign, assignment]
        logins = zip(self.links, self.processes, strict=True)
        self.logins = {process: FailedLogins(link, LoginLimits(), connections=process) for link, process in logins}
        self.leases: list[tuple[UserId, Lease]] = []
        self.opening: list[Connections] = []
        self.telling: list[Connections] = []
        self.depth = 0

    def interrupted(self, ask: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Return an `ask` in which others have their turn before Redis does the work and after it."""

        def ask_meanwhile(question: Callable[[Any], Any]) -> Any:
            def asked(client: Any) -> Any:
                if self.faults and self.chance.random() < 0.1:
                    raise redis.ConnectionError("not sent")
                self.others()
                answer = question(client)
                if self.faults and self.chance.random() < 0.1:
                    raise redis.TimeoutError("answered too late")
                self.others()
                return answer

            return ask(asked)

        return ask_meanwhile

    def others(self) -> None:
        if self.depth < 3 and self.chance.random() < 0.4:
            self.step()

    def step(self) -> None:
        self.depth += 1
        process = self.chance.choice(self.processes)
        steps = self.open, self.open, self.end, self.end, self.sign_in, self.sign_in, self.flush, self.beat, self.wait
        self.chance.choice(steps)(process)
        self.depth -= 1

    def open(self, process: Connections) -> None:
        if process in self.telling:
            return
        user = self.chance.choice(self.users)
        self.opening.append(process)
        try:
            self.leases.append((user, process.open(user, LIMIT)))
        except TooManyConnections:
            pass
        finally:
            self.opening.remove(process)
        if not self.faults:
            assert self.held(user) <= LIMIT

    def sign_in(self, process: Connections) -> None:
        """Have a password admitted, and a place kept: for the right one of some, and for guesses that are not told."""
        if process in self.telling:
            return
        user = self.chance.choice(self.users)
        attempt = Attempt("a@example.com", Protocol.IMAP, f"192.0.{self.chance.randrange(256)}.1", user)
        self.opening.append(process)
        try:
            attempt = self.logins[process].before(attempt, LIMIT)
        except TooManyAttempts:
            return
        finally:
            self.opening.remove(process)
        self.logins[process].withdrawn(attempt)
        if self.chance.random() < 0.7:
            self.others()
            self.open(process)

    def end(self, _: Connections) -> None:
        if self.leases:
            self.leases.pop(self.chance.randrange(len(self.leases)))[1].close()

    def flush(self, process: Connections) -> None:
        if not process._telling.locked():  # else it would wait
            process.flush()

    def beat(self, process: Connections) -> None:
        """Not in the middle of an open, which it may miss, until it is told again."""
        if not process._telling.locked() and process not in self.opening:
            self.telling.append(process)
            process.beat(tell_anew=self.chance.random() < 0.5)
            self.telling.remove(process)

    def wait(self, _: Connections) -> None:
        self.now += 1.5

    def held(self, user: UserId) -> int:
        return sum(each == user for each, _ in self.leases)

    def settle(self) -> None:
        """Have Redis back, and everything told."""
        self.faults, self.depth = False, 9
        self.now += 10
        for process in self.processes:
            process.beat()
            process.flush()

    def check(self) -> None:
        for user in self.users:
            assert self.processes[0].count(user) == self.held(user)
        held = [each.held for process in self.processes for each in process._users.values()]
        assert all(count > 0 for count in held), "records of nobody"
        assert sum(held) == len(self.leases)
        for user in self.users:
            room = max(LIMIT - self.held(user), 0)
            for _ in range(room):
                self.leases.append((user, self.chance.choice(self.processes).open(user, LIMIT)))
            with pytest.raises(TooManyConnections):
                self.chance.choice(self.processes).open(user, LIMIT)

    def close(self) -> None:
        for link in self.links:
            link.close()


def played(redis_url: str, chance: random.Random, *, faults: bool) -> None:
    play = Play(redis_url, chance, faults=faults)
    try:
        for _ in range(STEPS):
            play.step()
        play.settle()
        play.check()
    finally:
        play.close()


QUICK = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


@QUICK
@given(seed=st.integers(0, 1 << 32))
def test_the_limit_holds_exactly_in_any_order(redis_url: str, seed: int) -> None:
    played(redis_url, random.Random(seed), faults=False)


@QUICK
@given(seed=st.integers(0, 1 << 32))
def test_after_faults_in_any_order_every_count_is_right_again(redis_url: str, seed: int) -> None:
    played(redis_url, random.Random(seed), faults=True)


def test_control_what_redis_missed_is_never_told(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless all is told anew after a fault, what Redis missed counts on."""
    monkeypatch.setattr(Connections, "_tell_all", lambda *_: None)
    with pytest.raises(AssertionError):
        for seed in range(100):
            played(redis_url, random.Random(seed), faults=True)
