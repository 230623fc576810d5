"""The recipient lookup as a process: a transfer agent asks over TCP, strangers and junk get nothing."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailcore.lookup.wire import answer
from mailcore.services import MailServices
from tests.builders import MadeUser, make_services, make_user
from tests.system.servers import RunningServer, environment_of, start

HOST = "127.0.0.1"


@pytest.fixture(scope="module")
def services(directory_uri: str, shard_uris: dict[str, Any]) -> Iterator[MailServices]:
    connected = make_services(directory_uri, shard_uris)
    yield connected
    connected.close()


@pytest.fixture(scope="module")
def user(services: MailServices) -> MadeUser:
    return make_user(services)


@pytest.fixture(scope="module")
def server(
    services: MailServices, directory_uri: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    environment = environment_of(directory_uri, redis_url, ["lookup"])
    with start(["lookup"], environment, tmp_path_factory.mktemp("lookup")) as running:
        yield running


def connect(server: RunningServer) -> socket.socket:
    return socket.create_connection((HOST, server.port("lookup")), timeout=20)


def everything(client: socket.socket) -> bytes:
    """What comes until the other end closes."""
    taken = b""
    try:
        while data := client.recv(65536):
            taken += data
    except ConnectionResetError:
        pass
    return taken


def test_many_questions_on_one_connection(server: RunningServer, user: MadeUser) -> None:
    domain = user.address.partition("@")[2]
    questions = [f"domains {domain}", f"access {user.address}", f"access nobody@{domain}", f"recipients {user.address}"]
    with connect(server) as client:
        client.sendall(b"".join(map(answer, questions * 50)))
        client.shutdown(socket.SHUT_WR)
        expected = [
            f"OK {domain}",
            "OK DUNNO",
            "OK 550 5.1.1 Nobody receives mail at this address",
            "OK known",
        ]
        assert everything(client) == b"".join(map(answer, expected * 50))


@pytest.mark.parametrize(
    "junk", [b"GET / HTTP/1.1\r\n\r\n", b"9" * 100_000, b"\x00\xff" * 5000, b"4294967296:", b"5:a b,x"]
)
def test_junk_is_closed_and_costs_no_memory(server: RunningServer, user: MadeUser, junk: bytes) -> None:
    """Attack N5."""
    with connect(server) as client:
        client.sendall(junk)
        assert everything(client) == b""
    with connect(server) as client:
        client.sendall(answer(f"recipients {user.address}"))
        assert client.recv(100) == answer("OK known")


def test_strangers_are_not_admitted(directory_uri: str, redis_url: str, tmp_path: Path, user: MadeUser) -> None:
    """Behind a listed proxy, a client from elsewhere hears nothing; one that is listed is answered."""
    environment = environment_of(
        directory_uri, redis_url, ["lookup"], EIDER_PROXY_FROM="127.0.0.0/8", EIDER_LOOKUP_PEERS="198.51.100.0/24"
    )
    with start(["lookup"], environment, tmp_path) as own:
        for address, said in (("203.0.113.9", b""), ("198.51.100.7", answer("OK known"))):
            with connect(own) as client:
                client.sendall(f"PROXY TCP4 {address} 10.0.0.1 5000 25\r\n".encode())
                client.sendall(answer(f"recipients {user.address}"))
                client.shutdown(socket.SHUT_WR)
                assert everything(client) == said


def test_start_is_refused_where_anybody_could_ask(directory_uri: str, redis_url: str) -> None:
    environment = environment_of(directory_uri, redis_url, ["lookup"]) | {"EIDER_LOOKUP_LISTEN": "0.0.0.0:0"}
    done = subprocess.run(
        [sys.executable, "-m", "mailcore", "lookup"], env=environment, capture_output=True, timeout=30, check=False
    )
    assert done.returncode == 78
    assert b"EIDER_LOOKUP_PEERS" in done.stderr
