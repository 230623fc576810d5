"""Requests as bytes: whatever another server might read as one more, or one fewer, is refused (RFC 9112 §11.2)."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

import gevent
import pytest
from gevent import socket as green_socket
from gevent.event import Event
from gevent.pywsgi import Input

from mailcore.net import request_body, web
from mailcore.net.request_body import RequestBody
from mailcore.net.web import WebEndpoint, WebServer


class Ask(Protocol):
    """Sends bytes and returns which paths the application was asked for."""

    port: int

    def __call__(self, data: bytes) -> list[bytes]: ...


HEAD = b"POST /first HTTP/1.1\r\nHost: x\r\n"
SECOND = b"GET /second HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.fixture
def ask() -> Iterator[Ask]:
    asked: list[bytes] = []

    def application(environ: dict[str, Any], start: Any) -> list[bytes]:
        environ["wsgi.input"].read()
        asked.append(environ["PATH_INFO"].encode())
        start("200 OK", [("Content-Length", "0")])
        return []

    server = WebServer([WebEndpoint("test", "127.0.0.1", 0, application)])
    server.start()

    class Asking:
        port = server.ports[0]

        def __call__(self, data: bytes) -> list[bytes]:
            asked.clear()
            with gevent.Timeout(10), green_socket.create_connection(("127.0.0.1", self.port)) as client:
                client.sendall(data)
                client.shutdown(socket.SHUT_WR)
                while client.recv(65536):
                    pass
            return list(asked)

    yield Asking()
    server.stop(1)


def test_requests_follow_one_another(ask: Ask) -> None:
    assert ask(HEAD + b"Content-Length: 2\r\n\r\nab" + SECOND) == [b"/first", b"/second"]
    assert ask(HEAD + b"Transfer-Encoding: Chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n" + SECOND) == [b"/first", b"/second"]
    assert ask(b"GET /first HTTP/1.0\r\n\r\n") == [b"/first"]


AMBIGUOUS = {
    "both": b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"Content-Length: 2\r\nContent-Length: 0\r\n\r\nab",
    "lengths in one": b"Content-Length: 2, 2\r\n\r\nab",
    "signed": b"Content-Length: +2\r\n\r\nab",
    "two codings": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "coded and chunked": b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "unknown coding": b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "blank before the colon": b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "folded": b"X: y\r\n Content-Length: 2\r\n\r\nab",
    "no colon": b"X\r\nContent-Length: 2\r\n\r\nab",
    "NUL": b"X: \x00\r\nContent-Length: 2\r\n\r\nab",
    "two hosts": b"Host: y\r\nContent-Length: 2\r\n\r\nab",
}


@pytest.mark.parametrize("rest", [pytest.param(rest, id=name) for name, rest in AMBIGUOUS.items()])
def test_what_can_be_read_in_two_ways_is_refused(ask: Ask, rest: bytes) -> None:
    assert ask(HEAD + rest + SECOND) == []


def test_http_of_yesterday_is_refused(ask: Ask) -> None:
    assert ask(b"GET /first\r\n\r\n") == []
    assert ask(b"GET /first HTTP/1.1\r\n\r\n") == []
    assert ask(b"POST /first HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n") == []


@pytest.fixture
def refusing() -> Iterator[int]:
    """A port where every body is refused unread."""

    def application(environ: dict[str, Any], start: Any) -> list[bytes]:
        start("413 Too Large", [("Content-Length", "2")])
        return [b"no"]

    server = WebServer([WebEndpoint("test", "127.0.0.1", 0, application)])
    server.start()
    yield server.ports[0]
    server.stop(1)


FRAMINGS = {"length": b"Content-Length: 100000000000\r\n\r\n", "chunks": b"Transfer-Encoding: chunked\r\n\r\n"}


@pytest.mark.parametrize("framing", [pytest.param(framing, id=name) for name, framing in FRAMINGS.items()])
@pytest.mark.parametrize("bound", ["bytes", "time"])
def test_a_body_that_is_refused_is_not_read_to_its_end(
    refusing: int, monkeypatch: pytest.MonkeyPatch, framing: bytes, bound: str
) -> None:
    if bound == "bytes":
        monkeypatch.setattr(request_body, "DRAIN_BYTES", 1 << 20)
    else:
        monkeypatch.setattr(request_body, "DRAIN_S", 0.2)
    assert send_for_ever(refusing, framing).startswith(b"HTTP/1.1 413 ")


def send_for_ever(port: int, framing: bytes) -> bytes:
    """Send a body until the other side takes no more; return its answer, which was there long before."""
    piece = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    with gevent.Timeout(20), green_socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(HEAD + framing)
        answer = client.recv(65536)
        with pytest.raises(ConnectionError):
            while True:
                client.sendall(piece)
        return bytes(answer)


def test_without_a_bound_it_would_be_read_on(refusing: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RequestBody, "_discard", Input._discard)
    with pytest.raises(gevent.Timeout), gevent.Timeout(1):
        send_for_ever(refusing, FRAMINGS["length"])


def test_who_sends_somewhat_too_much_sees_the_answer_and_the_end(refusing: int) -> None:
    size = 5_000_000
    with gevent.Timeout(20), green_socket.create_connection(("127.0.0.1", refusing)) as client:
        client.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % size)
        client.sendall(b"x" * size)
        answer = b""
        while piece := client.recv(65536):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    assert (head.partition(b"\r\n")[0], b"Connection: close" in head, body) == (b"HTTP/1.1 413 Too Large", True, b"no")


def test_who_waits_for_leave_to_send_is_answered_and_not_waited_for(refusing: int) -> None:
    with gevent.Timeout(20), green_socket.create_connection(("127.0.0.1", refusing)) as client:
        client.sendall(HEAD + b"Expect: 100-continue\r\nContent-Length: 100\r\n\r\n")
        answer = b""
        while piece := client.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_a_connection_goes_on_after_a_little_that_was_not_read(refusing: int) -> None:
    with gevent.Timeout(20), green_socket.create_connection(("127.0.0.1", refusing)) as client:
        client.sendall(HEAD + b"Content-Length: 2\r\n\r\nab" + SECOND)
        answer = b""
        while piece := client.recv(65536):
            answer += piece
    assert answer.count(b"HTTP/1.1 413 ") == 2


@pytest.mark.parametrize("begun", [b"GET /", b"GET / HTTP/1.1\r\nX: "], ids=["line", "fields"])
def test_who_lets_a_head_trickle_in_is_cut_off(ask: Ask, monkeypatch: pytest.MonkeyPatch, begun: bytes) -> None:
    """However little the pauses are: the whole of a head has one deadline."""
    monkeypatch.setattr(web, "HEAD_S", 0.5)
    with gevent.Timeout(20), green_socket.create_connection(("127.0.0.1", ask.port)) as client:
        client.sendall(begun)
        client.settimeout(0.02)
        with pytest.raises(ConnectionError):
            while True:
                try:
                    client.sendall(b"x")
                    if not client.recv(1000):
                        raise ConnectionResetError
                except TimeoutError:
                    continue
    assert ask(HEAD + b"Content-Length: 0\r\n\r\n" + SECOND) == [b"/first", b"/second"]


def test_a_body_may_take_longer_than_a_head(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "HEAD_S", 0.2)
    with gevent.Timeout(20), green_socket.create_connection(("127.0.0.1", ask.port)) as client:
        client.sendall(HEAD + b"Content-Length: 2\r\nConnection: close\r\n\r\na")
        gevent.sleep(0.5)
        client.sendall(b"b")
        assert client.recv(1000).startswith(b"HTTP/1.1 200")


def test_without_the_look_a_second_request_is_slipped_in(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control."""
    monkeypatch.setattr(web, "check_head", lambda *_: None)
    assert b"/second" in ask(HEAD + AMBIGUOUS["coded and chunked"] + SECOND) + ask(HEAD + AMBIGUOUS["both"] + SECOND)


@pytest.fixture
def streaming() -> Iterator[int]:
    """A server that does not say how long its answers are."""

    def application(environ: dict[str, Any], start: Any) -> Iterator[bytes]:
        environ["wsgi.input"].read()
        start("200 OK", [])
        return iter(() if environ["REQUEST_METHOD"] == "HEAD" else (b"some ", b"words"))

    server = WebServer([WebEndpoint("test", "127.0.0.1", 0, application)])
    server.start()
    yield server.ports[0]
    server.stop(1)


def check_head_is_all(port: int) -> None:
    """What comes behind the head of an answer to HEAD is the next answer."""
    with gevent.Timeout(10), green_socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n" + SECOND)
        answer = b""
        while piece := client.recv(65536):
            answer += piece
    first, second, body = answer.split(b"\r\n\r\n", 2)
    assert (first[:15], second[:15]) == (b"HTTP/1.1 200 OK", b"HTTP/1.1 200 OK")
    assert body == b"5\r\nsome \r\n5\r\nwords\r\n0\r\n\r\n"


def test_an_answer_to_head_has_no_body_though_its_length_is_not_known(streaming: int) -> None:
    check_head_is_all(streaming)


def test_the_end_of_no_body_would_be_seen(streaming: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control."""
    monkeypatch.delattr(web._Handler, "finalize_headers")
    with pytest.raises(AssertionError):
        check_head_is_all(streaming)


@pytest.mark.parametrize(
    "kind", [b"multipart/form-data; boundary=x", b"multipart/mixed; boundary=x", b"message/rfc822"]
)
def test_a_body_of_any_kind_is_taken(ask: Ask, kind: bytes) -> None:
    """A form in several parts, too: nobody looks for its parts in the head."""
    assert ask(HEAD + b"Content-Type: " + kind + b"\r\nContent-Length: 2\r\n\r\nab" + SECOND) == [b"/first", b"/second"]


@contextmanager
def crowded(monkeypatch: pytest.MonkeyPatch, most: int) -> Iterator[tuple[int, Event]]:
    """A server that serves so many at once; at /slow it says that it has begun, and takes its time."""
    monkeypatch.setattr(web, "CONNECTIONS", most)
    begun = Event()

    def application(environ: dict[str, Any], start: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/slow":
            begun.set()
            gevent.sleep(0.5)
        start("200 OK", [("Content-Length", "0")])
        return []

    server = WebServer([WebEndpoint("test", "127.0.0.1", 0, application)])
    server.start()
    yield server.ports[0], begun
    server.stop(1)


def check_nobody_is_kept_out(port: int, begun: Event) -> None:
    """However many begin a request and never end it; who is being answered is left alone."""
    with ExitStack() as opened, gevent.Timeout(10):

        def connect(data: bytes) -> Any:
            client = opened.enter_context(green_socket.create_connection(("127.0.0.1", port)))
            client.sendall(data)
            return client

        busy = connect(b"GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        begun.wait()
        for number in range(20):
            connect(b"GET / HTTP/1.1\r\nX: " if number % 2 else b"")
        assert connect(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").recv(15) == b"HTTP/1.1 200 OK"
        assert busy.recv(15) == b"HTTP/1.1 200 OK"


def test_who_asks_for_nothing_keeps_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with crowded(monkeypatch, 5) as (port, begun):
        check_nobody_is_kept_out(port, begun)


def test_who_is_let_wait_would_keep_others_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control."""
    monkeypatch.setattr(web._Handler, "cut_off", lambda _: None)
    with crowded(monkeypatch, 5) as (port, begun), pytest.raises(gevent.Timeout), gevent.Timeout(2):
        check_nobody_is_kept_out(port, begun)
