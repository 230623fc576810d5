"""Greenlets used again: work runs as in new ones, none is shared, lent to another thread or used after a fault."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import gevent
import gevent.event
import pytest
from gevent.threadpool import ThreadPool

from mailcore import log
from mailcore.net import greenlets
from mailcore.net.greenlets import MOST_RESTING, start


@pytest.fixture(autouse=True)
def _nobody_rests() -> Iterator[None]:
    greenlets._resting.clear()
    yield
    greenlets._resting.clear()


def run_all() -> None:
    for _ in range(5):
        gevent.sleep(0)


def test_one_after_the_other_runs_in_the_same_greenlet() -> None:
    ran: list[Any] = []
    for _ in range(3):
        start(lambda: ran.append(gevent.getcurrent()))
        run_all()
    assert len(ran) == 3
    assert len(set(map(id, ran))) == 1


def test_work_that_waits_has_its_greenlet_to_itself() -> None:
    ran: list[Any] = []
    go = gevent.event.Event()

    def work() -> None:
        ran.append(gevent.getcurrent())
        go.wait()

    for _ in range(MOST_RESTING + 10):
        start(work)
    run_all()
    assert len({id(one) for one in ran}) == MOST_RESTING + 10
    assert greenlets._resting == []
    go.set()
    run_all()
    assert len(greenlets._resting) == MOST_RESTING  # the others have ended
    assert sum(one.dead for one in ran) == 10


def test_work_waits_its_turn_and_keeps_its_order() -> None:
    steps: list[int] = []
    for number in range(5):
        start(lambda number=number: steps.append(number))  # type: ignore[misc]
    assert steps == []
    run_all()
    assert steps == [0, 1, 2, 3, 4]


def test_a_greenlet_that_failed_is_not_used_again() -> None:
    failed: list[Any] = []

    def fail() -> None:
        failed.append(gevent.getcurrent())
        raise ValueError("a fault of the program")

    hub = gevent.get_hub()
    told: list[Any] = []
    hub.print_exception, before = (lambda *error: told.append(error[1])), hub.print_exception
    try:
        start(fail)
        run_all()
    finally:
        hub.print_exception = before
    assert told == [ValueError]
    assert failed[0].dead
    assert greenlets._resting == []


def test_what_was_worked_on_is_let_go_of() -> None:
    class Connection:
        def work(self) -> None:
            """Do nothing."""

    connection = Connection()
    gone = weakref.ref(connection)
    start(connection.work)
    del connection
    run_all()
    gc.collect()
    assert greenlets._resting
    assert gone() is None


def test_fields_of_the_log_do_not_pass_from_one_work_to_the_next() -> None:
    found: list[dict[str, Any]] = []

    def work(name: str) -> None:
        log.enter({"session": name})
        log.bind(**{name: True})
        found.append(dict(log.bound()))

    for name in ("a", "b"):
        start(lambda name=name: work(name))  # type: ignore[misc]
        run_all()
    assert found == [{"session": "a", "a": True}, {"session": "b", "b": True}]


def test_another_threads_greenlet_is_left_alone() -> None:
    start(lambda: None)
    run_all()
    (rested,) = greenlets._resting
    ran: list[Any] = []

    def elsewhere() -> None:
        start(lambda: ran.append(gevent.getcurrent()))
        run_all()
        greenlets._resting.clear()
        gevent.get_hub().destroy(destroy_loop=True)

    ThreadPool(1).apply(elsewhere)
    assert len(ran) == 1
    assert ran[0] is not rested
