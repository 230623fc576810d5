"""The database away: -ERR [SYS/TEMP], the session goes on and works again by itself (P12)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from infra.devstack.stack import Stack
from tests.builders import make_services, make_user
from tests.transcripts.pop3.dialogue import Pop3

LATER = b"-ERR [SYS/TEMP] Try again later\r\n"
RAW = b"Subject: small\r\n\r\nbody\r\n"


@pytest.mark.timeout(240)
def test_commands_fail_cleanly_while_the_database_is_away(new_stack: Callable[..., Stack]) -> None:
    stack = new_stack(databases=("main", "a-cold"))
    services = make_services(stack.directory_uri, {"a": stack.shards["a"]})
    try:
        pop3 = Pop3(services, make_user(services, shard="a"))
        pop3.append(RAW, RAW)
        client, other = pop3.sign_in("1"), pop3.sign_in("2")
        other.run("DELE 2")
        stack.kill("main")
        assert client.ask(b"RETR 1\r\n") == LATER
        assert client.run("STAT").startswith(b"+OK 2 ")
        assert client.lines("UIDL"), "the snapshot needs no database"
        assert other.ask(b"QUIT\r\n") == LATER
        assert other.is_closed
        stack.restart("main")
        assert client.retrieve(1) == RAW
        assert pop3.sign_in("3").run("STAT").startswith(b"+OK 2 "), "nothing was removed"
    finally:
        services.close()
