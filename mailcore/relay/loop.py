"""The relay's loop: claims what is due on every shard, keeps its leases, and ends when it is told to."""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

import gevent
import redis
from gevent.event import Event
from gevent.pool import Pool
from prometheus_client import Gauge

from mailcore.errors import MailError
from mailcore.model.ids import TenantId
from mailcore.model.secret import Secret
from mailcore.relay.handling import Handling, Parts
from mailcore.services.outbound.outbound_work import Claim
from mailcore.services.outbound.queueing import WAKE_CHANNEL
from mailcore.store.shard import ShardStores

log = logging.getLogger(__name__)

WAITING: Final = Gauge("eider_outbound_waiting", "Messages that wait to be sent, or are being sent", ["shard"])
LOOK_S: Final = 1.5
"""So often a shard is looked at when nobody tells that something is due there."""
AWAY_S: Final = 2.0
SHARDS_S: Final = 10.0
LISTEN_S: Final = 1.0
LINES_S: Final = 1.0
GOODBYE_S: Final = 1.0
AT_ONCE: Final = 10
"""Destinations of one message tried at the same time."""
_RANDOM: Final = random.Random()  # noqa: S311  jitter, no secret


class Relay:
    """Sends what is queued on all shards, together with any number of its like."""

    def __init__(self, parts: Parts, redis_url: Secret | None) -> None:
        self._parts = parts
        self._redis_url = redis_url
        limits = parts.work.limits
        self._pool = Pool(limits.messages)
        self._per_tenant = max(limits.messages // 2, 1)
        self._renew_s = limits.lease_s / 4
        self._claims: dict[bytes, Claim] = {}
        self._of_tenant: Counter[TenantId] = Counter()
        self._wakes: dict[str, Event] = {}
        self._ended = Event()
        self.is_listening = False
        self._lookers: dict[str, Any] = {}
        self._others: list[Any] = []

    def start(self) -> None:
        """Begin to send."""
        works = (self._look_for_shards, self._renew, self._end_lines)
        self._others = [gevent.spawn(self._forever, work) for work in works]
        if self._redis_url is not None:
            self._others.append(gevent.spawn(self._forever, self._listen))

    def stop(self, drain_s: float) -> None:
        """Claim nothing more; what is under way has `drain_s` to come to its end.

        What does not is left as if this process had died: another relay takes it over when its lease ends.
        """
        self._ended.set()
        for wake in self._wakes.values():
            wake.set()
        self._pool.join(timeout=drain_s)
        left = len(self._pool)
        if left:
            log.warning("relay.left", extra={"messages": left})
        self._pool.kill(block=False)
        gevent.joinall(self._ending(0.0), timeout=GOODBYE_S)
        gevent.killall([*self._lookers.values(), *self._others], block=False)

    @property
    def under_way(self) -> int:
        """How many messages this relay has at this moment."""
        return len(self._pool)

    # -- claiming ---------------------------------------------------------------------------

    def _look_for_shards(self) -> None:
        """Have one greenlet for each shard, so that one that is away holds up no other."""
        while not self._ended.is_set():
            for shard in self._parts.placement.shards():
                if shard.name not in self._lookers:
                    self._wakes[shard.name] = Event()
                    self._lookers[shard.name] = gevent.spawn(self._forever, lambda name=shard.name: self._look(name))
                self._count_waiting(shard)
            self._ended.wait(SHARDS_S)

    def _count_waiting(self, shard: ShardStores) -> None:
        try:
            WAITING.labels(shard.name).set(shard.outbound.count_waiting())
        except MailError:
            WAITING.remove(shard.name)  # better no figure than an old one

    def _look(self, name: str) -> None:
        """Claim on one shard until told to end."""
        wake = self._wakes[name]
        while not self._ended.is_set():
            self._pool.wait_available()
            wake.clear()
            try:
                claimed = self._claim(self._parts.placement.shard(name))
            except MailError as error:
                log.warning("relay.shard.away", extra={"shard": name, "reason": type(error).__name__})
                self._ended.wait(AWAY_S * _RANDOM.uniform(0.7, 1.3))
                continue
            if not claimed:
                wake.wait(LOOK_S * _RANDOM.uniform(0.7, 1.3))

    def _claim(self, shard: ShardStores) -> bool:
        """Take one message and begin with it; False if none is due. A tenant with half of all must wait."""
        crowded = [tenant for tenant, count in self._of_tenant.items() if count >= self._per_tenant]
        claim = self._parts.work.claim(shard, crowded)
        if claim is None:
            return False
        self._claims[claim.key] = claim
        self._of_tenant[claim.entry.tenant_id] += 1
        self._pool.spawn(self._handle, claim)
        return True

    def _handle(self, claim: Claim) -> None:
        try:
            Handling(self._parts, claim, _together).run()
        except Exception:
            log.exception("relay.failed", extra={"queue_id": claim.entry.id})
            self._parts.work.put_back(claim, 60.0)
        finally:
            self._claims.pop(claim.key, None)
            tenant_id = claim.entry.tenant_id
            if self._of_tenant[tenant_id] >= self._per_tenant:
                self._wakes[claim.shard.name].set()  # what waits for this tenant's turn need not wait for the next look
            self._of_tenant[tenant_id] -= 1
            if self._of_tenant[tenant_id] <= 0:
                del self._of_tenant[tenant_id]

    def _renew(self) -> None:
        """Prolong every lease and hold every slot in time; a lease that is lost shows when something is recorded."""
        while not self._ended.wait(self._renew_s) or self._claims:
            self._parts.slots.renew()
            for claim in list(self._claims.values()):
                try:
                    self._parts.work.renew(claim)
                except MailError as error:
                    log.warning(
                        "relay.lease.not_renewed", extra={"queue_id": claim.entry.id, "reason": str(error)[:200]}
                    )
            if self._ended.is_set():
                gevent.sleep(min(self._renew_s, 1.0))

    def _end_lines(self) -> None:
        """End connections that no message came for."""
        while not self._ended.wait(LINES_S):
            self._ending()

    def _ending(self, idle_s: float | None = None) -> list[Any]:
        return [gevent.spawn(self._parts.lines.end, line) for line in self._parts.lines.over(idle_s)]

    # -- being woken ------------------------------------------------------------------------

    def _listen(self) -> None:
        assert self._redis_url is not None
        client = redis.Redis.from_url(self._redis_url.reveal_text(), socket_connect_timeout=2.0)
        try:
            with client.pubsub() as pubsub:  # type: ignore[no-untyped-call]
                pubsub.subscribe(WAKE_CHANNEL)
                self.is_listening = True
                while not self._ended.is_set():
                    message = pubsub.get_message(ignore_subscribe_messages=True, timeout=LISTEN_S)
                    if message is not None and message["type"] == "message":
                        wake = self._wakes.get(message["data"].decode("utf-8", "replace"))
                        if wake is not None:
                            wake.set()
        finally:
            self.is_listening = False
            client.close()

    def _forever(self, work: Callable[[], None]) -> None:
        """Begin anew after a fault, until told to end."""
        while not self._ended.is_set():
            try:
                work()
            except (redis.RedisError, OSError, MailError) as error:
                log.warning("relay.trouble", extra={"reason": f"{type(error).__name__}: {error}"[:200]})
            except Exception:
                log.exception("relay.part.failed")
            self._ended.wait(AWAY_S * _RANDOM.uniform(0.7, 1.3))


def _together(tasks: Sequence[Callable[[], None]]) -> None:
    """Carry out tasks at once, a bounded number; raise the first fault when all are done."""
    if len(tasks) == 1:
        tasks[0]()
        return
    pool = Pool(AT_ONCE)
    greenlets = [pool.spawn(task) for task in tasks]
    gevent.joinall(greenlets)
    for greenlet in greenlets:
        if greenlet.exception is not None:
            raise greenlet.exception
