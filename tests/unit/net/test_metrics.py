"""Tallies as Prometheus reads them; the bounded queue of the thread pool."""

from __future__ import annotations

import threading

import gevent
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from mailcore.errors import ServerBusy
from mailcore.metrics import Tally
from mailcore.net.offload import GeventOffload


def test_tally_counts_each_combination_of_labels() -> None:
    registry = CollectorRegistry()
    tally = Tally("things", "Things seen", ("kind", "code"), registry)
    tally.inc("a", 2)
    tally.inc("a", 2)
    tally.inc('b"\n', 5, by=7)
    lines = generate_latest(registry).decode().splitlines()
    assert lines[2:] == ['things_total{code="2",kind="a"} 2.0', 'things_total{code="5",kind="b\\"\\n"} 7.0']


def test_offload_runs_in_a_thread_while_others_go_on() -> None:
    offload = GeventOffload(threads=1, waiting=0)
    steps: list[str] = []
    gevent.spawn(steps.append, "other")
    assert offload.run(threading.get_native_id) != threading.get_native_id()
    assert steps == ["other"]
    gevent.spawn(steps.append, "another")
    offload.pause()
    assert steps == ["other", "another"]
    with pytest.raises(ZeroDivisionError):
        offload.run(lambda: 1 // 0)


def test_offload_refuses_when_its_queue_is_full() -> None:
    offload = GeventOffload(threads=1, waiting=1)
    go = gevent.monkey.get_original("threading", "Event")()
    waiting = [gevent.spawn(offload.run, go.wait) for _ in range(2)]
    gevent.sleep(0.01)
    with pytest.raises(ServerBusy):
        offload.run(lambda: None)
    go.set()
    gevent.joinall(waiting, timeout=30)
    assert all(greenlet.successful() for greenlet in waiting)
    assert offload.run(lambda: "again") == "again"
