"""Connections that stay open for a moment: the next message that goes the same way need not open one of its own.

The same way is the same route: destination, hosts, what was known of their TLS, and the smarthost with its password.
The slot that a connection holds at its destination stays with it while it waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from mailcore.model.limits import OutboundLimits
from mailcore.relay.channel import Channel
from mailcore.relay.client import SmtpClient
from mailcore.relay.routes import Route
from mailcore.services.outbound.slots import Slots


@dataclass(slots=True)
class Line:
    """One open session, and what it was used for.

    Attributes:
        token: of its slot, while it waits.
        messages: how many it has carried.
    """

    client: SmtpClient
    channel: Channel
    opened_s: float
    messages: int = 0
    token: str = ""
    idle_since_s: float = 0.0
    route: Route | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Hold:
    """The right to have a connection at a destination, and one that is open already, if any waits."""

    token: str
    line: Line | None = None


class Lines:
    """Those that wait, in this process."""

    def __init__(self, slots: Slots, limits: OutboundLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self._slots = slots
        self._limits = limits
        self._clock = clock
        self._waiting: dict[Route, list[Line]] = {}

    def hold(self, route: Route) -> Hold | None:
        """Return an open connection with its slot, else a slot for a new one; None if there is neither."""
        waiting = self._waiting.get(route)
        if waiting:
            line = waiting.pop()  # the one that waits least is the likeliest to be open still
            if not waiting:
                del self._waiting[route]
            return Hold(line.token, line)
        token = self._slots.take(route.destination)
        return None if token is None else Hold(token)

    def let_go(self, route: Route, hold: Hold, line: Line | None) -> None:
        """Keep the connection that is open now for the next message, or end it and give the slot back."""
        if line is None:
            self._slots.give(route.destination, hold.token)
            return
        line.token, line.route, line.idle_since_s = hold.token, route, self._clock()
        is_old = line.idle_since_s - line.opened_s >= self._limits.connection_age_s
        if is_old or line.messages >= self._limits.connection_messages:
            self.end(line)
        else:
            self._waiting.setdefault(route, []).append(line)

    def over(self, idle_s: float | None = None) -> list[Line]:
        """Take out those that have waited long enough; whoever asks ends them."""
        until = self._clock() - (self._limits.connection_idle_s if idle_s is None else idle_s)
        found: list[Line] = []
        for route, waiting in list(self._waiting.items()):
            found += [line for line in waiting if line.idle_since_s <= until]
            left = [line for line in waiting if line.idle_since_s > until]
            if left:
                self._waiting[route] = left
            else:
                del self._waiting[route]
        return found

    def end(self, line: Line) -> None:
        """Say goodbye and give the slot back."""
        line.client.quit()
        if line.route is not None:
            self._slots.give(line.route.destination, line.token)

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))
