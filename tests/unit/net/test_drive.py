"""The pump: joined writes, backpressure, wakes, deadlines, ends."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import suppress

import gevent
import pytest
from gevent import socket

from mailcore.model.actions import Action, SetDeadline
from mailcore.net.drive import Pump
from tests.unit.net.echo import read, read_to_end, serving, until


def test_dialogue_and_end() -> None:
    with serving() as served:
        client = served.connect()
        read(client, b"hello\r\n")
        client.sendall(b"one\r\ntw")
        read(client, b"one\r\n")
        client.sendall(b"o\r\n")
        read(client, b"two\r\n")
        client.close()
        until(lambda: not served.listener.connections)
        assert served.connections[0].log == ["one", "two", "eof"]


def test_answers_of_one_input_leave_in_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as served:
        client = served.connect()
        read(client, b"hello\r\n")
        client.sendall(b"a\r\nb\r\nc\r\n")
        until(lambda: len(served.connections[0].log) == 3)
        assert client.recv(1000) == b"a\r\nb\r\nc\r\n"


def test_flush_writes_before_long_work() -> None:
    with serving() as served:
        client = served.connect()
        read(client, b"hello\r\n")
        client.sendall(b"SLOW\r\n")
        assert client.recv(1000) == b"first\r\n"
        assert client.recv(1000) == b"second\r\n"


def test_large_output_waits_for_the_client() -> None:
    """A client that does not read stops the generator, not the process, and no memory is taken."""
    with serving() as served:
        client = served.connect()
        other = served.connect()
        read(client, b"hello\r\n")
        read(other, b"hello\r\n")
        client.sendall(b"BIG 20000\r\n")  # 160 MB
        echo = served.connections[0]
        until(lambda: len(echo.log) > 10)
        steps = -1
        while steps != len(echo.log):
            steps = len(echo.log)
            gevent.sleep(0.05)
        assert steps < 5000
        other.sendall(b"there?\r\n")
        read(other, b"there?\r\n")
        for number in range(20_000):
            read(client, b"%07d\n" % number * 1000)
        client.close()


def test_client_that_goes_away_while_we_write_ends_the_generator() -> None:
    with serving() as served:
        client = served.connect()
        read(client, b"hello\r\n")
        client.sendall(b"BIG 20000\r\n")
        until(lambda: len(served.connections[0].log) > 10)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        client.close()
        until(lambda: not served.listener.connections)
        assert served.connections[0].log[-1] == "eof"
        assert len(served.connections[0].log) < 20_000


def test_nothing_is_carried_out_behind_close() -> None:
    with serving() as served:
        client = served.connect()
        client.sendall(b"BYE\r\nmore\r\n")
        assert read_to_end(client) == b"hello\r\nbye\r\n"


def test_fault_of_a_connection_closes_it_alone(caplog: pytest.LogCaptureFixture) -> None:
    with serving() as served:
        client, other = served.connect(), served.connect()
        read(other, b"hello\r\n")
        client.sendall(b"done\r\nBUG\r\n")
        assert read_to_end(client) == b"hello\r\ndone\r\nso far\r\n", "what was done before it was answered"
        assert "connection.failed" in caplog.text
        other.sendall(b"there?\r\n")
        read(other, b"there?\r\n")


def test_wake_while_idle_and_while_busy() -> None:
    with serving() as served:
        client = served.connect()
        read(client, b"hello\r\n")
        echo = served.connections[0]
        echo.wake_me()
        echo.wake_me()
        read(client, b"news\r\n")
        client.sendall(b"SLOW\r\n")
        read(client, b"first\r\n")
        echo.wake_me()
        read(client, b"second\r\nnews\r\n")
        client.close()
        until(lambda: not served.listener.connections)
        echo.wake_me()  # of a connection that is gone: nothing


def test_deadline_without_input() -> None:
    with serving(SetDeadline(0.8)) as served:
        client = served.connect()
        read(client, b"hello\r\n")
        for _ in range(5):
            gevent.sleep(0.2)
            client.sendall(b"x\r\n")
            read(client, b"x\r\n")
        assert read_to_end(client) == b"timeout\r\n"


def test_total_deadline_counts_whatever_comes_in() -> None:
    """Attack N7: one octet now and then does not keep an unauthenticated connection."""
    with serving(SetDeadline(0.3, total=True)) as served:
        client = served.connect()
        read(client, b"hello\r\n")
        with pytest.raises((AssertionError, OSError)):
            for _ in range(50):
                client.sendall(b"x\r\n")
                read(client, b"x\r\n")
                gevent.sleep(0.02)
        until(lambda: not served.listener.connections)


def test_a_deadline_that_is_replaced_in_time_ends_nobody() -> None:
    """Though it passes while what replaces it is under way, or comes in: a login that takes its time."""
    with serving(SetDeadline(60, total=True)) as served:
        client = served.connect()
        read(client, b"hello\r\n")
        (pump,) = served.listener._pumps
        client.sendall(b"DEADLINE 30\r\n")
        pump._on_timer()  # in the same turn of the loop
        pump._on_readable()
        read(client, b"set\r\n")
        client.sendall(b"x\r\n")
        read(client, b"x\r\n")

        (echo,) = served.connections
        receive = echo.receive

        def late(data: bytes) -> Iterator[Action]:
            pump._idle_s = 0.0
            pump._on_timer()
            yield from receive(data)

        echo.receive = late  # type: ignore[method-assign]
        client.sendall(b"DEADLINE 30\r\n")
        read(client, b"set\r\n")
        del echo.receive
        client.sendall(b"x\r\n")
        read(client, b"x\r\n")
        client.sendall(b"BYE\r\n")
        assert read_to_end(client) == b"bye\r\n"


def test_deadlines_are_replaced_by_earlier_and_later_ones() -> None:
    """Whatever the timer that is kept was set for."""
    with serving(SetDeadline(0.2)) as served:
        client = served.connect()
        client.sendall(b"DEADLINE 0.4\r\nDEADLINE 30\r\n")
        read(client, b"hello\r\nset\r\nset\r\n")
        (pump,) = served.listener._pumps
        due = pump._due
        until(lambda: pump._due > due + 20)  # the one that was kept is over
        client.sendall(b"DEADLINE 0.1\r\n")
        assert read_to_end(client) == b"set\r\ntimeout\r\n"


def test_last_words_reach_who_still_sends() -> None:
    """In clear and compressed: what is unread when we close does not take them along."""
    for packed in (False, True):
        with serving() as served:
            client = served.connect()
            read(client, b"hello\r\n")
            pack, unpack = zlib.compressobj(wbits=-15), zlib.decompressobj(wbits=-15)
            words = b"BIG 5\r\nBYE\r\n" + b"x" * 100_000
            if packed:
                client.sendall(b"DEFLATE\r\n")
                read(client, b"packed\r\n")
                words = pack.compress(words) + pack.flush(zlib.Z_SYNC_FLUSH)
            with suppress(OSError):
                client.sendall(words)
                until(lambda served=served: not served.listener.connections)
                client.sendall(words)
            got = b""
            with suppress(OSError):
                while data := client.recv(65536):
                    got += data
            got = unpack.decompress(got) if packed else got
            assert len(got) == 5 * 8000 + 5
            assert got.endswith(b"0000004\nbye\r\n")


def test_control_a_deadline_that_passed_before_it_was_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pump, "_set_deadline", lambda self, action: None)
    with pytest.raises(AssertionError):
        test_a_deadline_that_is_replaced_in_time_ends_nobody()


def test_draining_ends_idle_connections_at_once_and_waits_for_the_others() -> None:
    """Promise P13."""
    with serving() as served:
        idle, busy = served.connect(), served.connect()
        for client in (idle, busy):
            read(client, b"hello\r\n")
        busy.sendall(b"WORK\r\n")
        read(busy, b"WORK\r\n")
        stopping = gevent.spawn(served.listener.stop, 10)
        assert read_to_end(idle) == b"down\r\n"
        with pytest.raises(OSError):
            served.connect()
        busy.sendall(b"BYE\r\n")
        assert read_to_end(busy) == b"bye\r\n"
        stopping.join(5)
        assert stopping.successful()


def test_draining_cuts_off_what_takes_too_long() -> None:
    with serving() as served:
        busy = served.connect()
        busy.sendall(b"WORK\r\n")
        read(busy, b"hello\r\nWORK\r\n")
        served.listener.stop(0.05)
        assert read_to_end(busy) == b""
        assert served.connections[0].log == ["WORK", "drain", "eof"]
