"""Failed logins, counted by every process and protocol together: each beyond the free ones doubles the wait.

Four things are counted: the user, the user from one range of addresses, the range, the tenant.
A stranger cannot lock the owner out: from a range the user signed in from lately, only failures
from that same range count; and a password that needs no guess (a right app password, a master
password verified a minute ago) is not asked about here at all.

An attempt counts as failed from the moment it is admitted until it is taken back, so that a hundred
at once get no more looks than a hundred in a row.
"""

from __future__ import annotations

import hashlib
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from mailcore.errors import TooManyAttempts
from mailcore.model.access import CredentialKind
from mailcore.model.address_range import address_range
from mailcore.model.ids import TenantId, UserId
from mailcore.model.limits import LoginLimits, Penalty
from mailcore.services.accounts.connections import OPEN_CONNECTION, Connections, Place
from mailcore.services.accounts.login_guard import Attempt, Permit, Refusal
from mailcore.services.process.redis_link import RedisLink, keyed

log = logging.getLogger(__name__)

MAX_REMEMBERED: Final = 50_000
TELL_AGAIN_S: Final = 3600.0

_ADMIT: Final = """
redis.replicate_commands()
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local known = redis.call('EXISTS', KEYS[1])
local checked = known == 1 and 2 or 5
local wait = 0
for i = 2, checked do
    wait = math.max(wait, tonumber(redis.call('HGET', KEYS[i], 'until') or '0') - now)
end
if wait > 0 then return {known, math.ceil(wait), 0} end
for i = 2, checked do
    local free, first, longest, memory = unpack(penalties[i - 1])
    local count = redis.call('HINCRBY', KEYS[i], 'count', 1)
    if count == 1 then redis.call('EXPIRE', KEYS[i], memory) end
    if count >= free then
        local pause = math.min(first * 2 ^ math.min(count - free, 30), longest)
        redis.call('HSET', KEYS[i], 'until', string.format('%.3f', now + pause))
        if redis.call('TTL', KEYS[i]) < 2 * pause then redis.call('EXPIRE', KEYS[i], 2 * pause) end
    end
end
return {known, 0, #ARGV > 0 and open_connection(KEYS[6], KEYS[7], unpack(ARGV)) or 0}
"""
"""After the `penalties` of each key but the first, and `OPEN_CONNECTION`; KEYS: known range, user from range, range,
user, tenant, and those of a `Place`; ARGV: its values, if one is asked for."""

_TAKE_BACK: Final = """
if tonumber(ARGV[1]) > 0 then
    redis.call('SET', KEYS[1], 1, 'EX', ARGV[1])
    if KEYS[2] then redis.call('DEL', KEYS[2]) end
end
for i = 2, #KEYS do
    if redis.call('EXISTS', KEYS[i]) == 1 then
        redis.call('HDEL', KEYS[i], 'until')
        if redis.call('HINCRBY', KEYS[i], 'count', -1) <= 0 then redis.call('DEL', KEYS[i]) end
    end
end
return 1
"""
"""KEYS: known range, and what was counted; ARGV: seconds the range is known from now on, 0: not by this."""


class FailedLogins:
    """The login guard that counts; without Redis this process counts alone and allows less."""

    def __init__(
        self,
        link: RedisLink,
        limits: LoginLimits,
        clock: Callable[[], float] = time.time,
        connections: Connections | None = None,
    ) -> None:
        self._link = link
        self._connections = connections
        self._limits = limits
        self._penalties = (limits.user_from_range, limits.address_range, limits.user, limits.tenant)
        shares = tuple(one.shared_by(limits.lone_share) for one in self._penalties)
        self._alone = LoneCounts(shares, clock, limits.known_range_s)
        self._admit_script: Any = link.script(_penalties(self._penalties) + OPEN_CONNECTION + _ADMIT)
        self._take_back_script = link.script(_TAKE_BACK)

    def admit(
        self,
        login: str,
        user_id: UserId | None,
        tenant_id: TenantId | None,
        remote_address: str,
        said_by: TenantId | None = None,
        place: Place | None = None,
    ) -> Permit:
        """Count an attempt that needs a hash, and the connection that may follow; one round trip to Redis.

        An unknown user is counted under `login`, and a domain of no tenant stands for one, so that unknown and
        known ones are answered alike. What a tenant said of the address counts for that tenant alone.

        Raises:
            TooManyAttempts: it must wait, and was not counted.
        """
        keys = _keys(login, user_id, tenant_id, address_range(remote_address), said_by)
        asked = ((*keys, *place.keys), place.values) if place is not None else (keys, ())
        answer: list[int] | None = self._link.ask(lambda _: self._admit_script(*asked))
        if self._connections is not None and place is not None and (answer is None or answer[2]):
            self._connections.keep(place)
        if answer is None:
            is_known, wait_s = self._alone.admit(keys)
        else:
            is_known, wait_s = bool(answer[0]), int(answer[1])
            if not wait_s:
                self._alone.count(keys, is_known=is_known)
        if wait_s:
            raise TooManyAttempts(wait_s=wait_s)
        return Permit(keys, is_known)

    def before(self, attempt: Attempt, connections: int | None = None, /) -> Attempt:
        """Count it as failed for now, and its connection; raises as `admit`."""
        place = None
        if self._connections is not None and connections is not None and attempt.user_id is not None:
            place = self._connections.place(attempt.user_id, connections)
        given = attempt.username, attempt.user_id, attempt.tenant_id, attempt.remote_address, attempt.within
        return replace(attempt, permit=self.admit(*given, place))

    def failed(self, attempt: Attempt, refusal: Refusal) -> None:
        """Leave a guess counted; a right password that is not enough here was none, but makes no range known."""
        if not refusal.is_guess:
            self.withdrawn(attempt)

    def withdrawn(self, attempt: Attempt) -> None:
        """Take back what was counted."""
        if attempt.permit is not None:
            self.take_back(attempt.permit)

    def succeeded(self, attempt: Attempt) -> None:
        """Take back what was counted and know the range from now on."""
        if attempt.permit is not None:
            self.take_back(attempt.permit, is_good=True)
        elif attempt.kind is CredentialKind.APP_PASSWORD and attempt.user_id is not None:
            self._know(keyed("known", attempt.user_id, address_range(attempt.remote_address)))

    def take_back(self, permit: Permit, *, is_good: bool = False) -> None:
        """Count one failure less; if it was `is_good`, forget the others of the user from there and know the range."""
        self._alone.take_back(permit, is_good=is_good)
        known_s = self._limits.known_range_s if is_good else 0
        self._link.tell(self._take_back_script, (permit.keys[0], *permit.counted), [known_s])

    def _know(self, key: str) -> None:
        """Know a range; Redis is told once an hour at most."""
        if self._alone.know(key):
            self._link.tell(self._take_back_script, (key,), [self._limits.known_range_s])

    def failures(self, user_id: UserId) -> dict[str, tuple[int, int]]:
        """Return count and seconds to wait by what is counted for a user, as Redis has it; for operators."""
        return self._link.ask(lambda client: _failures(client, user_id)) or {}

    def forgive(self, user_id: UserId) -> None:
        """Forget the failures of a user in Redis and in this process; for operators."""
        self._alone.forgive(str(user_id))
        self._link.ask(lambda client: [client.delete(key) for key in _counted(client, user_id)])


class LoneCounts:
    """The same counting in one process: for when Redis is away, and kept up to date for that moment."""

    def __init__(self, penalties: Sequence[Penalty], clock: Callable[[], float], known_range_s: int) -> None:
        self._penalties = penalties
        self._clock = clock
        self._known_range_s = known_range_s
        self._counts: OrderedDict[str, tuple[int, float, float]] = OrderedDict()
        """Count, when the next is admitted, when all is forgotten."""
        self._known: OrderedDict[str, float] = OrderedDict()
        """When a range was last told of."""

    def admit(self, keys: Sequence[str]) -> tuple[bool, int]:
        """Count an attempt; return whether the range is known and how many seconds to wait: counted only if none."""
        now = self._clock()
        told_at = self._known.get(keys[0])
        is_known = told_at is not None and now < told_at + self._known_range_s
        until = max(self._count(key, now)[1] for key in (keys[1:2] if is_known else keys[1:]))
        if until > now:
            return is_known, math.ceil(until - now)
        self.count(keys, is_known=is_known)
        return is_known, 0

    def count(self, keys: Sequence[str], *, is_known: bool) -> None:
        """Count a failure."""
        now = self._clock()
        for key, penalty in zip(keys[1:2] if is_known else keys[1:], self._penalties, strict=False):
            count, _, forget_at = self._count(key, now)
            wait_s = penalty.wait_s(count + 1)
            forget_at = max(forget_at or now + penalty.memory_s, now + 2 * wait_s)
            _put(self._counts, key, (count + 1, now + wait_s if wait_s else 0.0, forget_at))

    def take_back(self, permit: Permit, *, is_good: bool) -> None:
        """Count one failure less of each key; if it was good, none of the user from there."""
        if is_good:
            self.know(permit.keys[0])
            self._counts.pop(permit.keys[1], None)
        now = self._clock()
        for key in permit.counted:
            count, _, forget_at = self._count(key, now)
            if count:
                self._counts[key] = (count - 1, 0.0, forget_at)

    def know(self, key: str) -> bool:
        """Know a range; return whether it is new, or was last told an hour ago."""
        now = self._clock()
        is_due = now >= self._known.get(key, -TELL_AGAIN_S) + TELL_AGAIN_S
        if is_due:
            _put(self._known, key, now)
        return is_due

    def forgive(self, name: str) -> None:
        """Forget the failures of a user."""
        for key in [key for key in self._counts if name in key]:
            del self._counts[key]

    def _count(self, key: str, now: float) -> tuple[int, float, float]:
        found = self._counts.get(key, (0, 0.0, 0.0))
        return found if now < found[2] else (0, 0.0, 0.0)


def _put(table: OrderedDict[str, Any], key: str, value: object) -> None:
    table[key] = value
    table.move_to_end(key)
    if len(table) > MAX_REMEMBERED:
        table.popitem(last=False)


def _keys(
    login: str, user_id: UserId | None, tenant_id: TenantId | None, range_: str, said_by: TenantId | None
) -> tuple[str, ...]:
    name = _digest(login) if user_id is None else str(user_id)
    owner = _digest(login.rpartition("@")[2]) if tenant_id is None else str(tenant_id)
    return (
        keyed("known", name, range_),
        keyed("failed", "user-range", name, range_),
        keyed("failed", "range", range_) if said_by is None else keyed("failed", "range-of", said_by, range_),
        keyed("failed", "user", name),
        keyed("failed", "tenant", owner),
    )


def _penalties(penalties: Sequence[Penalty]) -> str:
    numbers = [f"{{{one.free}, {one.first_wait_s}, {one.longest_wait_s}, {one.memory_s}}}" for one in penalties]
    return f"local penalties = {{{', '.join(numbers)}}}\n"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]


def _counted(client: Any, user_id: UserId) -> list[bytes]:
    from_ranges = client.scan_iter(keyed("failed", "user-range", user_id, "*"), 1000)
    return [*from_ranges, keyed("failed", "user", user_id).encode()]


def _failures(client: Any, user_id: UserId) -> dict[str, tuple[int, int]]:
    found = {}
    now = client.time()[0]
    for key in _counted(client, user_id):
        count, until = client.hmget(key, "count", "until")
        if count is not None:
            _, _, range_ = key.decode().partition(f"{user_id}:")
            found[range_ or "anywhere"] = (int(count), max(math.ceil(float(until or 0)) - now, 0))
    return found
