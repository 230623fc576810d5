"""64 MB up and down hold little memory: measured in a real server process (and what large JSON is read as)."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import random
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from infra.devstack.endpoints import ShardUris
from mailcore.model.limits import DEFAULT_LIMITS
from mailcore.model.roles import Role
from tests.api.conftest import token
from tests.builders import make_services, make_user
from tests.system.altered_server import LAUNCH
from tests.system.servers import RunningServer, environment_of, start

MB = 1 << 20
LARGEST = DEFAULT_LIMITS.message_bytes
GROWTH_KB = 20 * 1000
"""So much more than before a process may hold at any moment while 64 MB go through it."""
WHOLE_KB = 118 * 1000
"""So much may be in memory then in all, the program and its libraries included: not 120 MB."""


class Server:
    """A server of the API, and a client that sends and takes piece by piece."""

    def __init__(self, running: RunningServer, token_text: str) -> None:
        self.running = running
        self.token = token_text

    def ask(
        self, method: str, path: str, body: Iterable[bytes] = (), size: int = 0, kind: str = "application/json"
    ) -> tuple[int, dict[str, Any], str, int]:
        """Return status, JSON if it is some, the SHA-256 of what came, and its size."""
        connection = http.client.HTTPConnection("127.0.0.1", self.running.port("api"), timeout=120)
        headers = {"X-Access-Token": self.token, "Content-Type": kind}
        if size:
            headers["Content-Length"] = str(size)
        connection.request(method, path, body=body or None, headers=headers)
        answer = connection.getresponse()
        digest, length, first = hashlib.sha256(), 0, b""
        while piece := answer.read(256 * 1024):
            digest.update(piece)
            length += len(piece)
            first = first or piece
        connection.close()
        is_json = answer.headers["Content-Type"] == "application/json"
        return answer.status, json.loads(first) if is_json else {}, digest.hexdigest(), length

    def growth_kb(self, work: Callable[[], None]) -> int:
        """Return how much more the process held at most while it worked than before."""
        self.running.begin_peak()
        before = self.running.rss_kb()
        work()
        return self.running.peak_kb() - before


@contextmanager
def serving(
    directory_uri: str, shard_uris: dict[str, ShardUris], redis_url: str, folder: Path, launcher: Sequence[str]
) -> Iterator[Server]:
    services = make_services(directory_uri, shard_uris, redis_url)
    user = make_user(services)
    owner = services.tokens.owner_of_user(user.user_id)
    environment = environment_of(directory_uri, redis_url, ["api"])
    with start(["api"], environment, folder, launcher=launcher, forked=False) as running:
        made = Server(running, token(services, owner, Role.USER))
        warm_up(made)
        yield made
    services.close()


@pytest.fixture(scope="module")
def server(
    directory_uri: str, shard_uris: dict[str, ShardUris], redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("api")
    with serving(directory_uri, shard_uris, redis_url, folder, ("-m", "mailcore")) as made:
        yield made


def warm_up(server: Server) -> None:
    """What a process loads and opens once is not what a large body costs."""
    path = messages_path(server)
    head, body, size = large_message(2 * MB)
    _, made, _, _ = server.ask("POST", path, (head, *body), size, "message/rfc822")
    server.ask("GET", f"{path}/{made['message']['id']}/message.eml")
    server.ask("GET", f"{path}/{made['message']['id']}/attachments/ATT00001")
    _, file, _, _ = server.ask("POST", "/users/me/storage", large_json("content", 2 * MB, {})[0])
    server.ask("GET", f"/users/me/storage/{file['id']}")


def messages_path(server: Server) -> str:
    _, found, _, _ = server.ask("GET", "/users/me/mailboxes/resolve?path=INBOX")
    return f"/users/me/mailboxes/{found['id']}/messages"


def random_pieces(size: int, seed: int = 1) -> Iterator[bytes]:
    source = random.Random(seed)
    for at in range(0, size, MB):
        yield source.randbytes(min(MB, size - at))


def large_message(size: int, seed: int = 1) -> tuple[bytes, Iterator[bytes], int]:
    """A message of exactly so many bytes with one attachment."""
    head = (
        b"From: a@example.org\r\nSubject: large\r\nMessage-ID: <large%d@example.org>\r\nMIME-Version: 1.0\r\n"
        b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n\r\nhello\r\n--b\r\n'
        b"Content-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=x.bin\r\n"
        b"Content-Transfer-Encoding: base64\r\n\r\n" % seed
    )
    tail = b"\r\n--b--\r\n"
    lines, rest = divmod(size - len(head) - len(tail), 78)

    def body() -> Iterator[bytes]:
        data = b"".join(random_pieces(57 * 10_000, seed))
        block = base64.encodebytes(data).replace(b"\n", b"\r\n")
        left = lines * 78
        while left > 0:
            yield block[: min(left, len(block))]
            left -= len(block)
        yield b"\r\n" * (rest // 2) + b" " * (rest % 2) + tail

    return head, body(), size


def large_json(name: str, size: int, more: dict[str, Any], seed: int = 1) -> tuple[Iterator[bytes], int, str]:
    """A JSON object with a field of so many bytes in base64; its pieces, its length, the SHA-256 of the bytes."""
    start = orjson.dumps({"encoding": "base64", **more})[:-1] + f',"{name}":"'.encode()
    digest = hashlib.sha256()
    for piece in random_pieces(size, seed):
        digest.update(piece)

    def body() -> Iterator[bytes]:
        yield start
        rest = b""
        for piece in random_pieces(size, seed):
            whole = (len(rest) + len(piece)) // 3 * 3
            joined = rest + piece
            yield base64.b64encode(joined[:whole])
            rest = joined[whole:]
        yield base64.b64encode(rest) + b'"}'

    return body(), len(start) + -(-size // 3) * 4 + 2, digest.hexdigest()


def digest_of(pieces: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def check_message_up_and_down(server: Server) -> None:
    path = messages_path(server)
    head, body, size = large_message(LARGEST, 2)
    expected = digest_of((head, *large_message(LARGEST, 2)[1]))
    made: dict[str, Any] = {}

    def upload() -> None:
        status, answer, _, _ = server.ask("POST", path, _chain(head, body), size, "message/rfc822")
        assert status == 200, answer
        made.update(answer["message"])

    def download() -> None:
        status, _, digest, length = server.ask("GET", f"{path}/{made['id']}/message.eml")
        assert (status, length, digest) == (200, LARGEST, expected)
        status, _, _, length = server.ask("GET", f"{path}/{made['id']}/attachments/ATT00001")
        assert (status, length > LARGEST * 0.7) == (200, True)

    growth = server.growth_kb(upload), server.growth_kb(download)
    print(f"message: up {growth[0]} kB, down {growth[1]} kB more than before, {server.running.peak_kb()} kB at most")
    assert max(growth) < GROWTH_KB, growth
    assert server.running.peak_kb() < WHOLE_KB


def _chain(head: bytes, body: Iterator[bytes]) -> Iterator[bytes]:
    yield head
    yield from body


def test_the_largest_message_goes_up_and_down_in_little_memory(server: Server) -> None:
    check_message_up_and_down(server)


def test_the_largest_file_goes_up_and_down_in_little_memory(server: Server) -> None:
    made: list[str] = []
    digests: list[str] = []

    def upload() -> None:
        status, answer, _, _ = server.ask(
            "POST", "/users/me/storage?filename=x", random_pieces(LARGEST, 3), LARGEST, "application/octet-stream"
        )
        assert status == 200, answer
        made.append(answer["id"])
        digests.append(digest_of(random_pieces(LARGEST, 3)))
        body, size, digest = large_json("content", LARGEST, {"filename": "y"}, 4)
        status, answer, _, _ = server.ask("POST", "/users/me/storage", body, size)
        assert status == 200, answer
        made.append(answer["id"])
        digests.append(digest)

    def download() -> None:
        for file, digest in zip(made, digests, strict=True):
            assert server.ask("GET", f"/users/me/storage/{file}")[2:] == (digest, LARGEST)

    growth = server.growth_kb(upload), server.growth_kb(download)
    print(f"file: up {growth[0]} kB, down {growth[1]} kB more than before, {server.running.peak_kb()} kB at most")
    assert max(growth) < GROWTH_KB, growth
    assert server.running.peak_kb() < WHOLE_KB


def test_a_large_attachment_is_composed_in_little_memory(server: Server) -> None:
    path = messages_path(server)
    size = 40 * MB
    made: dict[str, Any] = {}
    begin = b'{"subject":"x","attachments":[{"filename":"a.bin","content":"'

    def body() -> Iterator[bytes]:
        yield begin
        for piece in random_pieces(size, 5):
            yield base64.b64encode(piece[: len(piece) // 3 * 3])
        yield b'"}]}'

    length = sum(map(len, body()))

    def upload() -> None:
        status, answer, _, _ = server.ask("POST", path, body(), length)
        assert status == 200, answer
        made.update(answer["message"])

    growth = server.growth_kb(upload)
    print(f"composed: {growth} kB more than before")
    assert growth < GROWTH_KB
    expected = digest_of(piece[: len(piece) // 3 * 3] for piece in random_pieces(size, 5))
    assert server.ask("GET", f"{path}/{made['id']}/attachments/ATT00001")[2] == expected


def test_what_is_larger_is_refused_before_it_comes(server: Server) -> None:
    for path in (messages_path(server), "/users/me/storage"):
        status, answer, _, _ = server.ask("POST", path, [b"x"], LARGEST + 1, "application/octet-stream")
        assert (status, answer["code"]) == (413, "MessageTooLarge")


def test_a_body_that_is_held_whole_would_be_seen(
    directory_uri: str, shard_uris: dict[str, ShardUris], redis_url: str, tmp_path: Path
) -> None:
    """Negative control: a server that puts bodies together in memory."""
    launcher = (*LAUNCH, "whole-bodies")
    with serving(directory_uri, shard_uris, redis_url, tmp_path, launcher) as made, pytest.raises(AssertionError):
        check_message_up_and_down(made)


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 5000000", b"Transfer-Encoding: chunked"], ids=["length", "chunks"]
)
def test_who_stops_in_the_middle_of_a_body_is_let_go(
    directory_uri: str, shard_uris: dict[str, ShardUris], redis_url: str, tmp_path: Path, framing: bytes
) -> None:
    """Neither silence nor a lost connection holds anything, or is a fault of ours."""
    with serving(directory_uri, shard_uris, redis_url, tmp_path, (*LAUNCH, "short-stalls")) as made:
        for is_silent in (True, False):
            with socket.create_connection(("127.0.0.1", made.running.port("api")), timeout=30) as client:
                head = b"POST /users/me/storage HTTP/1.1\r\nHost: x\r\nX-Access-Token: %b\r\n%b\r\n"
                kind = b"Content-Type: application/octet-stream\r\n\r\n"
                client.sendall(head % (made.token.encode(), framing) + kind + b"4000\r\n" + b"x" * 1000)
                if is_silent:
                    assert client.recv(100).split(b" ")[1] in {b"400", b"408"}
        assert made.ask("GET", "/users/me/storage")[1]["total"] == 1
