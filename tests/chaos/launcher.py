"""A server process that fails where a test says: `python -m tests.chaos.launcher POINT:N[,POINT:N] SERVER ...`.

At the N-th pass of POINT the process ends by SIGKILL. Among the points there may be names of alterations: one
function replaced, so that a promise is broken and the test of it must turn red.
"""

from gevent import monkey

monkey.patch_all()

import dataclasses  # noqa: E402
import itertools  # noqa: E402
import os  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
from collections.abc import Callable  # noqa: E402

import gevent  # noqa: E402
import redis  # noqa: E402

from mailcore import errors, fault, settings  # noqa: E402
from mailcore.main import main  # noqa: E402
from mailcore.model.actor import Actor  # noqa: E402
from mailcore.model.ids import UserId  # noqa: E402
from mailcore.model.outbound import NewOutbound  # noqa: E402
from mailcore.services.inbound import arrival  # noqa: E402
from mailcore.services.mailboxes.notices import Notices  # noqa: E402
from mailcore.services.outbound import outbound_work, queueing, slots  # noqa: E402
from mailcore.smtp import replies  # noqa: E402
from mailcore.store import client, guard, placement  # noqa: E402


def die_at(pass_number: int) -> Callable[[], None]:
    """Return an action that kills this process at its `pass_number`-th call."""
    passes = itertools.count(1)

    def action() -> None:
        if next(passes) == pass_number:
            os.kill(os.getpid(), signal.SIGKILL)

    return action


def acknowledge_alone() -> None:
    """A write counts as done when the primary alone has it."""
    client.STRONG_OPTIONS["w"] = 1
    client.assert_strong = lambda _handle: None


def ask_every_shard() -> None:
    """Whoever is looked up, every shard is asked as well."""
    home = placement.Placement.home

    def slow(self: placement.Placement, user_id: UserId) -> placement.Home:
        for name in ("a", "b"):
            with guard.deadline():
                self.shard(name).hot.command("ping")
        return home(self, user_id)

    placement.Placement.home = slow  # type: ignore[method-assign]


def insist_on_redis() -> None:
    """A change that cannot be told of is a fault."""

    def publish(self: Notices, channel: bytes, message: bytes) -> None:
        assert self._redis is not None
        try:
            self._redis.set(b"told", message)
        except (OSError, redis.RedisError):
            raise errors.StoreUnavailable(channel) from None

    Notices._publish = publish  # type: ignore[method-assign]


def say_yes() -> None:
    """What could not be stored is acknowledged."""
    reply_for = replies.reply_for
    yes = replies.Reply.of(250, "2.0.0", "Stored")
    replies.reply_for = lambda error, now=None: yes if isinstance(error, errors.Unavailable) else reply_for(error, now)


def queue_later() -> None:
    """A submitted message is acknowledged first and queued a little later."""
    enqueue = queueing.Queueing.enqueue

    def later(self: queueing.Queueing, new: NewOutbound, actor: Actor) -> queueing.QueueId:
        gevent.spawn_later(1, enqueue, self, new, actor)
        return queueing.queue_id_of(new.user_id, new.key)

    queueing.Queueing.enqueue = later  # type: ignore[method-assign]


def impatient_relay() -> None:
    """Leases and waits of seconds, so that a test sees in a minute what takes hours."""
    limits = settings.DEFAULT_LIMITS
    outbound = dataclasses.replace(limits.outbound, lease_s=3, backoff_s=(1,), messages=16)
    settings.DEFAULT_LIMITS = dataclasses.replace(limits, outbound=outbound)
    slots.HELD_S = 3


def unknown_repeats() -> None:
    """A delivery that is repeated is taken for another one."""
    arrival.Arrival.copy_id = lambda *_: None  # type: ignore[method-assign,assignment]


def forgetful_relay() -> None:
    """Nothing of what became of a message is written down."""
    impatient_relay()
    outbound_work.OutboundWork.record = lambda *_, **__: None  # type: ignore[method-assign]


ALTERATIONS: dict[str, Callable[[], None]] = {
    "acknowledged-alone": acknowledge_alone,
    "every-shard": ask_every_shard,
    "redis-needed": insist_on_redis,
    "always-yes": say_yes,
    "impatient": impatient_relay,
    "forgetful": forgetful_relay,
    "queued-later": queue_later,
    "unknown-repeats": unknown_repeats,
}

if __name__ == "__main__":
    entries = sys.argv[1].split(",")
    for entry in entries:
        if entry in ALTERATIONS:
            ALTERATIONS[entry]()
    points = dict(entry.split(":") for entry in entries if entry not in ALTERATIONS)
    fault.install({name: die_at(int(count)) for name, count in points.items()})
    sys.exit(main(sys.argv[2:], os.environ))
