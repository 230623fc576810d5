"""What users use up: messages an hour, recipients and traffic a day, counted by every process together.

What is handed in to be sent is counted before it is taken. Traffic is added up here and told to
Redis every few seconds, so that no command waits for it; a limit may be passed by as much as flows
meanwhile. Without Redis each process counts alone and allows less.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final

from bson import ObjectId

from mailcore.errors import RateExceeded, ValueInvalid
from mailcore.model.ids import TenantId, UserId
from mailcore.model.limits import DEFAULT_LIMITS, USER_LIMITS, SendingLimits, Spending, Traffic, UserLimits
from mailcore.model.outbound import BURST
from mailcore.services.process.redis_link import RedisLink, keyed
from mailcore.store.placement import Placement

log = logging.getLogger(__name__)

FLUSH_S: Final = 5.0
LONE_SHARE: Final = 5
"""A process that has to count alone allows one part in so many."""
HOUR_S: Final = 3600
DAY_S: Final = 24 * 3600
BURST_S: Final = 600
MAX_REMEMBERED: Final = 50_000
PIPELINED: Final = 1000


_WINDOW_S: Final = {
    Spending.MESSAGES: HOUR_S,
    Spending.CATCH_ALL: HOUR_S,
    Spending.RECEIVED: HOUR_S,
    Spending.BURST: BURST_S,
}
"""Of all others it is a day."""

_Counted = tuple[UserId, Traffic]

_ADD: Final = """
local totals = {}
for i = 1, #KEYS do
    totals[i] = redis.call('INCRBY', KEYS[i], ARGV[i + 1])
    redis.call('EXPIRE', KEYS[i], ARGV[1])
end
return totals
"""
"""KEYS: what is counted; ARGV: seconds it is kept, then how much of each."""


class _Flow:
    """Bytes that Redis has not been told."""

    __slots__ = ("size_bytes",)

    def __init__(self) -> None:
        self.size_bytes = 0


class Usage:
    """Counts what users use and refuses what is too much."""

    def __init__(
        self,
        link: RedisLink,
        placement: Placement,
        clock: Callable[[], float] = time.time,
        sending: SendingLimits = DEFAULT_LIMITS.sending,
    ) -> None:
        self._link = link
        self._placement = placement
        self._clock = clock
        self._sending = sending
        self._add_script: Any = link.script(_ADD)
        self._day = int(clock()) // DAY_S
        self._flowed: dict[_Counted, _Flow] = {}
        self._known: dict[_Counted, int] = {}
        """Bytes of the day by every process, as last heard."""
        self._closed = threading.Event()

    @cached_property
    def _alone(self) -> Any:
        """What counts without Redis; as `_shared` it is made when first needed, for a process that sends nothing."""
        from limits.storage import MemoryStorage

        return MemoryStorage()

    @cached_property
    def _shared(self) -> Any:
        """What counts in Redis, which there is."""
        from limits.storage import RedisStorage

        assert self._link.client is not None
        return RedisStorage("redis://", connection_pool=self._link.client.connection_pool, key_prefix="eider")

    # -- messages and recipients ----------------------------------------------------------------

    def spend(self, user_id: UserId, what: Spending, amount: int = 1) -> None:
        """Count what is about to be taken; one round trip to Redis, none to the directory where the home is known.

        Raises:
            RateExceeded: so much is not left, and nothing was counted.
        """
        limit = self._limit(user_id, what)
        if limit:
            self.spend_of(user_id, what, limit, amount)

    def spend_of(self, owner_id: ObjectId, what: Spending, limit: int, amount: int = 1) -> None:
        """Count for whatever has a limit of its own, such as a forwarded address; one round trip to Redis.

        Raises:
            RateExceeded: so much is not left, and nothing was counted.
        """
        key, seconds = _spent(owner_id, what)
        let_in = self._link.ask(lambda _: self._shared.acquire_sliding_window_entry(key, limit, seconds, amount))
        if let_in is None:
            share = max(limit // LONE_SHARE, 1)
            let_in = self._alone.acquire_sliding_window_entry(key, share, seconds, amount)
        if not let_in:
            raise RateExceeded(owner_id, what.value, limit)

    def spend_unasked(self, tenant_id: TenantId, recipients: int) -> None:
        """Count for a tenant what goes out because mail came in or somebody is to agree; two round trips to Redis.

        It counts as whatever the tenant sends, and takes no more than half of a day's recipients: who writes to a
        tenant cannot use up what its people need.

        Raises:
            RateExceeded: so much is not left.
        """
        limit = self.sending_limits(tenant_id).tenant_recipients_per_day
        if limit:
            self.spend_of(tenant_id, Spending.FORWARDS, max(limit // 2, 1), recipients)
            self.spend_of(tenant_id, Spending.RECIPIENTS, limit, recipients)

    def counted(self, owner_id: ObjectId, what: Spending) -> int:
        """Return what is counted for an owner now, 0 without Redis; one round trip to Redis."""
        key, seconds = _spent(owner_id, what)
        return self._link.ask(lambda _: _in_window(self._shared, key, seconds)) or 0

    def is_left(self, user_id: UserId, what: Spending) -> bool:
        """Return whether one more could be counted now, without counting it; one round trip to Redis."""
        limit = self._limit(user_id, what)
        if not limit:
            return True
        key, seconds = _spent(user_id, what)
        counted = self._link.ask(lambda _: _in_window(self._shared, key, seconds))
        if counted is not None:
            return counted < limit
        return _in_window(self._alone, key, seconds) < max(limit // LONE_SHARE, 1)

    def spend_on_sending(self, user_id: UserId, tenant_id: TenantId, domain: str, recipients: int) -> str | None:
        """Count a message and its recipients for the user, then for the sender's domain and tenant; two round trips.

        So whoever is refused and tries again and again uses up nothing of the others'. Returns why the message is to
        be held back: the user sends far more at once than is usual; None if it may go.

        Raises:
            RateExceeded: so much is not left; the details name whose limit it is.
        """
        user, sending = self.limits(user_id), self.sending_limits(tenant_id)
        held = self._spend_all(
            (user_id, Spending.MESSAGES, user.messages_per_hour, 1),
            (user_id, Spending.RECIPIENTS, user.recipients_per_day, recipients),
            (user_id, Spending.BURST, user.recipients_per_burst, recipients),
        )
        self._spend_all(
            (f"{tenant_id}:{domain}", Spending.MESSAGES, sending.domain_messages_per_hour, 1),
            (f"{tenant_id}:{domain}", Spending.RECIPIENTS, sending.domain_recipients_per_day, recipients),
            (tenant_id, Spending.MESSAGES, sending.tenant_messages_per_hour, 1),
            (tenant_id, Spending.RECIPIENTS, sending.tenant_recipients_per_day, recipients),
        )
        return held

    def _spend_all(self, *wanted: tuple[object, Spending, int, int]) -> str | None:
        """Count amounts of owners under their limits; one round trip. What one refuses the others may have counted."""
        counted = [(limit, _spent(owner, what), amount) for owner, what, limit, amount in wanted]
        limited = [one for one in counted if one[0]]
        let_in = self._link.ask(lambda client: self._acquire(client, limited))
        if let_in is None:
            let_in = [
                self._alone.acquire_sliding_window_entry(key, max(limit // LONE_SHARE, 1), seconds, amount)
                for limit, (key, seconds), amount in limited
            ]
        for (limit, (key, _), _), is_in in zip(limited, let_in, strict=True):
            if not is_in:
                _, what, owner = key.split(":", 2)
                if what == Spending.BURST.value:
                    return BURST
                raise RateExceeded(owner, what, limit)
        return None

    def _acquire(self, client: Any, wanted: list[tuple[int, tuple[str, int], int]]) -> list[bool]:
        pipeline = client.pipeline(transaction=False)
        for limit, (key, seconds), amount in wanted:
            # the library's own script and keys, but all in one round trip
            keys = (self._shared._previous_window_key(key), self._shared._current_window_key(key))  # noqa: SLF001
            prefixed = [self._shared.prefixed_key(each) for each in keys]
            self._shared.lua_acquire_sliding_window(prefixed, (limit, seconds, amount), client=pipeline)
        return [bool(each) for each in pipeline.execute()]

    # -- traffic --------------------------------------------------------------------------------

    def note(self, user_id: UserId, what: Traffic, size_bytes: int) -> None:
        """Count what has flowed; no round trip."""
        counted = user_id, what
        flow = self._flowed.get(counted)
        if flow is None:
            flow = self._flowed[counted] = _Flow()
        flow.size_bytes += size_bytes

    def check(self, user_id: UserId, what: Traffic) -> None:
        """Make sure that the day has room, as far as this process has heard; no round trip where the home is known.

        Raises:
            RateExceeded: it has none.
        """
        counted = (user_id, what)
        flow = self._flowed.get(counted)
        used = self._known.get(counted, 0) + (flow.size_bytes if flow is not None else 0)
        if used:
            limit = self._limit(user_id, what)
            if not self._link.is_up:
                limit = limit and max(limit // LONE_SHARE, 1)
            if limit and used >= limit:
                self.note(user_id, what, 0)  # so that the next flush hears if the count was begun anew
                raise RateExceeded(user_id, what.value, limit)

    def flush(self) -> None:
        """Tell Redis what has flowed, and hear what all processes know; one round trip for a thousand users."""
        self._tell()
        today = int(self._clock()) // DAY_S
        if today != self._day:  # what could not be told of yesterday is no limit of today's
            self._day, self._known, self._flowed = today, {}, {}
        elif len(self._known) > MAX_REMEMBERED:
            self._known = {}

    def _tell(self) -> None:
        flowed = [(counted, flow, flow.size_bytes) for counted, flow in self._flowed.items()]
        for start in range(0, len(flowed), PIPELINED):
            part = flowed[start : start + PIPELINED]
            keys = [_key(*counted, self._day) for counted, _, _ in part]
            values = (2 * DAY_S, *(size_bytes for _, _, size_bytes in part))
            totals = self._link.ask(lambda _, keys=keys, values=values: self._add_script(keys, values))  # type: ignore[misc]
            if totals is None:
                return  # kept until it can be told, or until the day is over
            for (counted, flow, size_bytes), total in zip(part, totals, strict=True):
                if self._flowed.get(counted) is not flow:
                    continue  # forgotten meanwhile
                self._known[counted] = total
                flow.size_bytes -= size_bytes
                if not flow.size_bytes:
                    del self._flowed[counted]

    def start(self, spawn: Callable[[Callable[[], None]], object]) -> None:
        """Begin to tell Redis, in a greenlet or thread that `spawn` makes."""
        spawn(self._flush_forever)

    def close(self) -> None:
        """Tell the rest."""
        self._closed.set()
        self.flush()

    def _flush_forever(self) -> None:
        while not self._closed.wait(FLUSH_S):
            self.flush()

    # -- for operators --------------------------------------------------------------------------

    def limits(self, user_id: UserId) -> UserLimits:
        """Return what holds for a user, at most 30 s old."""
        return self._placement.home(user_id).limits

    def sending_limits(self, tenant_id: TenantId) -> SendingLimits:
        """Return what holds for a tenant of its age now, at most 30 s old.

        Raises:
            TenantNotFound: there is none.
        """
        at = datetime.fromtimestamp(self._clock(), UTC)
        return self._placement.tenant(tenant_id).sending_limits(self._sending, at)

    def used_of_tenant(self, tenant_id: TenantId) -> dict[str, int]:
        """Return what all users of a tenant have used up, by the name of its limit; empty without Redis."""
        counted = {f"tenant_{what.value}": _spent(tenant_id, what) for what in (Spending.MESSAGES, Spending.RECIPIENTS)}
        return self._link.ask(lambda _: {name: _in_window(self._shared, *key) for name, key in counted.items()}) or {}

    def used(self, user_id: UserId) -> dict[str, int]:
        """Return what is used up by the name of its limit, as Redis has it; empty without Redis."""
        return self._link.ask(lambda client: self._read(client, user_id)) or {}

    def forget(self, user_id: UserId) -> None:
        """Let every count of a user begin anew, within seconds in every process."""
        for what in Traffic:
            self._known.pop((user_id, what), None)
            self._flowed.pop((user_id, what), None)
        self._link.ask(lambda client: self._clear(client, user_id))

    def _read(self, client: Any, user_id: UserId) -> dict[str, int]:
        day = int(self._clock()) // DAY_S
        used = {what.value: int(client.get(_key(user_id, what, day)) or 0) for what in Traffic}
        for each in Spending:
            key, seconds = _spent(user_id, each)
            used[each.value] = _in_window(self._shared, key, seconds)
        return used

    def _clear(self, client: Any, user_id: UserId) -> bool:
        for each in Spending:
            self._shared.clear_sliding_window(*_spent(user_id, each))
        day = int(self._clock()) // DAY_S
        client.delete(*(_key(user_id, what, day) for what in Traffic))
        return True

    def _limit(self, user_id: UserId, what: Spending | Traffic) -> int:
        limit: int = getattr(self.limits(user_id), what.value)
        return limit


def check_limit(name: str, value: int | None, names: Sequence[str] = USER_LIMITS) -> None:
    """Make sure that there is this limit, by default among those of a user.

    Raises:
        ValueInvalid: there is no limit of that name, or the number is negative.
    """
    if name not in names or (value is not None and not 0 <= value < 1 << 60):
        raise ValueInvalid(f"limits are numbers from 0 (none) for {', '.join(names)}")


def _in_window(storage: Any, key: str, seconds: int) -> int:
    """Return how much is counted in a window that slides."""
    before, ends_in_s, now, _ = storage.get_sliding_window(key, seconds)
    return int(before * ends_in_s / seconds + now)


def _spent(owner: object, what: Spending) -> tuple[str, int]:
    """Return the key of a count and the seconds of its window, which slides."""
    return f"spent:{what.value}:{owner}", _WINDOW_S.get(what, DAY_S)


def _key(user_id: UserId, what: Traffic, day: int) -> str:
    return keyed("traffic", what.value, user_id, day)
