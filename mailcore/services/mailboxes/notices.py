"""Notices: tells sessions of every process that a mailbox changed, so that IDLE need not ask the database.

Sessions that watch all mailboxes of a user (NOTIFY) are told by the same notices, and by one for the tree of names.

A notice is a hint and never fails a commit. It carries the log entry where that is small, so a
process that is up to date applies it without the database. What a lost notice would have told
is found by a poll: every 30 s with Redis, more often without.
"""

from __future__ import annotations

import logging
import secrets
import struct
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from random import SystemRandom
from typing import Any, Final

import redis
from bson import ObjectId
from redis.client import PubSub

from mailcore.errors import MailError
from mailcore.model.ids import MailboxId, UserId
from mailcore.services.mailboxes.publisher import Publisher
from mailcore.services.mailboxes.watch import Stir, Watch
from mailcore.store import keys
from mailcore.store.keys import OWNER_BYTES
from mailcore.store.mailbox.view_cache import ViewCache
from mailcore.store.placement import Placement
from mailcore.store.shard import ShardStores

log = logging.getLogger(__name__)
_RANDOM = SystemRandom()

CHANNEL: Final = b"eider:mailbox:"
SIGN_IN_CHANNEL: Final = b"eider:sign-in"
MAX_ENTRY_BYTES: Final = 4096
POLL_S: Final = 30.0
POLL_ALONE_S: Final = 5.0
POLL_JITTER: Final = (0.8, 1.1)
"""Spreads the polls of processes; a client hears of everything within 35 s."""
SOCKET_TIMEOUT_S: Final = 0.5
PAUSE_AFTER_FAULT_S: Final = 5.0
LISTEN_S: Final = 5.0
"""So often a listener that hears nothing looks whether it has to end; its connection's end wakes it at once."""
_NOTICE: Final = struct.Struct(">12s12sQ8s")
"""User, mailbox, MODSEQ, sending process; the entry follows. NAMES as the mailbox: the tree, its version for MODSEQ."""
NAMES: Final = bytes(OWNER_BYTES)
ANNOTATIONS: Final = 0
"""Stands for the version where annotations changed, not names."""

Wake = Callable[[], None]
Spawn = Callable[[Callable[[], None]], Any]


class Subscription:
    """A session's wish to be woken when a mailbox changes; ends with `close`."""

    __slots__ = ("_notices", "key", "seen", "told", "wake")

    def __init__(self, notices: Notices, key: bytes, wake: Wake) -> None:
        self._notices = notices
        self.key = key
        self.wake = wake
        self.told = 0
        """MODSEQ of the newest change that it was woken for."""
        self.seen = 0
        """MODSEQ up to which the session knows the mailbox, as it says itself; the poll wakes it for what is newer."""

    def close(self) -> None:
        """Wake no more; closing twice is harmless."""
        self._notices.remove(self)


class Notices:
    """Publishes changes and wakes the sessions of this process.

    Args:
        redis_url: None where there is no Redis: the poll then does all.
        poll_s: seconds between polls while Redis works.
    """

    def __init__(
        self,
        redis_url: str | None,
        placement: Placement,
        views: ViewCache,
        *,
        poll_s: float = POLL_S,
        poll_alone_s: float = POLL_ALONE_S,
    ) -> None:
        self._redis: redis.Redis | None = None
        self._publisher: Publisher | None = None
        if redis_url is not None:
            self._redis = redis.Redis.from_url(
                redis_url, socket_timeout=SOCKET_TIMEOUT_S, socket_connect_timeout=SOCKET_TIMEOUT_S
            )
            self._publisher = Publisher(self._redis)
        self._placement = placement
        self._views = views
        self._poll_s = poll_s
        self._poll_alone_s = poll_alone_s
        self._sender = secrets.token_bytes(8)
        self._silent_until = 0.0
        self._subscriptions: dict[bytes, set[Subscription]] = defaultdict(set)
        self._watches: dict[bytes, set[Watch | Stir]] = defaultdict(set)
        self._users: dict[bytes, int] = defaultdict(int)
        self._lock = threading.RLock()
        self._pubsub: PubSub | None = None
        self._listening = False
        self._closed = threading.Event()
        self.on_sign_in_change: Callable[[bytes], None] = lambda _owner: None
        """Called with the id of a user or tenant whose rights to be signed in changed in another process."""

    # -- telling --------------------------------------------------------------------------------

    def publish(self, user_id: UserId, mailbox_id: MailboxId, modseq: int, entry: bytes | None) -> None:
        """Tell everybody that a commit happened; never raises, never takes longer than half a second."""
        self._tell(keys.mailbox_key(user_id, mailbox_id), modseq, entry)
        small = entry if entry is not None and len(entry) <= MAX_ENTRY_BYTES else b""
        message = _NOTICE.pack(user_id.binary, mailbox_id.binary, modseq, self._sender) + small
        self._publish(CHANNEL + user_id.binary.hex().encode(), message)

    def publish_names(self, user_id: UserId, version: int) -> None:
        """Tell everybody who watches that a user's tree of names changed; never raises."""
        self._tell_names(user_id.binary, version)
        message = _NOTICE.pack(user_id.binary, NAMES, version, self._sender)
        self._publish(CHANNEL + user_id.binary.hex().encode(), message)

    def publish_annotations(self, user_id: UserId) -> None:
        """Tell everybody who watches that annotations of a user's mailboxes changed; never raises."""
        self._tell_names(user_id.binary, ANNOTATIONS)
        message = _NOTICE.pack(user_id.binary, NAMES, ANNOTATIONS, self._sender)
        self._publish(CHANNEL + user_id.binary.hex().encode(), message)

    def publish_sign_in_change(self, owner: bytes) -> None:
        """Tell every process that a user's or a tenant's rights to be signed in changed; never raises."""
        self._publish(SIGN_IN_CHANNEL, owner + self._sender)

    def _publish(self, channel: bytes, message: bytes) -> None:
        if self._publisher is None or time.monotonic() < self._silent_until:
            return
        try:
            self._publisher.publish(channel, message)
        except (redis.RedisError, OSError) as error:
            self._silent_until = time.monotonic() + PAUSE_AFTER_FAULT_S
            log.warning("notices.publish.failed", extra={"reason": str(error)})

    def _tell(self, key: bytes, modseq: int, entry: bytes | None) -> None:
        if entry:
            self._views.apply(UserId(ObjectId(key[:12])), MailboxId(ObjectId(key[12:])), modseq, entry)
        for subscription in tuple(self._subscriptions.get(key, ())):
            subscription.told = max(modseq, subscription.told)
            subscription.wake()
        for watch in tuple(self._watches.get(key[:OWNER_BYTES], ())):
            watch.hear(ObjectId(key[OWNER_BYTES:]), modseq)

    def _tell_names(self, user: bytes, version: int) -> None:
        for watch in tuple(self._watches.get(user, ())):
            if version == ANNOTATIONS:
                watch.hear_annotations()
            else:
                watch.hear_names(version)

    # -- listening ------------------------------------------------------------------------------

    def subscribe(self, user_id: UserId, mailbox_id: MailboxId, wake: Wake) -> Subscription:
        """Have `wake` called after each change, until the subscription is closed.

        `wake` must return at once. Subscribe before reading the mailbox: what changed before the
        subscription took hold is then seen by that read, or by the next poll.
        """
        key = keys.mailbox_key(user_id, mailbox_id)
        subscription = Subscription(self, key, wake)
        with self._lock:
            self._subscriptions[key].add(subscription)
            self._open_channel(key[:OWNER_BYTES])
        return subscription

    def watch(self, user_id: UserId, wake: Wake) -> Watch:
        """Have `wake` called after changes of all mailboxes of a user that the watch knows, and of their names.

        As with `subscribe`: watch first, read then.
        """
        watch = Watch(self, user_id, wake)
        self._add_watch(watch)
        return watch

    def stir(self, user_id: UserId, wake: Wake) -> Stir:
        """Have `wake` called after any change of a user's mailboxes or names, and at each poll."""
        stir = Stir(self, user_id, wake)
        self._add_watch(stir)
        return stir

    def _add_watch(self, watch: Watch | Stir) -> None:
        with self._lock:
            self._watches[watch.user_id.binary].add(watch)
            self._open_channel(watch.user_id.binary)

    def remove_watch(self, watch: Watch | Stir) -> None:
        """End a watch."""
        user = watch.user_id.binary
        with self._lock:
            watching = self._watches.get(user)
            if watching is None or watch not in watching:
                return
            watching.discard(watch)
            if not watching:
                del self._watches[user]
            self._leave_channel(user)

    def remove(self, subscription: Subscription) -> None:
        """End a subscription."""
        key = subscription.key
        with self._lock:
            waiting = self._subscriptions.get(key)
            if waiting is None or subscription not in waiting:
                return
            waiting.discard(subscription)
            if not waiting:
                del self._subscriptions[key]
            self._leave_channel(key[:OWNER_BYTES])

    def _open_channel(self, user: bytes) -> None:
        self._users[user] += 1
        if self._users[user] == 1:
            self._on_channel("subscribe", user)

    def _leave_channel(self, user: bytes) -> None:
        self._users[user] -= 1
        if not self._users[user]:
            del self._users[user]
            self._on_channel("unsubscribe", user)

    def _on_channel(self, verb: str, user: bytes) -> None:
        if self._pubsub is None:
            return
        try:
            getattr(self._pubsub, verb)(CHANNEL + user.hex().encode())
        except (redis.RedisError, OSError) as error:
            self._listening = False
            log.warning("notices.subscribe.failed", extra={"reason": str(error)})

    def start(self, spawn: Spawn) -> None:
        """Begin to listen and to poll, each in a greenlet or thread that `spawn` makes."""
        if self._redis is not None:
            spawn(self._listen)
        spawn(self._poll_forever)

    def close(self) -> None:
        """Stop listening and polling."""
        self._closed.set()
        if self._publisher is not None:
            self._publisher.close()
        if self._redis is not None:
            self._redis.close()

    @property
    def listening(self) -> bool:
        """Whether notices of other processes arrive at present."""
        return self._listening

    def _listen(self) -> None:
        while not self._closed.is_set():
            try:
                self._listen_once()
            except (redis.RedisError, OSError, ValueError) as error:  # ValueError: closed while reading
                if not self._closed.is_set():
                    log.warning("notices.listen.failed", extra={"reason": str(error)})
            finally:
                self._listening = False
                with self._lock:
                    pubsub, self._pubsub = self._pubsub, None
                if pubsub is not None:
                    pubsub.close()
            self._closed.wait(_RANDOM.uniform(0.5, 2.0))

    def _listen_once(self) -> None:
        assert self._redis is not None
        pubsub: PubSub = self._redis.pubsub()  # type: ignore[no-untyped-call]
        with self._lock:
            channels = [CHANNEL + user.hex().encode() for user in self._users]
            pubsub.subscribe(SIGN_IN_CHANNEL, *channels)
            self._pubsub = pubsub
        self._listening = True
        self._poll()  # what happened while nobody listened
        while not self._closed.is_set() and self._listening:
            message = pubsub.get_message(ignore_subscribe_messages=True, timeout=LISTEN_S)
            if message is not None and message["type"] == "message":
                if message["channel"] == SIGN_IN_CHANNEL:
                    self._received_sign_in_change(message["data"])
                else:
                    self._received(message["data"])

    def _received(self, data: bytes) -> None:
        if len(data) < _NOTICE.size:
            return
        user, mailbox, modseq, sender = _NOTICE.unpack_from(data)
        if sender == self._sender:
            return
        if mailbox == NAMES:
            self._tell_names(user, modseq)
        else:
            self._tell(user + mailbox, modseq, data[_NOTICE.size :])

    def _received_sign_in_change(self, data: bytes) -> None:
        owner, sender = data[:OWNER_BYTES], data[OWNER_BYTES:]
        if sender != self._sender:
            try:
                self.on_sign_in_change(owner)
            except MailError as error:
                log.warning("notices.sign_in_change.failed", extra={"reason": str(error)})

    # -- polling --------------------------------------------------------------------------------

    def _poll_forever(self) -> None:
        while True:
            period = self._poll_s if self._listening else self._poll_alone_s
            if self._closed.wait(period * _RANDOM.uniform(*POLL_JITTER)):
                return
            self._poll()

    def _poll(self) -> None:
        """Compare HIGHESTMODSEQ of all mailboxes somebody listens to: one query for each shard, another for names."""
        watched = [watch for watches in list(self._watches.values()) for watch in tuple(watches)]
        head_keys = set(self._subscriptions)
        for watch in watched:
            head_keys.update(watch.head_keys())
        for shard, of_shard in self._by_shard(head_keys):
            try:
                found = shard.heads.highest_modseqs(of_shard)
            except MailError as error:
                log.warning("notices.poll.failed", extra={"shard": shard.name, "reason": str(error)})
                continue
            for key in of_shard:
                self._compare(key, found.get(key, -1))
        for shard, users in self._by_shard({watch.user_id.binary for watch in watched}):
            try:
                versions = shard.trees.versions(users)
            except MailError as error:
                log.warning("notices.poll.failed", extra={"shard": shard.name, "reason": str(error)})
                continue
            for user, version in versions.items():
                self._tell_names(user, version)
                self._poll_annotations(shard, user)

    def _poll_annotations(self, shard: ShardStores, user: bytes) -> None:
        """Look whether annotations changed, if anybody cares: one query for each such user, of whom there are few."""
        watches = [watch for watch in tuple(self._watches.get(user, ())) if watch.annotation_changes is not None]
        if not watches:
            return
        try:
            changes = shard.annotations.changes_of_user(UserId(ObjectId(user)))
        except MailError as error:
            log.warning("notices.poll.failed", extra={"shard": shard.name, "reason": str(error)})
            return
        for watch in watches:
            watch.hear_annotations(changes)

    def _by_shard(self, owned: set[bytes]) -> list[tuple[ShardStores, list[bytes]]]:
        """Return keys by the shard on which their owners live."""
        found: dict[str, tuple[ShardStores, list[bytes]]] = {}
        for key in owned:
            try:
                shard = self._placement.home(UserId(ObjectId(key[:OWNER_BYTES]))).shard
            except MailError:
                continue  # the session finds out with its next command
            found.setdefault(shard.name, (shard, []))[1].append(key)
        return list(found.values())

    def _compare(self, key: bytes, modseq: int) -> None:
        """Wake the sessions that have not seen this state; -1: the mailbox is gone."""
        for subscription in tuple(self._subscriptions.get(key, ())):
            if modseq < 0 or modseq > subscription.seen:
                subscription.told = max(modseq, subscription.told)
                subscription.wake()
        for watch in tuple(self._watches.get(key[:OWNER_BYTES], ())):
            watch.hear(ObjectId(key[OWNER_BYTES:]), modseq)
