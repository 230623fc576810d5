"""The authentication log: who tried to sign in as a user, from where, with what result.

A login never waits for it: notes are grouped in memory and written a second later by a greenlet or thread of the
process. What a process that dies has not written is lost; what comes in faster than it can be written is counted and
dropped.
"""

from __future__ import annotations

import ipaddress
import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

from mailcore.errors import MailError, NotFound, TooManyAttempts, ValueInvalid
from mailcore.metrics import Tally
from mailcore.model.actor import Actor, ActorKind, Door
from mailcore.model.ids import TenantId, UserId
from mailcore.model.limits import DEFAULT_LIMITS
from mailcore.model.tally import sign_in
from mailcore.services.accounts.login_guard import Attempt, LoginGuard, Refusal
from mailcore.services.events.audit import Audit
from mailcore.services.process.clock import now
from mailcore.services.tenants.tallies import Tallies
from mailcore.store.placement import Placement
from mailcore.store.user.auth_log import KEY_BYTES, AuthLogRow, RowFilter, SignIn, row_key

log = logging.getLogger(__name__)

DROPPED = Tally("eider_auth_log_dropped", "Sign-ins that did not get into the authentication log")
FLUSH_S: Final = 1.0
LOG_KEPT: Final = timedelta(seconds=DEFAULT_LIMITS.auth_log_kept_s)
NETWORKS_KEPT: Final = timedelta(seconds=DEFAULT_LIMITS.networks_kept_s)
MOST: Final = 250
ACCEPTED: Final = "accepted"
LIMITED: Final = "limited"
"""Had to wait after too many failures; nothing was looked at."""
KNOWN_NETWORKS: Final = 50_000
_DOORS: Final = {door.value: door for door in Door} | {"smtp": Door.SUBMISSION}

_Noted = tuple[Attempt, AuthLogRow]
_Seen = tuple[UserId, str, datetime]
Spawn = Callable[[Callable[[], None]], object]


class AuthLog:
    """Takes notes of sign-ins, writes them, and reads them."""

    def __init__(
        self,
        placement: Placement,
        audit: Audit,
        clock: Callable[[], datetime] = now,
        tallies: Tallies | None = None,
    ) -> None:
        self._placement = placement
        self._tallies = tallies
        self._audit = audit
        self._clock = clock
        self._waiting: dict[bytes, _Noted] = {}
        self._lock = threading.Lock()
        self._notes_wait = threading.Event()
        self._known: set[tuple[UserId, str]] = set()
        self._closed = threading.Event()

    # -- notes ------------------------------------------------------------------------------

    def note(self, attempt: Attempt, result: str) -> None:
        """Remember a try, if it names a user; never waits and never raises."""
        if attempt.user_id is None:
            return
        at = self._clock()
        sign_in = SignIn(str(attempt.protocol), attempt.remote_address[:64], result, str(attempt.kind or ""))
        key = row_key(attempt.user_id, sign_in, at)
        with self._lock:
            known = self._waiting.get(key)
            if known is not None:
                row = known[1]
                self._waiting[key] = attempt, AuthLogRow(key, sign_in, row.count + 1, row.first_at, at)
            elif len(self._waiting) < DEFAULT_LIMITS.auth_log_waiting:
                self._waiting[key] = attempt, AuthLogRow(key, sign_in, 1, at, at)
            else:
                DROPPED.inc()
        self._notes_wait.set()

    def flush(self) -> int:
        """Write what was noted, and return how many groups; a shard that is away loses its own."""
        self._notes_wait.clear()
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        by_shard: dict[str, list[_Noted]] = defaultdict(list)
        for attempt, row in waiting.values():
            assert attempt.user_id is not None
            try:
                home = self._placement.home(attempt.user_id)
                by_shard[home.shard.name].append((attempt, row))
                self._count(home.tenant_id, row)
            except NotFound:
                continue  # removed since
            except MailError as error:
                self._lose(1, error)
        for name, noted in by_shard.items():
            self._write(name, noted)
        return len(waiting)

    def _write(self, shard: str, noted: Sequence[_Noted]) -> None:
        """Write what was noted of users of a shard; tell of sign-ins from networks that are new to them.

        A network is looked at once by each process. One round trip, and one for each further network that a user was
        in from within the second.
        """
        seen = self._unknown_networks(noted)
        rows = [row for _, row in noted]
        try:
            stored = self._placement.shard(shard).auth_log
            for asked in list(_each_user_once([(*key, at) for key, (_, at) in seen.items()])) or [[]]:
                new = stored.note(rows, LOG_KEPT, asked, NETWORKS_KEPT)
                rows = []
                for user_id, network in new:
                    actor = _actor(seen[user_id, network][0])
                    self._audit.happened(actor, "login.new_network", user_id, {"network": network})
        except MailError as error:
            if rows:
                self._lose(len(rows), error)
            else:
                log.warning("auth_log.network_unknown", extra={"reason": type(error).__name__})
            return
        if len(self._known) >= KNOWN_NETWORKS:
            self._known.clear()
        self._known |= seen.keys()

    def _unknown_networks(self, noted: Sequence[_Noted]) -> dict[tuple[UserId, str], tuple[Attempt, datetime]]:
        """Return from which networks that this process has not looked at users were let in, and when."""
        found = {}
        for attempt, row in noted:
            network = network_of(attempt.remote_address) if row.sign_in.result == ACCEPTED else None
            assert attempt.user_id is not None
            if network is not None and (attempt.user_id, network) not in self._known:
                found[attempt.user_id, network] = attempt, row.last_at
        return found

    def _count(self, tenant_id: TenantId, row: AuthLogRow) -> None:
        if self._tallies is not None:
            what = sign_in(row.sign_in.protocol, right=row.sign_in.result == ACCEPTED)
            self._tallies.add(tenant_id, what, row.count, row.last_at)

    def _lose(self, count: int, error: MailError) -> None:
        DROPPED.inc(by=count)
        log.warning("auth_log.lost", extra={"rows": count, "reason": type(error).__name__})

    def start(self, spawn: Spawn) -> None:
        """Write what is noted a second later from now on, in a greenlet or thread that `spawn` makes."""
        spawn(self._flush_forever)

    def close(self) -> None:
        """Write what is left."""
        self._closed.set()
        self.flush()
        self._notes_wait.set()

    def _flush_forever(self) -> None:
        while not self._closed.is_set():
            self._notes_wait.wait()
            if not self._closed.wait(FLUSH_S):
                self.flush()

    # -- reading ----------------------------------------------------------------------------

    def list_of_user(self, user_id: UserId, before: str = "", limit: int = 50) -> list[AuthLogRow]:
        """Return a page of a user's log, latest first; `before` is the lowest key of the page before.

        Of an hour that two pages share, each has some.

        Raises:
            UserNotFound: there is no such user.
            ValueInvalid: not a key of this log, or a limit that is not 1 to 250.
        """
        if not 1 <= limit <= MOST:
            raise ValueInvalid(f"limit: 1 to {MOST}")
        rows = self._placement.home(user_id).shard.auth_log
        return latest_first(rows.list_of_user(user_id, _key_of(user_id, before), limit))

    def page(
        self, user_id: UserId, wanted: RowFilter, edge: str, limit: int, *, newer: bool
    ) -> tuple[list[AuthLogRow], int]:
        """Return rows older than a key, latest hour first, or newer, oldest first, and how many there are in all.

        Two round trips.

        Raises:
            UserNotFound: there is no such user.
            ValueInvalid: not a key of this log.
        """
        rows = self._placement.home(user_id).shard.auth_log
        found = rows.page_of_user(user_id, wanted, _key_of(user_id, edge), limit, newer=newer)
        return found, rows.count_of_user(user_id, wanted)

    def find(self, user_id: UserId, key: str) -> AuthLogRow | None:
        """Return one row, None if it is not there; one round trip."""
        try:
            wanted = _key_of(user_id, key)
        except ValueInvalid:
            return None
        return self._placement.home(user_id).shard.auth_log.find(user_id, wanted) if wanted is not None else None


def latest_first(rows: Iterable[AuthLogRow]) -> list[AuthLogRow]:
    """Return rows in the order of their times; that of their keys is by hours alone."""
    return sorted(rows, key=lambda row: row.last_at, reverse=True)


class LoggedGuard:
    """A guard of the login path that also keeps the authentication log."""

    def __init__(self, guard: LoginGuard, auth_log: AuthLog) -> None:
        self._guard = guard
        self._log = auth_log

    def before(self, attempt: Attempt, connections: int | None = None, /) -> Attempt:
        """As the guard says."""
        try:
            return self._guard.before(attempt, connections)
        except TooManyAttempts:
            self._log.note(attempt, LIMITED)
            raise

    def failed(self, attempt: Attempt, refusal: Refusal) -> None:
        """Note a refusal."""
        self._guard.failed(attempt, refusal)
        self._log.note(attempt, refusal.value)

    def withdrawn(self, attempt: Attempt) -> None:
        """Nothing was tried."""
        self._guard.withdrawn(attempt)

    def succeeded(self, attempt: Attempt) -> None:
        """Note that somebody is in."""
        self._guard.succeeded(attempt)
        self._log.note(attempt, ACCEPTED)


def _each_user_once(seen: list[_Seen]) -> Iterator[list[_Seen]]:
    """Yield all in groups that have each user once: whether a network is a user's first depends on those before it."""
    while seen:
        first: dict[UserId, _Seen] = {}
        for one in seen:
            first.setdefault(one[0], one)
        yield list(first.values())
        seen = [one for one in seen if first[one[0]] is not one]


@lru_cache(maxsize=4096)
def network_of(remote_address: str) -> str | None:
    """Return the /24 or /64 an address is in, None if it is none."""
    try:
        address = ipaddress.ip_address(remote_address.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    prefix = 24 if address.version == 4 else 64
    return str(ipaddress.ip_network((address, prefix), strict=False))


def _actor(attempt: Attempt) -> Actor:
    door = _DOORS.get(attempt.protocol.value, Door.API)
    return Actor(ActorKind.USER, door, attempt.username, attempt.user_id, attempt.remote_address)


def _key_of(user_id: UserId, text: str) -> bytes | None:
    """Return the key that a text is, None for none.

    Raises:
        ValueInvalid: it is not of this user's log.
    """
    try:
        key = bytes.fromhex(text)
    except ValueError:
        raise ValueInvalid("not a row of the log") from None
    if key and (len(key) != KEY_BYTES or not key.startswith(user_id.binary)):
        raise ValueInvalid("not a row of the log")
    return key or None
