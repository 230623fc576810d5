"""What a login costs, in round trips to the directory and in hashes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pymongo import monitoring

from mailcore.errors import AuthenticationFailed
from mailcore.model.access import Protocol
from mailcore.model.roles import Role
from mailcore.model.secret import Secret
from mailcore.services import MailServices
from mailcore.services.accounts import passwords
from mailcore.services.accounts.passwords import Argon2
from mailcore.store.placement import CACHE_S, READ_GOOD_S
from tests.builders import OPERATOR, make_services, make_user


class Commands(monitoring.CommandListener):
    """Every command, by name and collection."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.seen.append(f"{event.command_name} {event.command.get(event.command_name)}")

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Noted when it began."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Noted when it began."""


@pytest.fixture
def commands() -> Iterator[Commands]:
    made = Commands()
    monitoring.register(made)
    yield made
    monitoring._LISTENERS.command_listeners.remove(made)


@pytest.fixture
def services(commands: Commands, directory_uri: str, shard_uris: dict[str, Any]) -> Iterator[MailServices]:
    made = make_services(directory_uri, shard_uris)
    yield made
    made.close()


def test_round_trips(services: MailServices, commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    user = make_user(services)
    _, letters = services.app_passwords.create(OPERATOR, user.user_id, "phone")
    _, token = services.tokens.create(OPERATOR, services.tokens.owner_of_user(user.user_id), Role.USER, "phone")
    hashes: list[str] = []
    real = Argon2.verify
    monkeypatch.setattr(
        Argon2, "verify", lambda self, encoded, password: hashes.append(encoded) or real(self, encoded, password)
    )

    def cost(login: Callable[[], object]) -> tuple[list[str], int]:
        commands.seen.clear()
        hashes.clear()
        login()
        return list(commands.seen), len(hashes)

    def by(password: Secret, address: str = user.address) -> Callable[[], object]:
        return lambda: services.authentication.login(address, password, Protocol.IMAP, "192.0.2.1")

    def by_token() -> object:
        return services.authentication.login_with_token(user.address, token, Protocol.IMAP, "192.0.2.1")

    services.placement.tenant(user.tenant_id)
    master = Secret(user.password)
    assert cost(by(master)) == (["find users"], 1)
    assert cost(by(master)) == (["find users"], 0)
    assert cost(by(letters)) == (["find users"], 0)
    assert cost(by(letters)) == (["find users"], 0)
    assert cost(by(master, user.address.upper())) == (["find users"], 0), "another way to write the same"
    alias = services.addresses.create(OPERATOR, user.user_id, f"also.{user.address}").display
    assert cost(by(master, alias)) == (["find users", "find addresses", "find users"], 1)
    assert cost(by(master, alias)) == (["find users"], 0)
    assert cost(by_token) == (["find api_tokens", "find users"], 0)
    commands.seen.clear()
    services.last_uses.flush()
    assert commands.seen == ["update users", "update api_tokens"]
    for login in (by(master), by(letters), by_token):
        login()
    commands.seen.clear()
    services.last_uses.flush()
    assert commands.seen == []


def test_who_signs_in_is_read_once_for_the_mailbox_too(
    services: MailServices, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The home is that of the login's reading, for as long as of any other, unless the user changed since."""
    user = make_user(services)
    placement = services.placement
    clock = [1000.0]
    monkeypatch.setattr(placement, "_clock", lambda: clock[0])

    def cost(work: Callable[[], object]) -> list[str]:
        commands.seen.clear()
        work()
        return [command for command in commands.seen if command == "find users"]

    def login() -> object:
        return services.authentication.login(user.address, Secret(user.password), Protocol.IMAP, "192.0.2.1")

    def home() -> object:
        return placement.home(user.user_id)

    placement.forget(user.user_id)
    expected = home()
    clock[0] += CACHE_S
    assert cost(login) == ["find users"]
    clock[0] += READ_GOOD_S - 0.1
    assert cost(home) == []
    assert home() == expected
    clock[0] += CACHE_S - READ_GOOD_S + 0.1
    assert cost(home) == ["find users"]
    clock[0] += CACHE_S
    login()
    placement.forget(user.user_id)
    assert cost(home) == ["find users"]
    clock[0] += CACHE_S
    login()
    clock[0] += READ_GOOD_S
    assert cost(home) == ["find users"]


def test_a_thousand_sessions_are_looked_after_by_one_query(services: MailServices, commands: Commands) -> None:
    """Whether a session may go on is never asked for each."""
    users = [make_user(services) for _ in range(3)]
    sessions = [
        services.sessions.open(
            services.authentication.login(user.address, Secret(user.password), Protocol.IMAP, "192.0.2.1"),
            lambda: None,
        )
        for user in users
        for _ in range(400)
    ]
    services.sessions.poll()
    commands.seen.clear()
    services.sessions.poll()
    assert commands.seen == ["find sign_in_changes"]
    commands.seen.clear()
    services.sessions.compare_all()
    assert commands.seen == ["find users"]
    assert all(session.ended is None for session in sessions)
    services.users.log_out(OPERATOR, users[0].user_id)
    commands.seen.clear()
    services.sessions.poll()
    assert commands.seen == ["find sign_in_changes", "find users"]
    assert sum(session.ended is not None for session in sessions) == 400
    for session in sessions:
        session.close()


def test_long_passwords_are_looked_at_by_nobody(services: MailServices, commands: Commands) -> None:
    """W8: refused by their length, before the directory and before a hash."""
    commands.seen.clear()
    for size in (passwords.MAX_PASSWORD_BYTES + 1, 1 << 20):
        with pytest.raises(AuthenticationFailed):
            services.authentication.login("a@example.com", Secret(b"x" * size), Protocol.IMAP, "192.0.2.1")
    assert commands.seen == []
