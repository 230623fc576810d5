"""`eider shard|tenant|domain|user`: the services' rules, one clear line for what is refused."""

from __future__ import annotations

import re
import socket
from typing import Any

import pytest
from bson import ObjectId

from mailcore.errors import AuthenticationFailed, UserDisabled
from mailcore.model.access import Protocol
from mailcore.model.secret import Secret
from mailcore.services.wiring import connect
from tests.builders import make_settings
from tests.cli.conftest import Eider


@pytest.fixture
def unique() -> str:
    return str(ObjectId())


def signs_in(directory_uri: str, address: str, password: str) -> bool:
    services = connect(make_settings(directory_uri))
    try:
        services.authentication.login(address, Secret(password), Protocol.IMAP, "")
    except AuthenticationFailed:
        return False
    finally:
        services.close()
    return True


def test_from_nothing_to_a_user_who_signs_in(eider: Eider, directory_uri: str, unique: str) -> None:
    tenant, domain = f"Bäckerei {unique}", f"bäckerei-{unique}.test"
    created = eider("tenant", "create", tenant, "--region", "eu", "--shard", "a")
    assert created.status == 0
    assert "on shard a" in created.out
    assert eider("domain", "create", domain, "--tenant", tenant).status == 0
    address = f"Jörg@{domain}"
    made = eider("user", "create", address, "--tenant", tenant, "--name", "Jörg B.", "--quota", "5G")
    assert made.status == 0
    password = re.search(r"^password: (\S{20})$", made.out, re.MULTILINE)
    assert password is not None
    assert signs_in(directory_uri, address.upper(), password[1])
    listed = eider("user", "list", "--tenant", tenant.upper()).out.splitlines()
    assert re.fullmatch(rf"[0-9a-f]{{24}}  {address} +Jörg B\. +a +5 GiB +active", listed[1])
    assert tenant in eider("tenant", "list").out
    assert f"xn--bckerei-{unique}" in eider("domain", "list", "--tenant", tenant).out
    assert re.search(r"^a +eu +open +mongodb://", eider("shard", "list").out, re.MULTILINE)


def test_a_password_from_standard_input_is_not_printed(eider: Eider, directory_uri: str, unique: str) -> None:
    eider("tenant", "create", unique, "--region", "eu")
    eider("domain", "create", f"{unique}.test", "--tenant", unique)
    address = f"a@{unique}.test"
    made = eider("user", "create", address, "--tenant", unique, "--password-stdin", stdin="pässwörd 1\n")
    assert made.status == 0
    assert "pässwörd" not in made.out + made.err
    assert signs_in(directory_uri, address, "pässwörd 1")
    assert eider("user", "set-password", address, "--password-stdin", stdin="another one\r\n").status == 0
    assert signs_in(directory_uri, address, "another one")
    assert not signs_in(directory_uri, address, "pässwörd 1")
    assert eider("user", "set-quota", address, "1.5G").out == f"quota of {address} is 1.5 GiB\n"
    assert eider("user", "set-quota", address, "none").out == f"quota of {address} is unlimited\n"
    assert eider("user", "set-state", address, "suspended").status == 0
    with pytest.raises(UserDisabled):
        signs_in(directory_uri, address, "another one")


REFUSED: list[Any] = [
    pytest.param(("tenant", "create", "{u}", "--region", "mars"), "eider shard add", id="no-shard-in-region"),
    pytest.param(("tenant", "create", "{u}", "--region", "eu", "--shard", "z"), "no shard named z", id="unknown-shard"),
    pytest.param(("domain", "create", "x.test", "--tenant", "{u}"), "no tenant named", id="unknown-tenant"),
    pytest.param(("domain", "create", "x", "--tenant", "T{u}"), "full domain name", id="single-label"),
    pytest.param(("user", "create", "a@nowhere.test", "--tenant", "T{u}"), "add it first", id="unknown-domain"),
    pytest.param(("user", "create", "a b@{u}.test", "--tenant", "T{u}"), "quoted", id="bad-address"),
    pytest.param(("user", "create", "a@{u}.test", "--tenant", "T{u}", "--quota", "big"), "such as 5G", id="bad-quota"),
    pytest.param(
        ("user", "create", "a@{u}.test", "--tenant", "T{u}", "--password-stdin"), "8 characters", id="no-password"
    ),
    pytest.param(("user", "set-state", "nobody@{u}.test", "active"), "reaches nobody", id="unknown-user"),
    pytest.param(("shard", "add", "a", "--region", "eu", "--hot", "x", "--cold", "y"), "mongodb://", id="bad-uri"),
    pytest.param(("shard", "close", "zz"), "no shard named zz", id="close-unknown"),
]


@pytest.mark.parametrize("dead", ["hot", "cold"])
def test_a_shard_that_does_not_answer_is_told_of_soon(eider: Eider, directory_uri: str, unique: str, dead: str) -> None:
    """Whoever listens there says nothing, as a host behind a firewall does."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        nowhere = f"127.0.0.1:{silent.getsockname()[1]}"
        alive = directory_uri.replace("?", f"{unique}?") if "?" in directory_uri else directory_uri + unique
        uris = {"hot": alive, "cold": alive, dead: f"mongodb://{nowhere}/x"}
        outcome = eider("shard", "add", f"s{unique}", "--region", "eu", "--hot", uris["hot"], "--cold", uris["cold"])
    assert outcome.status == 1
    assert outcome.err == (
        f"eider: shard s{unique}: {nowhere}, its {dead} set, does not answer: "
        "see that it runs and can be reached from here\n"
    )
    assert f"s{unique}" not in eider("shard", "list").out


@pytest.mark.parametrize(("arguments", "said"), REFUSED)
def test_what_is_refused_says_so_in_one_line(eider: Eider, unique: str, arguments: tuple[str, ...], said: str) -> None:
    eider("tenant", "create", f"T{unique}", "--region", "eu")
    eider("domain", "create", f"{unique}.test", "--tenant", f"T{unique}")
    outcome = eider(*(argument.replace("{u}", unique) for argument in arguments), stdin="short\n")
    assert outcome.status == 1
    assert said in outcome.err
    assert outcome.err.startswith("eider: ")
    assert outcome.err.rstrip("\n").count("\n") == 0
    assert outcome.out == ""


def test_taken_names_are_refused(eider: Eider, unique: str) -> None:
    for arguments in (
        ("tenant", "create", unique, "--region", "eu"),
        ("domain", "create", f"{unique}.test", "--tenant", unique),
        ("user", "create", f"a.b@{unique}.test", "--tenant", unique),
    ):
        assert eider(*arguments).status == 0
        again = eider(*arguments)
        assert again.status == 1
        assert "exists" in again.err or "already" in again.err


def test_without_settings_it_says_what_to_set(eider: Eider, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.delenv("MONGO_URI")
    monkeypatch.chdir(tmp_path)
    outcome = eider("tenant", "list")
    assert outcome.status == 1
    assert "MONGO_URI" in outcome.err
    assert "eider stack up" in outcome.err
    monkeypatch.setenv("MONGO_URI", "mongodb://127.0.0.1:1/x?w=1")
    assert "w must be majority" in eider("tenant", "list").err


def test_a_dead_directory_is_one_line(eider: Eider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONGO_URI", "mongodb://127.0.0.1:1/x?serverSelectionTimeoutMS=100")
    outcome = eider("tenant", "list")
    assert outcome.status == 1
    assert outcome.err == "eider: the database does not answer: see that it runs (eider stack status)"
