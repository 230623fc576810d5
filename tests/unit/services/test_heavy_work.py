"""Turns at heavy work: one for each user at a time, and nobody waits for another user."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from bson import ObjectId

from mailcore.errors import ServerBusy
from mailcore.model.ids import UserId
from mailcore.services.process.heavy_work import HeavyWork

A, B = UserId(ObjectId()), UserId(ObjectId())
DEADLINE_S = 20.0


class _Worker(threading.Thread):
    """Takes a turn and keeps it until told to let go."""

    def __init__(self, work: HeavyWork, user_id: UserId) -> None:
        super().__init__(daemon=True)
        self.work = work
        self.user_id = user_id
        self.entered = threading.Event()
        self.leave = threading.Event()
        self.start()

    def run(self) -> None:
        with self.work.turn(self.user_id):
            self.entered.set()
            self.leave.wait(DEADLINE_S)


def _at_once(work: HeavyWork) -> int:
    """Return how many of three workers of one user have a turn when another user's worker has."""
    first = _Worker(work, A)
    assert first.entered.wait(DEADLINE_S)
    mine = [first, _Worker(work, A), _Worker(work, A)]
    other = _Worker(work, B)
    assert other.entered.wait(DEADLINE_S)
    count = sum(worker.entered.wait(0.2) for worker in mine)
    for worker in (*mine, other):
        worker.leave.set()
    for worker in (*mine, other):
        worker.join(DEADLINE_S)
        assert worker.entered.is_set()
    return count


def test_one_turn_for_each_user() -> None:
    work = HeavyWork()
    assert _at_once(work) == 1
    assert not work._turns._queues


def test_control_everybody_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def open_door(_self: HeavyWork, _user_id: UserId) -> Iterator[None]:
        yield

    monkeypatch.setattr(HeavyWork, "turn", open_door)
    assert _at_once(HeavyWork()) == 3


def test_who_waits_too_long_is_told_to_come_back() -> None:
    work = HeavyWork(wait_s=0.01)
    with work.turn(A), pytest.raises(ServerBusy), work.turn(A):
        pass
    with work.turn(A):
        pass
