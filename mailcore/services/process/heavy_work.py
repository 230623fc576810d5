"""A user's share of a process: what reads a whole mailbox runs one at a time for each user, however many sessions ask.

The loop is shared by pauses between pieces of work, so each runner has an equal part of it; one
runner for each user makes that an equal part for each user.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Final

from mailcore.errors import ServerBusy
from mailcore.model.ids import UserId
from mailcore.services.process.turns import Turns

WAIT_S: Final = 60.0
"""Who waits longer for the other sessions of the same user is told to come back."""


class HeavyWork:
    """Turns at heavy work, by user."""

    def __init__(self, wait_s: float = WAIT_S) -> None:
        self._wait_s = wait_s
        self._turns: Turns[UserId] = Turns()

    def turn(self, user_id: UserId) -> AbstractContextManager[None]:
        """Wait until no other heavy work of this user runs here.

        Raises:
            ServerBusy: it took too long.
        """
        return self._turns.take(user_id, self._wait_s, ServerBusy("heavy work", user_id))
