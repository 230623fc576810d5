"""A client at rest sleeps, and hears all the same at once what happens to its server."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from pymongo import MongoClient, periodic_executor
from pymongo.errors import _OperationCancelled
from pymongo.pool_shared import _CancellationContext
from pymongo.socket_checker import SocketChecker
from pymongo.synchronous.monitor import Monitor

from mailcore.store import monitoring
from mailcore.store.client import Clients, open_client
from tests.waiting import wait_until

DEADLINE_S = 30.0


def monitors(client: MongoClient[Any]) -> list[Any]:
    return [server._monitor for server in client._topology._servers.values()]


@pytest.fixture
def client(directory_uri: str) -> Iterator[MongoClient[Any]]:
    """A client whose monitor has heard of the server and waits for news, of which there are some twice a second."""
    client = open_client(f"{directory_uri}&heartbeatFrequencyMS=500")
    client.admin.command("ping")
    wait_until(lambda: monitors(client) and all(one._waits_on is not None for one in monitors(client)))
    yield client
    client.close()


def test_nobody_looks_at_the_clock_for_a_client_at_rest(client: MongoClient[Any]) -> None:
    own = [monitor._rtt_monitor._executor._thread for monitor in monitors(client)]
    assert own == [None]
    assert client._kill_cursors_executor._min_interval == monitoring.TIDY_S


def test_the_driver_alone_looks_twice_a_second(directory_uri: str) -> None:
    with MongoClient[Any](directory_uri) as plain:
        plain.admin.command("ping")
        wait_until(lambda: monitors(plain)[0]._rtt_monitor._executor._thread is not None)
        assert plain._kill_cursors_executor._min_interval < 1


def test_a_monitor_that_is_told_to_begin_anew_does_not_wait_for_an_answer(client: MongoClient[Any]) -> None:
    """As after a network error of somebody else on the same server: the line may be dead."""
    (monitor,) = monitors(client)
    line = monitor._waits_on
    monitor.cancel_check()
    wait_until(lambda: monitor._waits_on is not None and monitor._waits_on is not line)
    assert client.admin.command("ping")["ok"] == 1


@pytest.fixture
def waiting() -> Iterator[tuple[monitoring.PatientMonitor, threading.Thread]]:
    """A monitor that waits for an answer that does not come, in a thread that ends when it no longer waits."""
    ours, theirs = socket.socketpair()
    monitor = monitoring.PatientMonitor.__new__(monitoring.PatientMonitor)
    context = monitor._cancel_context = _CancellationContext()
    line = SimpleNamespace(conn=SimpleNamespace(sock=ours), cancel_context=context, socket_checker=SocketChecker())
    thread = threading.Thread(target=wait, args=(monitor, line))
    thread.start()
    wait_until(lambda: monitor._waits_on is ours)
    yield monitor, thread
    theirs.close()
    thread.join()
    ours.close()


def wait(monitor: monitoring.PatientMonitor, line: Any) -> None:
    with contextlib.suppress(_OperationCancelled):
        monitor._wait_for_answer(line, 6 * DEADLINE_S)


def test_what_the_driver_says_ends_the_wait(waiting: tuple[monitoring.PatientMonitor, threading.Thread]) -> None:
    monitor, thread = waiting
    monitor.cancel_check()
    thread.join(DEADLINE_S)
    assert not thread.is_alive()


def test_by_the_driver_s_own_means_it_would_wait_on(
    waiting: tuple[monitoring.PatientMonitor, threading.Thread],
) -> None:
    """Negative control of the test before."""
    monitor, thread = waiting
    Monitor.cancel_check(monitor)
    thread.join(1.0)
    assert thread.is_alive()


def test_a_closed_client_is_not_waited_for_at_the_end_of_the_process(directory_uri: str) -> None:
    clients = Clients({})
    database = clients.database(directory_uri)
    database.command("ping")
    executor = database.client._kill_cursors_executor
    assert any(ref() is executor for ref in periodic_executor._EXECUTORS)
    clients.close()
    assert not any(ref() is executor for ref in periodic_executor._EXECUTORS)
