"""W6: what an unknown user is answered, and what it costs, is what a wrong password costs."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from pymongo import monitoring

from mailcore.errors import AuthenticationFailed, ServerBusy, TooManyAttempts
from mailcore.imap.replies import reply_to
from mailcore.model.access import Protocol
from mailcore.model.limits import LoginLimits, Penalty
from mailcore.model.secret import Secret
from mailcore.model.tenant import State
from mailcore.services import MailServices
from mailcore.services.accounts import authentication
from mailcore.services.accounts.failed_logins import FailedLogins
from mailcore.services.accounts.login_guard import Attempt
from mailcore.services.accounts.passwords import Argon2, Passwords
from mailcore.services.accounts.user_lookup import UserLookup
from mailcore.services.process.redis_link import RedisLink
from mailcore.smtp.replies import reply_for
from mailcore.store.directory.domains import Domains
from mailcore.store.directory.users import Credentials
from tests.builders import OPERATOR, PASSWORD, make_services, make_user

LIMITS = LoginLimits(user_from_range=Penalty(free=1, first_wait_s=600, longest_wait_s=600))
GUESSES = ["wrong password", "abcdefghijklmnop", "abcd efgh ijkl mnop", "a2b3c4d5e6f7g8h9"]
"""The second and third look like app passwords, the last like a temporary one."""


class Work(monitoring.CommandListener):
    """Counts commands to MongoDB."""

    def __init__(self) -> None:
        self.commands: Counter[str] = Counter()

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.commands[event.command_name] += 1

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Counted when it began."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Counted when it began."""


class World:
    """Users of every sort, and what each login costs."""

    def __init__(self, services: MailServices, work: Work, hashes: list[str]) -> None:
        self.services = services
        self.work = work
        self.hashes = hashes
        self.numbers = iter(range(1, 1 << 16))
        plain = make_user(services)
        domain = plain.address.split("@")[1]
        tenant = (plain.tenant_id, domain)
        suspended, disabled, second, temporary, apps = (make_user(services, tenant=tenant) for _ in range(5))
        services.users.set_state(OPERATOR, suspended.user_id, State.SUSPENDED)
        services.users.set_state(OPERATOR, disabled.user_id, State.DISABLED)
        services.users.set_disabled_protocols(OPERATOR, second.user_id, frozenset({Protocol.IMAP}))
        services.temporary_passwords.create(OPERATOR, temporary.user_id)
        services.app_passwords.create(OPERATOR, apps.user_id, "phone")
        services.users.create(OPERATOR, f"nopassword@{domain}", None, "", plain.tenant_id)
        away = make_user(services)
        services.tenants.set_state(OPERATOR, away.tenant_id, State.SUSPENDED)
        self.known = {
            "plain": plain.address,
            "suspended": suspended.address,
            "disabled": disabled.address,
            "switched off": second.address,
            "temporary password": temporary.address,
            "app passwords": apps.address,
            "without password": f"nopassword@{domain}",
            "of a suspended tenant": away.address,
            "written otherwise": plain.address.upper(),
            "another address": services.addresses.create(OPERATOR, plain.user_id, f"also.{plain.address}").display,
        }
        self.unknown = {"local part": f"nobody@{domain}", "domain": "nobody@nowhere.test"}

    def cost(self, username: str, password: str, protocol: Protocol = Protocol.IMAP) -> tuple[Any, ...]:
        """What the client is told, how many hashes, which commands, how many waits for the beat."""
        self.hashes.clear()
        self.work.commands.clear()
        waits: list[float] = []
        with pytest.raises(AuthenticationFailed) as refused, pytest.MonkeyPatch.context() as counted:
            counted.setattr(self.services.authentication, "_pause", waits.append)
            self.services.authentication.login(
                username, Secret(password), protocol, f"2001:db8:{next(self.numbers):x}::1"
            )
        assert type(refused.value) is AuthenticationFailed
        told = (reply_to(refused.value).encode("a"), reply_for(refused.value))
        return *told, len(self.hashes), dict(self.work.commands), len(waits)


@pytest.fixture
def world(directory_uri: str, shard_uris: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    hashes: list[str] = []
    real = Argon2.verify

    def verify(self: Argon2, encoded: str, password: bytes) -> bool:
        hashes.append(encoded)
        return real(self, encoded, password)

    monkeypatch.setattr(Argon2, "verify", verify)
    work = Work()
    monitoring.register(work)
    try:
        services = make_services(directory_uri, shard_uris)
    finally:
        monitoring._LISTENERS.command_listeners.remove(work)
    made = World(services, work, hashes)
    made.cost("warm@nowhere.test", "up")
    yield made
    services.close()


def differences(world: World) -> list[str]:
    """Which users can be told from unknown ones."""
    found = []
    for guess in GUESSES:
        for protocol in Protocol:
            expected = world.cost(world.unknown["domain"], guess, protocol)
            assert expected[2] == 1
            for label, username in (world.known | world.unknown).items():
                if world.cost(username, guess, protocol) != expected:
                    found.append(f"{label} {guess} {protocol}")
    return found


def test_known_and_unknown_users_are_answered_alike(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Same reply, same number of hashes, same commands to the directory, whatever is wrong."""
    monkeypatch.setattr(Argon2, "verify", lambda self, encoded, password: world.hashes.append(encoded) is not None)
    assert differences(world) == []


@pytest.mark.parametrize("broken", ["hash", "look-up", "main address"])
def test_a_short_cut_for_unknown_users_would_be_seen(
    world: World, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """Negative controls: no hash without a user; no look-up of an unknown domain; nothing after a main address."""
    monkeypatch.setattr(Argon2, "verify", lambda self, encoded, password: world.hashes.append(encoded) is not None)
    if broken == "hash":
        real = Passwords.verify
        monkeypatch.setattr(
            Passwords, "verify", lambda self, encoded, password: encoded is not None and real(self, encoded, password)
        )
        assert world.cost(world.unknown["domain"], "wrong password")[2] == 0
    elif broken == "look-up":
        monkeypatch.setattr(Domains, "owner_of", lambda self, name: None)
        assert differences(world) != []
    else:
        real_look = UserLookup.by_address

        def look(self: UserLookup, name: str, attempt: Attempt) -> tuple[Attempt, Credentials | None]:
            return (attempt, None) if attempt.user_id is not None else real_look(self, name, attempt)

        monkeypatch.setattr(UserLookup, "by_address", look)
        assert any(found.startswith("plain") for found in differences(world))


def test_who_has_to_wait_is_not_told_whether_there_is_such_a_user(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many commands where nothing is hashed: beyond the limit of guesses, and where too many hashes wait."""

    def commands(username: str, address: str, error: type[Exception]) -> dict[str, int]:
        world.work.commands.clear()
        with pytest.raises(error):
            world.services.authentication.login(username, Secret("a guess"), Protocol.IMAP, address)
        return dict(world.work.commands)

    def at_the_limit(username: str) -> dict[str, int]:
        world.services.authentication._guard = FailedLogins(RedisLink(None), LIMITS)
        with pytest.raises(AuthenticationFailed):
            world.services.authentication.login(username, Secret("a guess"), Protocol.IMAP, "192.0.2.1")
        return commands(username, "192.0.2.1", TooManyAttempts)

    def busy(*_: object) -> bool:
        raise ServerBusy("too many hashes wait")

    everybody = list((world.known | world.unknown).values())
    with monkeypatch.context() as full:
        full.setattr(Argon2, "verify", busy)
        spent = [commands(one, "192.0.2.1", ServerBusy) for one in everybody]
    spent += [at_the_limit(one) for one in everybody]
    assert all(one == spent[0] for one in spent), spent


def test_every_refusal_waits_for_the_beat(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """And who is let in waits for nothing."""
    waits: list[float] = []
    monkeypatch.setattr(world.services.authentication, "_pause", waits.append)
    login = world.services.authentication.login
    everybody = [*world.known.values(), *world.unknown.values()]
    for username in everybody:
        for password in ("wrong password", "x" * 5000):
            with pytest.raises(AuthenticationFailed):
                login(username, Secret(password), Protocol.IMAP, "192.0.2.1")
    assert len(waits) == 2 * len(everybody)
    assert all(0 < wait <= authentication.BEAT_S for wait in waits)
    login(world.known["plain"], Secret(PASSWORD), Protocol.IMAP, "192.0.2.1")
    assert len(waits) == 2 * len(everybody)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_times_do_not_tell(world: World) -> None:
    """2,000 samples each: medians within 2 %, and no rank test that tells them apart."""
    known, unknown = world.known["plain"], world.unknown["local part"]
    samples: dict[str, list[float]] = {known: [], unknown: []}
    guard = world.services.authentication._guard
    guard.admit = lambda *_: None  # type: ignore[attr-defined]
    for number in range(4000):
        username = (known, unknown)[number % 2]
        begun = time.perf_counter()
        with pytest.raises(AuthenticationFailed):
            world.services.authentication.login(username, Secret(f"wrong {number}"), Protocol.IMAP, "192.0.2.1")
        samples[username].append(time.perf_counter() - begun)
    ours, theirs = statistics.median(samples[known]), statistics.median(samples[unknown])
    assert abs(ours - theirs) < 0.02 * max(ours, theirs)
    assert _rank_test(samples[known], samples[unknown]) > 0.01


def _rank_test(one: list[float], other: list[float]) -> float:
    """Mann-Whitney: the chance that such a difference of ranks is chance (normal approximation, two-sided)."""
    ranked = sorted([(value, 0) for value in one] + [(value, 1) for value in other])
    ranks = sum(rank for rank, (_, which) in enumerate(ranked, 1) if which == 0)
    count, rest = len(one), len(other)
    u = ranks - count * (count + 1) / 2
    sigma = (count * rest * (count + rest + 1) / 12) ** 0.5
    z = abs(u - count * rest / 2) / sigma
    return 2 * (1 - statistics.NormalDist().cdf(z))
