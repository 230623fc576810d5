"""Where a user's mail is: user -> shard, with the key of the user's tenant."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Lock

from mailcore.errors import ShardNotFound, TenantNotFound, UserNotFound
from mailcore.model.encryption import NO_ENCRYPTION, Encryption
from mailcore.model.features import Feature
from mailcore.model.ids import TenantId, UserId
from mailcore.model.limits import DEFAULT_USER_LIMITS, UserLimits
from mailcore.model.onward_target import NO_TARGETS, OnwardTargets
from mailcore.model.reputation import SendingHold
from mailcore.model.tenant import Shard, Standing, State, StoredSmarthost, Tenant, User
from mailcore.model.user_settings import DEFAULTS, UserSettings
from mailcore.store.client import Clients
from mailcore.store.directory import Directory
from mailcore.store.directory.users import Credentials
from mailcore.store.shard import ShardStores

CACHE_S = 30.0
MAX_HOMES = 50_000
READ_GOOD_S = 5.0
"""So long after the reading of a login the user's home is made of it."""
MAX_READ = 1000


@dataclass(frozen=True, slots=True)
class Pool:
    """A tenant's room, and what was used of it when that was last summed up."""

    quota_bytes: int
    used_bytes: int
    used_at: datetime | None


@dataclass(frozen=True, slots=True)
class Home:
    """Where the mail of one user is, and what is needed to read and write it."""

    user_id: UserId
    tenant_id: TenantId
    shard: ShardStores
    placement_epoch: int
    tenant_key: bytes = field(repr=False)
    """32 bytes; addresses the tenant's attachments."""
    quota_bytes: int | None
    pool: Pool | None
    """What all users of the tenant may store together; None: as much as they like."""
    state: State
    """The stricter of the user's and the tenant's."""
    over_quota_since: datetime | None = None
    cold_after: timedelta = timedelta(0)
    """How long the tenant's attachments lie on the hot set first."""
    limits: UserLimits = DEFAULT_USER_LIMITS
    """The user's own numbers, else the tenant's, else the platform's."""
    settings: UserSettings = DEFAULTS
    autoreply_version: int = 0
    """As `User.autoreply_version`."""
    filters_version: int = 0
    """Of the user's own rules and scripts; 0: none has a say."""
    tenant_filters_version: int = 0
    domain_access_version: int = 0
    encryption: Encryption = NO_ENCRYPTION
    onward: OnwardTargets = NO_TARGETS
    smarthost: StoredSmarthost | None = None
    """The user's own, else the tenant's."""
    standing: Standing = Standing.FULL
    """The tenant's."""
    sending_hold: SendingHold | None = None
    """The tenant's, else the user's own; of two one that stops new mail: outgoing mail waits."""
    scripts_run: bool = True
    """Whether the tenant has `Feature.USER_SCRIPTS`."""


class Placement:
    """Finds homes; what it knows may be 30 s old, and is forgotten when a write finds it outdated.

    That a user does not exist is never remembered.
    """

    def __init__(
        self,
        directory: Directory,
        clients: Clients,
        open_key: Callable[[Tenant], bytes],
        clock: Callable[[], float] = time.monotonic,
        user_limits: UserLimits = DEFAULT_USER_LIMITS,
    ) -> None:
        self._directory = directory
        self._clients = clients
        self._open_key = open_key
        self._clock = clock
        self._user_limits = user_limits
        self._homes: dict[UserId, tuple[float, Home]] = {}
        self._read: dict[UserId, tuple[float, User]] = {}
        """Whom logins have read, and when they began to."""
        self._tenants: dict[TenantId, tuple[float, Tenant]] = {}
        self._opened: dict[TenantId, tuple[bytes, bytes]] = {}
        """Content keys as they are stored, and opened."""
        self._shards: dict[str, tuple[Shard, ShardStores]] = {}
        self._shards_read_at = float("-inf")
        self._lock = Lock()

    @property
    def directory(self) -> Directory:
        """Where users and tenants are known."""
        return self._directory

    def use_user_limits(self, limits: UserLimits) -> None:
        """Let these numbers count for users and tenants without their own; homes that are known follow in 30 s."""
        self._user_limits = limits

    def home(self, user_id: UserId) -> Home:
        """Return the user's home; no round trip if known or if a login has just read the user, else up to three.

        Raises:
            UserNotFound: there is no such user.
            StoreUnavailable: the directory did not answer.
        """
        now = self._clock()
        cached = self._homes.get(user_id)
        if cached is not None and now < cached[0]:
            return cached[1]
        read_at, user = self._read.pop(user_id, (float("-inf"), None))
        if now >= read_at + READ_GOOD_S:
            read_at, user = now, self._directory.users.find(user_id)
        if user is None:
            self.forget(user_id)
            raise UserNotFound(user_id)
        tenant = self.tenant(user.tenant_id)
        home = Home(
            user_id=user_id,
            tenant_id=user.tenant_id,
            shard=self.shard(user.shard),
            placement_epoch=user.placement_epoch,
            tenant_key=self._key_of(tenant),
            quota_bytes=user.quota_bytes,
            pool=_pool(tenant),
            state=stricter(user.state, tenant.admits),
            over_quota_since=user.over_quota_since,
            standing=tenant.standing,
            sending_hold=_stricter_hold(tenant.sending_hold, user.sending_hold),
            cold_after=tenant.cold_after,
            limits=self.limits(user, tenant),
            settings=user.settings,
            autoreply_version=user.autoreply_version,
            filters_version=user.filters_version,
            tenant_filters_version=tenant.filters_version,
            domain_access_version=tenant.domain_access_version,
            encryption=user.encryption,
            onward=user.onward,
            smarthost=user.smarthost or tenant.smarthost,
            scripts_run=tenant.has(Feature.USER_SCRIPTS),
        )
        if len(self._homes) >= MAX_HOMES:
            self._homes.clear()
        self._homes[user_id] = (read_at + CACHE_S, home)
        return home

    def find_credentials(self, user_id: UserId) -> Credentials | None:
        """Return a user with its password as it is now, None if there is none; one round trip.

        Who signs in opens a mailbox next: a home that is asked for within a few seconds is made of this.
        """
        return self._note_reading(self._clock(), self._directory.users.find_credentials(user_id))

    def find_by_main_address(self, shown: str) -> Credentials | None:
        """Return the user whose main address is shown just so, as `find_credentials`; one round trip."""
        return self._note_reading(self._clock(), self._directory.users.find_by_main_address(shown))

    def _note_reading(self, began: float, found: Credentials | None) -> Credentials | None:
        cached = self._homes.get(found.user.id) if found is not None else None
        if found is not None and (cached is None or began >= cached[0]):
            if len(self._read) >= MAX_READ:
                self._read.clear()
            self._read[found.user.id] = began, found.user
        return found

    def limits(self, user: User, tenant: Tenant) -> UserLimits:
        """Return what holds for a user."""
        return self._user_limits.replaced_by(tenant.limits.user_limits, user.own_limits)

    def known_limits(self, user: User) -> UserLimits | None:
        """Return what holds for a user if the tenant is known; no round trip."""
        cached = self._tenants.get(user.tenant_id)
        return self.limits(user, cached[1]) if cached is not None and self._clock() < cached[0] else None

    def forget(self, user_id: UserId) -> None:
        """Read this user's home anew next time."""
        self._homes.pop(user_id, None)
        self._read.pop(user_id, None)

    def forget_tenant(self, tenant_id: TenantId) -> None:
        """Read this tenant, and the homes of its users, anew next time."""
        self._tenants.pop(tenant_id, None)
        self._opened.pop(tenant_id, None)
        for user_id, (_, home) in list(self._homes.items()):
            if home.tenant_id == tenant_id:
                self._homes.pop(user_id, None)

    def tenant(self, tenant_id: TenantId) -> Tenant:
        """Return a tenant as it was at most 30 s ago; its content key stays sealed.

        Raises:
            TenantNotFound: there is none.
        """
        now = self._clock()
        cached = self._tenants.get(tenant_id)
        if cached is not None and now < cached[0]:
            return cached[1]
        tenant = self._directory.tenants.find(tenant_id)
        if tenant is None:
            raise TenantNotFound(tenant_id)
        self._tenants[tenant_id] = (now + CACHE_S, tenant)
        return tenant

    def shard(self, name: str) -> ShardStores:
        """Return the stores of a shard.

        Raises:
            ShardNotFound: the directory has none of that name.
        """
        known = self._shards.get(name)
        if known is None or self._clock() >= self._shards_read_at + CACHE_S:
            self._read_shards()
            known = self._shards.get(name)
        if known is None:
            raise ShardNotFound(name)
        return known[1]

    def shards(self, region: str | None = None) -> list[ShardStores]:
        """Return the stores of every shard, or of those of a region, by name."""
        if self._clock() >= self._shards_read_at + CACHE_S:
            self._read_shards()
        known = [each for _, each in sorted(self._shards.items())]
        return [stores for shard, stores in known if region is None or shard.region == region]

    def forget_shards(self) -> None:
        """Read the list of shards anew next time."""
        self._shards_read_at = float("-inf")

    def open_stores(self, shard: Shard) -> ShardStores:
        """Return stores for a shard that may not be in the directory yet."""
        return ShardStores.of(shard.name, self._clients.database(shard.hot_uri), self._clients.database(shard.cold_uri))

    def _key_of(self, tenant: Tenant) -> bytes:
        known = self._opened.get(tenant.id)
        if known is None or known[0] != tenant.content_key:
            known = self._opened[tenant.id] = (tenant.content_key, self._open_key(tenant))
        return known[1]

    def _read_shards(self) -> None:
        found = self._directory.shards.list_all()
        with self._lock:
            fresh = {}
            for shard in found:
                known = self._shards.get(shard.name)
                same = known is not None and (known[0].hot_uri, known[0].cold_uri) == (shard.hot_uri, shard.cold_uri)
                fresh[shard.name] = (shard, known[1] if known is not None and same else self.open_stores(shard))
            self._shards = fresh
            self._shards_read_at = self._clock()


def _pool(tenant: Tenant) -> Pool | None:
    quota_bytes = tenant.limits.quota_bytes
    return None if quota_bytes is None else Pool(quota_bytes, tenant.used_bytes, tenant.used_at)


_STRICTNESS = {State.ACTIVE: 0, State.SUSPENDED: 1, State.DISABLED: 2}


def stricter(one: State, other: State) -> State:
    """Return the state that allows less."""
    return max(one, other, key=_STRICTNESS.__getitem__)


def _stricter_hold(tenants: SendingHold | None, own: SendingHold | None) -> SendingHold | None:
    if tenants is None or (own is not None and own.stops and not tenants.stops):
        return own
    return tenants
