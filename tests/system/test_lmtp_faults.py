"""LMTP while the database is away: 4xx in time, nothing lost, and on it goes (promises P1, P12)."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.devstack.stack import Stack
from tests.builders import make_services, make_user
from tests.system.servers import environment_of, start
from tests.system.test_lmtp import Raw, inbox

PATIENCE_S = 12.0


@pytest.mark.timeout(180)
def test_database_that_stops_is_451_and_the_dialogue_goes_on(
    new_stack: Callable[..., Stack], tmp_path: Path
) -> None:
    """The one node is stopped (SIGSTOP) before RCPT, and again before the final dot."""
    stack = new_stack(databases=("main", "redis"))
    services = make_services(stack.directory_uri, stack.shards, stack.redis_url)
    user = make_user(services)
    environment = environment_of(stack.directory_uri, stack.redis_url, ["lmtp"])
    with start(["lmtp"], environment, tmp_path) as server:
        client = Raw(server)
        client.begin(user)
        client.send(b"RSET\r\nMAIL FROM:<>\r\n")
        client.expect("250", "250")

        stack.pause("main")
        began = time.monotonic()
        client.send(f"RCPT TO:<{user.address}>\r\n".encode())
        client.expect("451 4.3.0")
        assert time.monotonic() - began < PATIENCE_S
        idle = Raw(server)
        idle.send(b"LHLO other.test\r\nNOOP\r\n")
        idle.expect("250", "250")
        stack.resume("main")

        ends_at = time.monotonic() + 60
        while True:
            client.send(f"RCPT TO:<{user.address}>\r\n".encode())
            if client.reply().startswith(b"250"):
                break
            assert time.monotonic() < ends_at
            time.sleep(0.2)
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


@pytest.mark.timeout(120)
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
        ends_at = time.monotonic() + 30
        client.send(b"LHLO x.test\r\nMAIL FROM:<>\r\n")
        client.expect("250", "250")
        while True:
            client.send(f"RCPT TO:<{user.address}>\r\n".encode())
            if client.reply().startswith(b"250 2.1.5"):
                break
            assert time.monotonic() < ends_at
            time.sleep(0.2)
