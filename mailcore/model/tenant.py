"""Tenants, domains, users and shards as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from bson import ObjectId

from mailcore.model.access import Protocol
from mailcore.model.address_data import NO_DATA, AddressData
from mailcore.model.encryption import NO_ENCRYPTION, Encryption
from mailcore.model.factors import Factor
from mailcore.model.features import BY_DEFAULT, Feature
from mailcore.model.ids import TenantId, UserId
from mailcore.model.limits import SendingLimits, limits_of_age
from mailcore.model.mta_sts import StsMode
from mailcore.model.onward_target import NO_TARGETS, OnwardTargets
from mailcore.model.reputation import SendingHold
from mailcore.model.retention import RetentionRule
from mailcore.model.sending import ForeignSender
from mailcore.model.user_settings import DEFAULTS, UserSettings


class State(StrEnum):
    """Whether a tenant or user may sign in and receive mail."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    """Mail is taken in, nobody signs in."""
    DISABLED = "disabled"
    """Mail is refused, nobody signs in."""


class Standing(StrEnum):
    """What a tenant's users may do with their mail; it is taken in whatever the standing."""

    FULL = "full"
    NO_SENDING = "no_sending"
    """All but sending."""
    READ_ONLY = "read_only"
    """Reading alone."""
    CLOSED = "closed"
    """Nobody signs in."""


class ManagedBy(StrEnum):
    """Who is master of a tenant's existence and plan."""

    OPERATOR = "operator"
    PORTAL = "portal"


@dataclass(frozen=True, slots=True)
class Shard:
    """A hot set and a cold set that hold the mail of users of one region."""

    name: str
    region: str
    hot_uri: str
    cold_uri: str
    is_open: bool
    """New users may be placed here."""


@dataclass(frozen=True, slots=True)
class TenantLimits:
    """Limits of one tenant; None is without limit."""

    users: int | None = None
    quota_bytes: int | None = None
    user_limits: Mapping[str, int] = field(default_factory=dict)
    """Numbers of `UserLimits` that hold for each of its users."""
    sending: Mapping[str, int] = field(default_factory=dict)
    """Numbers of `SendingLimits` that hold for the tenant."""


@dataclass(frozen=True, slots=True)
class StoredSmarthost:
    """The server through which a tenant or user sends; its password is sealed."""

    host: str
    port: int
    is_tls: bool
    username: str
    sealed_password: bytes | None


@dataclass(frozen=True, slots=True)
class Tenant:
    """An organisation whose mail is kept apart from all others'."""

    id: TenantId
    name: str
    region: str
    home_shard: str
    state: State
    managed_by: ManagedBy
    content_key: bytes
    """Sealed; opened, it addresses the tenant's attachments."""
    created_at: datetime
    limits: TenantLimits = field(default_factory=TenantLimits)
    cold_after: timedelta = timedelta(0)
    """How long attachments lie on the hot set before they go to the cold one."""
    retention: RetentionRule = field(default_factory=RetentionRule)
    disabled_protocols: frozenset[Protocol] = frozenset()
    """Switched off for all of its users."""
    smarthost: StoredSmarthost | None = None
    postmaster: UserId | None = None
    """Gets mail for postmaster and abuse where nobody has these addresses; None: the oldest active user."""
    foreign_sender: ForeignSender = ForeignSender.REFUSE
    """What becomes of mail that names a sender which is not the user's."""
    filters_version: int = 0
    """Changes with the rules for all of its users; 0: there are none."""
    domain_access_version: int = 0
    """Changes with its lists of senders' domains; 0: there are none."""
    journal: UserId | None = None
    """The user that gets a copy of all mail that comes in and goes out; None: nobody does."""
    standing: Standing = Standing.FULL
    """What its users may do; whoever bills it says so."""
    user_turn: int = 0
    """How many users were ever added while their number had a limit."""
    used_bytes: int = 0
    """What the mail of all its users took when it was last summed up."""
    used_at: datetime | None = None
    """When that was."""
    pays: bool | None = None
    """None: nobody has told, or nobody pays here."""
    sending_hold: SendingHold | None = None
    """All of its outgoing mail waits."""
    features: Mapping[Feature, bool] = field(default_factory=dict)
    """Where staff said otherwise than `BY_DEFAULT`."""

    def has(self, feature: Feature) -> bool:
        """Tell whether it may use a feature."""
        return self.features.get(feature, BY_DEFAULT[feature])

    def sending_limits(self, platform: SendingLimits, at: datetime) -> SendingLimits:
        """Return what holds for sending: what was set for it, else what its age allows if it came by itself."""
        if self.managed_by is ManagedBy.PORTAL:
            platform = limits_of_age(platform, (at - self.created_at).total_seconds(), self.pays)
        return replace(platform, **self.limits.sending) if self.limits.sending else platform

    @property
    def admits(self) -> State:
        """Its state for those who want to sign in."""
        is_closed = self.standing is Standing.CLOSED and self.state is State.ACTIVE
        return State.SUSPENDED if is_closed else self.state


@dataclass(frozen=True, slots=True)
class Domain:
    """A mail domain of one tenant; `name` is the A-label form."""

    id: ObjectId
    tenant_id: TenantId
    name: str
    verified_at: datetime | None
    created_at: datetime
    alias_of: str | None = None
    """Another domain of the tenant, A-labels, whose addresses are found under this name too."""
    mx_checked_at: datetime | None = None
    """When its MX records were last seen, whatever they said."""
    mx_points_here: bool = False
    """They named us and nobody better."""
    dkim_selectors: tuple[str, ...] = ()
    """Selectors that take turns, for their names lead into a zone of ours; empty: each key has one of its own."""
    sts_mode: StsMode | None = None
    """Of the MTA-STS policy that is served for it; None: none is."""

    @property
    def delivers_here(self) -> bool:
        """Whether mail for it may go to its mailboxes without asking DNS: proven to be the tenant's, MX seen here."""
        return self.verified_at is not None and self.mx_points_here


@dataclass(frozen=True, slots=True)
class AddressRoute:
    """Which user an address, or a wildcard, reaches."""

    id: ObjectId
    tenant_id: TenantId
    user_id: UserId
    display: str
    canonical: str
    created_at: datetime
    name: str = ""
    """Whom mail from this address is shown as from; "" is the user's own name."""
    data: AddressData = NO_DATA


@dataclass(frozen=True, slots=True)
class User:
    """A login that owns mailboxes; everything but its password."""

    id: UserId
    tenant_id: TenantId
    address: str
    """Main address, as shown."""
    name: str
    state: State
    shard: str
    placement_epoch: int
    auth_version: int
    quota_bytes: int | None
    created_at: datetime
    over_quota_since: datetime | None = None
    """When mail was first refused for want of room, until some fits again."""
    retention: RetentionRule = field(default_factory=RetentionRule)
    own_limits: Mapping[str, int] = field(default_factory=dict)
    """Numbers of `UserLimits` that hold for this user."""
    enabled_2fa: tuple[Factor, ...] = ()
    """Kinds of second factor that are on; with any, mail protocols take no master password."""
    disabled_protocols: frozenset[Protocol] = frozenset()
    password_change_needed: bool = False
    """Somebody else chose the password; it opens no mail protocol until its owner has chosen another."""
    settings: UserSettings = DEFAULTS
    autoreply_version: int = 0
    """Rises with each change of the automatic reply; 0 while that is off."""
    encryption: Encryption = NO_ENCRYPTION
    filters_version: int = 0
    """Changes with the user's rules and scripts; 0: none has a say."""
    is_shared: bool = False
    """A mailbox of several: nobody signs in to it, its delegates read and send for it."""
    smarthost: StoredSmarthost | None = None
    sending_hold: SendingHold | None = None
    """Of this user alone."""
    onward: OnwardTargets = NO_TARGETS
