"""`eider app-password|token` and what `eider user|tenant` do about signing in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import pytest
from bson import ObjectId

from mailcore.errors import MailError
from mailcore.model.access import Protocol
from mailcore.model.secret import Secret
from mailcore.services import MailServices
from mailcore.services.wiring import connect
from tests.builders import make_settings
from tests.cli.conftest import Eider


@dataclass
class World:
    """A tenant, a user, and services to sign in with."""

    eider: Eider
    services: MailServices
    tenant: str
    address: str

    def signs_in(self, password: str, protocol: Protocol = Protocol.IMAP) -> bool:
        try:
            self.services.authentication.login(self.address, Secret(password), protocol, "2001:db8:77::1")
        except MailError:
            return False
        return True

    def token_signs_in(self, token: str) -> bool:
        try:
            self.services.authentication.login_with_token("", Secret(token), Protocol.SMTP, "2001:db8:77::1")
        except MailError:
            return False
        return True


@pytest.fixture
def world(eider: Eider, directory_uri: str) -> Iterator[World]:
    unique = str(ObjectId())
    eider("tenant", "create", unique, "--region", "eu")
    eider("domain", "create", f"{unique}.test", "--tenant", unique)
    address = f"a@{unique}.test"
    assert eider("user", "create", address, "--tenant", unique, "--password-stdin", stdin="master word\n").status == 0
    services = connect(make_settings(directory_uri))
    yield World(eider, services, unique, address)
    services.close()


def found(pattern: str, text: str) -> str:
    match = re.search(pattern, text, re.MULTILINE)
    assert match is not None, text
    return match[1]


def test_app_passwords(world: World) -> None:
    eider, address = world.eider, world.address
    made = eider("app-password", "create", address, "--description", "Phone", "--scope", "imap", "--days", "30")
    assert made.status == 0
    letters = found(r"^password: ((?:[a-z]{4} ?){4})$", made.out)
    password_id = found(r"created: ([0-9a-f]{24})$", made.out)
    assert world.signs_in(letters)
    assert not world.signs_in(letters, Protocol.POP3)
    world.services.last_uses.flush()
    listed = eider("app-password", "list", address).out
    assert re.search(
        rf"{password_id}  Phone +imap +\d{{4}}-\d\d-\d\d  \d{{4}}-\d\d-\d\d \d\d:\d\d  .* imap 2001:", listed
    )
    groups = letters.split()
    assert not any(join.join(pair) in listed for pair in pairwise(groups) for join in ("", " "))
    assert eider("app-password", "revoke", address, password_id).status == 0
    assert not world.signs_in(letters)
    again = eider("app-password", "revoke", address, password_id)
    assert again.status == 1
    assert again.err == f"eider: there is no app password {password_id}\n"
    assert eider("app-password", "revoke", address, "nonsense").status == 2
    assert eider("app-password", "create", address, "--description", "x", "--scope", "api").status == 2
    assert eider("app-password", "create", address, "--description", "x", "--days", "-1").status == 2


def test_tokens(world: World) -> None:
    eider = world.eider
    for owner in (("--platform",), ("--tenant", world.tenant), ("--user", world.address)):
        role = "user" if owner[0] == "--user" else "root"
        made = eider("token", "create", *owner, "--role", role, "--description", "Test", "--unused-days", "14")
        assert made.status == 0, made.err
        token, token_id = found(r"^token: ([0-9a-f]{40})$", made.out), found(r"created: ([0-9a-f]{24})$", made.out)
        assert world.token_signs_in(token) == (role == "user")
        listed = eider("token", "list", *owner).out
        assert token_id in listed
        assert token not in listed
        assert eider("token", "revoke", *owner, token_id).status == 0
        assert not world.token_signs_in(token)
        assert token_id not in eider("token", "list", *owner).out
    refused = eider("token", "create", "--platform", "--role", "user", "--description", "x")
    assert (refused.status, refused.err) == (1, "eider: the role user is for users' tokens\n")
    assert eider("token", "list").status == 2


def test_passwords(world: World) -> None:
    eider, address = world.eider, world.address
    made = eider("user", "temporary-password", address)
    temporary = found(r": ([a-z0-9]{16})$", made.out)
    assert world.signs_in(temporary, Protocol.PORTAL)
    assert not world.signs_in(temporary)
    encoded = "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"
    assert eider("user", "set-password-hash", address, stdin=encoded + "\n").status == 0
    assert world.signs_in("Hello world!")
    assert not world.signs_in("master word")
    refused = eider("user", "set-password-hash", address, stdin="{PLAIN}secret\n")
    assert (refused.status, refused.err) == (1, "eider: not a password hash of a known scheme\n")
    chosen = ("user", "set-password", address, "--password-stdin", "--change-needed")
    assert eider(*chosen, stdin="chosen by others\n").status == 0
    assert not world.signs_in("chosen by others")
    assert world.signs_in("chosen by others", Protocol.PORTAL)
    reused = eider("user", "set-password", address, "--password-stdin", stdin="chosen by others\n")
    assert (reused.status, reused.err) == (1, "eider: this is the present password or one of the last\n")


def test_logout_and_protocols(world: World) -> None:
    eider, address = world.eider, world.address
    identity = world.services.authentication.login(address, Secret("master word"), Protocol.IMAP, "")
    session = world.services.sessions.open(identity, lambda: None)
    assert eider("user", "logout", address, "--reason", "Time for tea").status == 0
    world.services.sessions.poll()
    assert session.ended == "Time for tea"
    session.close()
    assert eider("user", "logout", address, "--reason", "two\nlines").status == 1
    for noun, name in (("user", address), ("tenant", world.tenant)):
        assert "imap, pop3" in eider(noun, "set-protocols", name, "--off", "pop3,imap").out
        world.services.sessions.poll()
        assert not world.signs_in("master word")
        assert world.signs_in("master word", Protocol.SMTP)
        assert "none" in eider(noun, "set-protocols", name, "--off", "none").out
        world.services.sessions.poll()
        assert world.signs_in("master word")
        assert eider(noun, "set-protocols", name, "--off", "api").status == 2
