"""Tenants: organisations whose mail is kept apart."""

from __future__ import annotations

import secrets
import unicodedata
from collections.abc import Mapping
from datetime import timedelta

from bson import ObjectId

from mailcore.errors import RegionForbids, ShardNotFound, TenantExists, TenantNotFound, UserNotFound, ValueInvalid
from mailcore.model.access import CAN_BE_DISABLED, Protocol
from mailcore.model.actor import Actor
from mailcore.model.event import Details
from mailcore.model.features import Feature
from mailcore.model.ids import TenantId, UserId
from mailcore.model.limits import SENDING_LIMITS
from mailcore.model.sending import ForeignSender
from mailcore.model.tenant import ManagedBy, Shard, Standing, State, Tenant, TenantLimits
from mailcore.services.accounts.sessions import Sessions
from mailcore.services.accounts.usage import check_limit
from mailcore.services.events.audit import Audit
from mailcore.services.process.clock import now
from mailcore.services.tenants.shards import region_name
from mailcore.services.trust.sealing import Sealing
from mailcore.store.directory import Directory
from mailcore.store.placement import Placement

MAX_NAME_CHARACTERS = 200
CONTENT_KEY_BYTES = 32
_TURNS = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})
"""Classes of characters that turn the direction of what follows (UAX 9, section 2)."""


def content_key_purpose(tenant_id: TenantId) -> str:
    """Return what a tenant's content key is sealed for."""
    return f"tenant.content_key:{tenant_id}"


def clean_name(text: str) -> str:
    """Return a name of people or organisations in NFC with single spaces.

    Raises:
        ValueInvalid: empty, too long, or with control characters, such as those that turn the direction of text.
    """
    name = " ".join(unicodedata.normalize("NFC", text).split())
    if not name or len(name) > MAX_NAME_CHARACTERS:
        raise ValueInvalid(f"a name has 1 to {MAX_NAME_CHARACTERS} characters")
    if any(unicodedata.category(one) in {"Cc", "Cs", "Cn"} or unicodedata.bidirectional(one) in _TURNS for one in name):
        raise ValueInvalid("a name has no control characters")
    return name


def check_protocols(protocols: frozenset[Protocol]) -> list[str]:
    """Return the names of protocols that are to be switched off.

    Raises:
        ValueInvalid: one of them cannot be.
    """
    if not protocols <= CAN_BE_DISABLED:
        raise ValueInvalid("only " + ", ".join(sorted(CAN_BE_DISABLED)) + " can be switched off")
    return sorted(protocols)


class Tenants:
    """Creates, finds and changes tenants."""

    def __init__(
        self, directory: Directory, placement: Placement, sealing: Sealing, audit: Audit, sessions: Sessions
    ) -> None:
        self._sessions = sessions
        self._directory = directory
        self._placement = placement
        self._sealing = sealing
        self._audit = audit

    def create(
        self,
        actor: Actor,
        name: str,
        region: str,
        home_shard: str | None = None,
        *,
        managed_by: ManagedBy = ManagedBy.OPERATOR,
        limits: TenantLimits | None = None,
        tenant_id: TenantId | None = None,
    ) -> TenantId:
        """Create a tenant in a region; its users go to `home_shard`, by default the emptiest open one there.

        With a `tenant_id` chosen before the first try, the same call again changes nothing.

        Raises:
            TenantExists: the name is taken.
            ShardNotFound: no such shard, or none open in the region.
            RegionForbids: that shard is in another region.
            ValueInvalid: name or region is malformed.
        """
        name, region = clean_name(name), region_name(region)
        shard = self._home_shard(region, home_shard)
        if tenant_id is not None and self._directory.tenants.find(tenant_id) is not None:
            return tenant_id
        tenant_id = tenant_id or TenantId(ObjectId())
        tenant = Tenant(
            id=tenant_id,
            name=name,
            region=region,
            home_shard=shard.name,
            state=State.ACTIVE,
            managed_by=managed_by,
            content_key=self._sealing.seal(content_key_purpose(tenant_id), secrets.token_bytes(CONTENT_KEY_BYTES)),
            created_at=now(),
            limits=limits or TenantLimits(),
        )
        wanted: Details = {"name": name, "region": region, "home_shard": shard.name}
        with self._audit.of_tenant(actor, "tenant.created", tenant_id, wanted, shard=shard.name):
            if not self._directory.tenants.insert(tenant) and self._directory.tenants.find(tenant_id) is None:
                raise TenantExists(f"a tenant named {name} exists")
        return tenant_id

    def get(self, tenant_id: TenantId) -> Tenant:
        """Return a tenant.

        Raises:
            TenantNotFound: there is none.
        """
        tenant = self._directory.tenants.find(tenant_id)
        if tenant is None:
            raise TenantNotFound(tenant_id)
        return tenant

    def find(self, tenant_id: TenantId) -> Tenant | None:
        """Return a tenant, or None."""
        return self._directory.tenants.find(tenant_id)

    def get_by_name(self, name: str) -> Tenant:
        """Return the tenant of that name; case does not matter.

        Raises:
            TenantNotFound: there is none.
        """
        tenant = self._directory.tenants.find_by_name(" ".join(unicodedata.normalize("NFC", name).split()))
        if tenant is None:
            raise TenantNotFound(f"there is no tenant named {name}")
        return tenant

    def list_all(self, after: TenantId | None = None) -> list[Tenant]:
        """Return a page of up to 1000 tenants by id, those after `after`."""
        return self._directory.tenants.list_all(after)

    def set_state(self, actor: Actor, tenant_id: TenantId, state: State) -> None:
        """Suspend, disable or revive a tenant; sessions of its users end everywhere within seconds.

        Raises:
            TenantNotFound: there is none.
        """
        with self._audit.of_tenant(actor, "tenant.state", tenant_id, {"state": state.value}) as change:
            change.before["state"] = self._placement.tenant(tenant_id).state.value
            if not self._directory.tenants.set_state(tenant_id, state):
                raise TenantNotFound(tenant_id)
        self._placement.forget_tenant(tenant_id)
        self._sessions.tenant_changed(tenant_id)

    def set_standing(self, actor: Actor, tenant_id: TenantId, standing: Standing) -> None:
        """Say what a tenant's users may do with their mail; sessions end within seconds where it is closed.

        Raises:
            TenantNotFound: there is none.
        """
        with self._audit.of_tenant(actor, "tenant.standing", tenant_id, {"standing": standing.value}) as change:
            change.before["standing"] = self._placement.tenant(tenant_id).standing.value
            if not self._directory.tenants.set_standing(tenant_id, standing):
                raise TenantNotFound(tenant_id)
        self._placement.forget_tenant(tenant_id)
        self._sessions.tenant_changed(tenant_id)

    def set_pays(self, actor: Actor, tenant_id: TenantId, *, pays: bool) -> None:
        """Note whether a tenant pays: who does may send more while it is young.

        Raises:
            TenantNotFound: there is none.
        """
        with self._audit.of_tenant(actor, "tenant.pays", tenant_id, {"pays": pays}) as change:
            change.before["pays"] = self._placement.tenant(tenant_id).pays
            if not self._directory.tenants.set_pays(tenant_id, pays=pays):
                raise TenantNotFound(tenant_id)
        self._placement.forget_tenant(tenant_id)

    def set_postmaster(self, actor: Actor, tenant_id: TenantId, user_id: UserId | None) -> None:
        """Say which of its users gets mail for postmaster and abuse of its domains; None: the oldest.

        Raises:
            TenantNotFound: there is no such tenant.
            UserNotFound: the tenant has no such user.
        """
        if user_id is not None:
            user = self._directory.users.find(user_id)
            if user is None or user.tenant_id != tenant_id:
                raise UserNotFound(user_id)
        with self._audit.of_tenant(actor, "tenant.postmaster", tenant_id, {"user": str(user_id or "")}) as change:
            change.before["user"] = str(self._placement.tenant(tenant_id).postmaster or "")
            if not self._directory.tenants.set_postmaster(tenant_id, user_id):
                raise TenantNotFound(tenant_id)
        self._placement.forget_tenant(tenant_id)

    def set_disabled_protocols(self, actor: Actor, tenant_id: TenantId, protocols: frozenset[Protocol]) -> None:
        """Switch these protocols off for all users of a tenant, and all others on.

        Raises:
            TenantNotFound: there is none.
            ValueInvalid: a protocol that cannot be switched off.
        """
        names = check_protocols(protocols)
        with self._audit.of_tenant(actor, "tenant.protocols", tenant_id, {"disabled": names}) as change:
            change.before["disabled"] = sorted(self._placement.tenant(tenant_id).disabled_protocols)
            if not self._directory.tenants.set_disabled_protocols(tenant_id, protocols):
                raise TenantNotFound(tenant_id)
        self._placement.forget_tenant(tenant_id)
        self._sessions.tenant_changed(tenant_id)

    def set_cold_after(self, actor: Actor, tenant_id: TenantId, cold_after: timedelta) -> None:
        """Change how long new attachments lie on the hot set before they go to the cold one.

        Those that are there follow with `Retention.redate`.

        Raises:
            TenantNotFound: there is none.
        """
        seconds = cold_after.total_seconds()
        with self._audit.of_tenant(actor, "tenant.cold_after", tenant_id, {"seconds": seconds}) as change:
            change.before["seconds"] = self._placement.tenant(tenant_id).cold_after.total_seconds()
            if not self._directory.tenants.set_cold_after(tenant_id, cold_after):
                raise TenantNotFound(tenant_id)
        self._placement.forget_tenant(tenant_id)

    def set_features(self, actor: Actor, tenant_id: TenantId, features: Mapping[Feature, bool]) -> None:
        """Say which features a tenant has otherwise than usual; all others are as usual. Known everywhere in 30 s.

        Raises:
            TenantNotFound: there is none.
        """
        told = {feature.value: is_on for feature, is_on in sorted(features.items())}
        with self._audit.of_tenant(actor, "tenant.features", tenant_id, {"features": told}) as change:
            before = self._placement.tenant(tenant_id).features
            change.before["features"] = {feature.value: is_on for feature, is_on in sorted(before.items())}
            if not self._directory.tenants.set_features(tenant_id, features):
                raise TenantNotFound(tenant_id)
        self._placement.forget_tenant(tenant_id)

    def set_foreign_sender(self, actor: Actor, tenant_id: TenantId, value: ForeignSender) -> None:
        """Say whether mail that names a sender which is not the user's is refused or rewritten.

        Raises:
            TenantNotFound: there is none.
        """
        with self._audit.of_tenant(actor, "tenant.foreign_sender", tenant_id, {"value": value.value}) as change:
            change.before["value"] = self._placement.tenant(tenant_id).foreign_sender.value
            if not self._directory.tenants.set_foreign_sender(tenant_id, value):
                raise TenantNotFound(tenant_id)
        self._placement.forget_tenant(tenant_id)

    def set_user_limit(self, actor: Actor, tenant_id: TenantId, name: str, value: int | None) -> None:
        """Change one of `USER_LIMITS` for each user of a tenant; 0 is without limit, None as the platform has it.

        Raises:
            ValueInvalid: no such limit.
            TenantNotFound: there is none.
        """
        check_limit(name, value)
        with self._audit.of_tenant(actor, "tenant.user_limit", tenant_id, {"limit": name, "value": value}) as change:
            change.before["value"] = self._placement.tenant(tenant_id).limits.user_limits.get(name)
            if not self._directory.tenants.set_limit(tenant_id, name, value):
                raise TenantNotFound(tenant_id)
        self._placement.forget_tenant(tenant_id)

    def set_sending_limit(self, actor: Actor, tenant_id: TenantId, name: str, value: int | None, why: str = "") -> None:
        """Change one of `SENDING_LIMITS` of a tenant, whatever its age; 0 is without limit, None as its age has it.

        Raises:
            ValueInvalid: no such limit.
            TenantNotFound: there is none.
        """
        check_limit(name, value, SENDING_LIMITS)
        details: Details = {"limit": name, "value": value} | ({"why": why} if why else {})
        with self._audit.of_tenant(actor, "tenant.sending_limit", tenant_id, details) as change:
            change.before["value"] = self._placement.tenant(tenant_id).limits.sending.get(name)
            if not self._directory.tenants.set_limit(tenant_id, name, value):
                raise TenantNotFound(tenant_id)
        self._placement.forget_tenant(tenant_id)

    def _home_shard(self, region: str, name: str | None) -> Shard:
        shards = self._directory.shards.list_all()
        if name is not None:
            for shard in shards:
                if shard.name == name:
                    if shard.region != region:
                        raise RegionForbids(f"shard {name} is in region {shard.region}, not {region}")
                    return shard
            raise ShardNotFound(f"there is no shard named {name}")
        candidates = [shard for shard in shards if shard.region == region and shard.is_open]
        if not candidates:
            raise ShardNotFound(f"no shard in region {region} is open: add one (eider shard add)")
        return min(candidates, key=lambda shard: self._directory.tenants.count_on_shard(shard.name))
