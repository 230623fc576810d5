"""Commands and octets in any order: no crash, no exception text, every answer whole (N12)."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from mailcore.errors import SyntaxFault
from mailcore.managesieve.wire import CommandReader, RawCommand, parse_command
from mailcore.services import MailServices
from tests.builders import make_services, make_user
from tests.transcripts.managesieve.dialogue import ManageSieve

LINES = [
    b'AUTHENTICATE "PLAIN"', b'"AGEAYg=="', b'"*"', b'""', b'AUTHENTICATE "LOGIN"', b"CAPABILITY", b"NOOP", b'NOOP "x"',
    b'PUTSCRIPT "a" "keep;"', b'PUTSCRIPT "b" {5+}\r\nkeep;', b'PUTSCRIPT "c" "nonsense"', b'SETACTIVE "a"',
    b'SETACTIVE ""', b"LISTSCRIPTS", b'GETSCRIPT "a"', b'DELETESCRIPT "a"', b'RENAMESCRIPT "a" "b"', b'HAVESPACE "a" 1',
    b'CHECKSCRIPT {3+}\r\n"\0x', b"UNAUTHENTICATE", b"STARTTLS", b"garbage", b"", b" ", b"\xff\xfe", b"\0", b'"',
    b"LOGOUT x", b"X" * 9000, b"CHECKSCRIPT {90000+}\r\n" + b"y" * 90000,
]  # fmt: skip


@pytest.fixture(scope="module")
def services(directory_uri: str, shard_uris: dict[str, Any]) -> Iterator[MailServices]:
    made = make_services(directory_uri, shard_uris)
    yield made
    made.close()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("signed_in", [False, True])
def test_any_order_of_commands_is_answered(services: MailServices, seed: int, signed_in: bool) -> None:
    chance = random.Random(seed)
    sieve = ManageSieve(services, make_user(services))
    client = sieve.sign_in() if signed_in else sieve.connect()
    for _ in range(60):
        answer = client.ask(b"".join(line + b"\r\n" for line in chance.choices(LINES, k=chance.randrange(1, 4))))
        assert answer.endswith(b"\r\n")
        for word in (b"Internal error", b"Traceback", b"Error(", b"mailcore", b"ObjectId"):
            assert word not in answer, answer
        if client.is_closed:
            break
    client.close()


def test_no_input_raises_anything_but_a_syntax_fault() -> None:
    chance = random.Random(7)
    alphabet = [
        b'"',
        b"\\",
        b"{",
        b"}",
        b"+",
        b"5",
        b"\r",
        b"\n",
        b"\r\n",
        b" ",
        b"a",
        b"NOOP",
        b"\0",
        b"\xc3",
        b"{2+}\r\n",
    ]
    for _ in range(3000):
        reader = CommandReader(64, 64)
        reader.feed(b"".join(chance.choices(alphabet, k=chance.randrange(1, 40))) + b"\r\n")
        while isinstance(raw := reader.read(), RawCommand):
            try:
                parse_command(raw)
            except SyntaxFault:
                continue
        assert reader.held_bytes <= 400
