"""Users: logins that own mailboxes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from bson import ObjectId

from mailcore.errors import (
    AddressTaken,
    MailError,
    PasswordReused,
    RegionForbids,
    ShardNotFound,
    TenantNotFound,
    Unavailable,
    UserNotFound,
    ValueInvalid,
)
from mailcore.model.access import Protocol
from mailcore.model.actor import Actor
from mailcore.model.address_data import NO_DATA, AddressData
from mailcore.model.event import Details
from mailcore.model.ids import TenantId, UserId
from mailcore.model.secret import Secret
from mailcore.model.tenant import State, Tenant, User
from mailcore.model.user_filter import UserFilter
from mailcore.model.user_settings import SETTINGS, UserSettings
from mailcore.services.accounts.passwords import Passwords
from mailcore.services.accounts.sessions import SIGN_IN_AGAIN, Sessions
from mailcore.services.accounts.usage import check_limit
from mailcore.services.addresses.addresses import Addresses
from mailcore.services.addresses.forward_cycles import ForwardCycles
from mailcore.services.addresses.onward_targets import ConfirmedTargets, is_own_choice
from mailcore.services.events.audit import Audit
from mailcore.services.mailboxes.mailboxes import Mailboxes
from mailcore.services.process.clock import now
from mailcore.services.tenants.seats import Seats
from mailcore.services.tenants.tenants import check_protocols, clean_name
from mailcore.store.directory import Directory
from mailcore.store.placement import Placement

MAX_REASON_CHARACTERS = 128
UNTOLD: Final = frozenset({"meta_data", "internal_data"})
"""Settings whose content does not go into the audit trail, only that they changed."""
MARKED: Final = (frozenset({"targets", "targets_ask"}), frozenset({"mta_relay", "relay_is_own"}))
"""Stored together, so that of two changes at once none has the other's mark."""


class Users:
    """Creates, finds and changes users."""

    def __init__(
        self,
        directory: Directory,
        placement: Placement,
        addresses: Addresses,
        passwords: Passwords,
        mailboxes: Mailboxes,
        audit: Audit,
        sessions: Sessions,
        cycles: ForwardCycles,
        targets: ConfirmedTargets,
    ) -> None:
        self._targets = targets
        self._sessions = sessions
        self._cycles = cycles
        self._directory = directory
        self._placement = placement
        self._addresses = addresses
        self._passwords = passwords
        self._mailboxes = mailboxes
        self._audit = audit
        self._seats = Seats(directory)

    def create(
        self,
        actor: Actor,
        address: str,
        password: Secret | None,
        name: str,
        tenant_id: TenantId,
        quota_bytes: int | None = None,
        *,
        user_id: UserId | None = None,
        address_data: AddressData = NO_DATA,
        furnish: Callable[[UserId], object] | None = None,
    ) -> UserId:
        """Create a user on the tenant's home shard, with its mailboxes; the address, claimed last, is the commit.

        Without a password the user cannot sign in yet; the name, a person's, may be empty. `user_id`, chosen by the
        caller before the first try, lets who must try again see what became of it. `furnish` sets all else before the
        address is claimed; what it refuses is no user.

        Raises:
            TenantNotFound: there is no such tenant.
            AddressInvalid, DomainNotFound, NotPermitted, AddressTaken: as `Addresses.check_free`.
            PasswordUnsuitable: too short or too long.
            TooManyUsers: the tenant's plan has no room for another.
            RegionForbids: the tenant's home shard is not in its region.
        """
        tenant = self._directory.tenants.find(tenant_id)
        if tenant is None:
            raise TenantNotFound(tenant_id)
        if quota_bytes is not None and quota_bytes <= 0:
            raise ValueInvalid("a quota is a positive number of bytes")
        parsed = self._addresses.check_free(tenant_id, address)
        self._seats.check(tenant)
        user = User(
            id=user_id or UserId(ObjectId()),
            tenant_id=tenant_id,
            address=parsed.display,
            name=clean_name(name) if name else "",
            state=State.ACTIVE,
            shard=self._shard(tenant),
            placement_epoch=1,
            auth_version=1,
            quota_bytes=quota_bytes,
            created_at=now(),
        )
        password_hash = self._passwords.hash_new(password) if password is not None else None
        wanted: Details = {"address": user.address, "name": user.name, "quota_bytes": quota_bytes}
        with self._audit.of_tenant(actor, "user.created", tenant_id, wanted, new_user=user.id, shard=user.shard):
            self._directory.users.insert(user, password_hash)
            try:
                self._seats.take(tenant, user.id)
                self._mailboxes.create_defaults(user.id, actor)
                if furnish is not None:
                    furnish(user.id)
            except MailError:
                self._take_back(user.id)
                raise
            try:
                self._addresses.claim(tenant_id, user.id, parsed, address_data)
            except AddressTaken:
                self._take_back(user.id)
                raise
            with suppress(Unavailable):  # else the user is found by `addresses` alone
                self._directory.user_changes.note_claim(user.id, claimed=True)
        return user.id

    def _take_back(self, user_id: UserId) -> None:
        """Remove a user that nothing reaches yet; one that the database keeps has no address."""
        self._placement.forget(user_id)
        with suppress(Unavailable):
            self._directory.users.delete(user_id)

    def get(self, user_id: UserId) -> User:
        """Return a user, read from the primary with majority.

        Raises:
            UserNotFound: there is none.
        """
        user = self._directory.users.find(user_id)
        if user is None:
            raise UserNotFound(user_id)
        return user

    def count_of_tenant(self, tenant_id: TenantId) -> int:
        """Return how many users a tenant has."""
        return self._directory.users.count_of_tenant(tenant_id)

    def list_of_tenant(self, tenant_id: TenantId, after: UserId | None = None) -> list[User]:
        """Return a page of up to 1000 of the tenant's users by id, those after `after`."""
        return self._directory.users.list_of_tenant(tenant_id, after)

    def search(
        self, wanted: UserFilter, *, after: UserId | None, before: UserId | None, limit: int
    ) -> tuple[list[User], int]:
        """Return users by id after one, or before one, the nearest first, and how many there are in all.

        Two round trips.
        """
        found = self._directory.user_search.find(wanted, after=after, before=before, limit=limit)
        return found, self._directory.user_search.count(wanted)

    def passwords_set(self, user_ids: Sequence[UserId]) -> set[UserId]:
        """Return which of these users have a password; one round trip."""
        return self._directory.user_search.passwords_set(user_ids) if user_ids else set()

    def require_password_change(self, actor: Actor, user_id: UserId) -> None:
        """Let the present password open nothing but the choice of another.

        Raises:
            UserNotFound: there is no such user.
        """
        with self._audit.of_user(actor, "user.password_change_needed", user_id):
            self._changed(user_id, self._directory.user_changes.require_password_change(user_id))
        self._sessions.user_changed(user_id)

    def set_password(
        self,
        actor: Actor,
        user_id: UserId,
        password: Secret,
        *,
        change_needed: bool = False,
        allow_leaked: bool = False,
    ) -> None:
        """Change the password; every session and cached login of the user ends.

        `change_needed`: its owner has to choose another before mail protocols take it.

        Raises:
            PasswordUnsuitable: too short or too long; PasswordLeaked, PasswordReused likewise.
            UserNotFound: there is no such user.
        """
        self._passwords.check_new(password)
        former = self._directory.users.former_hashes(user_id)
        if any(self._passwords.verify(encoded, password) for encoded in former):
            raise PasswordReused("this is the present password or one of the last")
        password_hash = self._passwords.hash_new(password, allow_leaked=allow_leaked)
        with self._audit.of_user(actor, "user.password", user_id, {"change_needed": change_needed}):
            changed = self._directory.user_changes.set_password(user_id, password_hash, change_needed=change_needed)
            self._changed(user_id, changed)
        self._sessions.user_changed(user_id, "The password was changed, sign in again")

    def check_password(self, password: Secret) -> None:
        """Make sure that a password may be used, as far as that can be known without its user; no round trip.

        Raises:
            PasswordUnsuitable: too short or too long.
        """
        self._passwords.check_new(password)

    def set_password_hash(self, actor: Actor, user_id: UserId, encoded: str) -> None:
        """Take over a password that another system hashed; every session and cached login of the user ends.

        The first login replaces the hash. The trail says whether it is a weak one.

        Raises:
            HashUnsuitable: of no known scheme, or too dear to verify.
            UserNotFound: there is no such user.
        """
        is_weak = self._passwords.check_hash(encoded)
        with self._audit.of_user(actor, "user.password", user_id, {"from_hash": True, "weak": is_weak}):
            self._changed(user_id, self._directory.user_changes.set_password(user_id, encoded))
        self._sessions.user_changed(user_id, "The password was changed, sign in again")

    def check_password_hash(self, encoded: str) -> None:
        """Look at a hash before there is a user to have it.

        Raises:
            HashUnsuitable: of no known scheme, or too dear to verify.
        """
        self._passwords.check_hash(encoded)

    def set_state(self, actor: Actor, user_id: UserId, state: State) -> None:
        """Suspend, disable or revive a user; every session and cached login of the user ends.

        Raises:
            UserNotFound: there is no such user.
        """
        with self._audit.of_user(actor, "user.state", user_id, {"state": state.value}) as change:
            change.before["state"] = self.get(user_id).state.value
            self._changed(user_id, self._directory.user_changes.set_state(user_id, state))
        self._sessions.user_changed(user_id)

    def log_out(self, actor: Actor, user_id: UserId, reason: str = SIGN_IN_AGAIN) -> None:
        """End every session of the user on every server; `reason`, one short line, is what they are told.

        Raises:
            ValueInvalid: the reason is empty, longer than 128 characters, or has control characters.
            UserNotFound: there is no such user.
        """
        if not 0 < len(reason) <= MAX_REASON_CHARACTERS or not reason.isprintable():
            raise ValueInvalid(f"a reason is one line of up to {MAX_REASON_CHARACTERS} characters")
        with self._audit.of_user(actor, "user.logout", user_id, {"reason": reason}):
            self._changed(user_id, self._directory.user_changes.end_sessions(user_id))
        self._sessions.user_changed(user_id, reason)

    def set_disabled_protocols(self, actor: Actor, user_id: UserId, protocols: frozenset[Protocol]) -> None:
        """Switch these protocols off for the user, and all others on; sessions of those switched off end.

        Raises:
            ValueInvalid: a protocol that cannot be switched off.
            UserNotFound: there is no such user.
        """
        with self._audit.of_user(actor, "user.protocols", user_id, {"disabled": check_protocols(protocols)}) as change:
            change.before["disabled"] = sorted(self.get(user_id).disabled_protocols)
            self._changed(user_id, self._directory.user_changes.set_disabled_protocols(user_id, protocols))
        self._sessions.user_changed(user_id)

    def set_quota(self, actor: Actor, user_id: UserId, quota_bytes: int | None) -> None:
        """Change the quota; None is without limit.

        Raises:
            UserNotFound: there is no such user.
        """
        if quota_bytes is not None and quota_bytes <= 0:
            raise ValueInvalid("a quota is a positive number of bytes")
        with self._audit.of_user(actor, "user.quota", user_id, {"quota_bytes": quota_bytes}) as change:
            change.before["quota_bytes"] = self.get(user_id).quota_bytes
            self._changed(user_id, self._directory.user_changes.set_quota(user_id, quota_bytes))

    def set_limit(self, actor: Actor, user_id: UserId, name: str, value: int | None) -> None:
        """Change one of `USER_LIMITS` for this user; 0 is without limit, None as the tenant has it.

        Raises:
            ValueInvalid: no such limit.
            UserNotFound: there is no such user.
        """
        check_limit(name, value)
        with self._audit.of_user(actor, "user.limit", user_id, {"limit": name, "value": value}) as change:
            change.before["value"] = self.get(user_id).own_limits.get(name)
            self._changed(user_id, self._directory.user_changes.set_limit(user_id, name, value))

    def set_name(self, actor: Actor, user_id: UserId, name: str) -> None:
        """Change a person's name; it may be empty.

        Raises:
            ValueInvalid: too long, or with control characters.
            UserNotFound: there is no such user.
        """
        cleaned = clean_name(name) if name else ""
        with self._audit.of_user(actor, "user.name", user_id, {"name": cleaned}) as change:
            change.before["name"] = self.get(user_id).name
            self._changed(user_id, self._directory.user_changes.set_name(user_id, cleaned))

    def set_settings(self, actor: Actor, user_id: UserId, changes: Mapping[str, Any]) -> None:
        """Change some of a user's settings, by their names in `UserSettings`; all or none.

        Raises:
            ValueInvalid: one is not right; the text says which.
            AddressCycle: what is forwarded would come back.
            UserNotFound: there is no such user.
        """
        user = self.get(user_id)
        before = user.settings
        after = _marked(actor, before, before.changed(changes), changes)
        names = {name for name in SETTINGS if getattr(before, name) != getattr(after, name)}
        for pair in MARKED:
            names |= pair if names & pair else set()
        if names:
            self._set_settings(actor, user, after, frozenset(names))
        if "targets" in changes and after.targets_ask and is_own_choice(actor):
            self._targets.ask(actor, user_id, after.targets)

    def _set_settings(self, actor: Actor, user: User, after: UserSettings, names: frozenset[str]) -> None:
        before, user_id = user.settings, user.id
        if "targets" in names:
            self._cycles.check(user_id, after.targets, user.address)
        wanted = {name: getattr(after, name) for name in names - UNTOLD} | dict.fromkeys(names & UNTOLD, "changed")
        with self._audit.of_user(actor, "user.settings", user_id, wanted) as change:
            change.before.update({name: getattr(before, name) for name in names - UNTOLD})
            if "targets" in names and after.targets_ask and not before.targets_ask:
                self._targets.go_on(user_id, before.targets, after.targets)
            self._changed(user_id, self._directory.user_changes.set_settings(user_id, after, names))
        self._sessions.user_changed(user_id)

    def _shard(self, tenant: Tenant) -> str:
        for shard in self._directory.shards.list_all():
            if shard.name == tenant.home_shard:
                if shard.region != tenant.region:
                    raise RegionForbids(f"shard {shard.name} is in region {shard.region}, not {tenant.region}")
                return shard.name
        raise ShardNotFound(f"there is no shard named {tenant.home_shard}")

    def _changed(self, user_id: UserId, user: User | None) -> None:
        if user is None:
            raise UserNotFound(user_id)
        self._placement.forget(user_id)


def _marked(actor: Actor, before: UserSettings, after: UserSettings, changes: Mapping[str, Any]) -> UserSettings:
    """Return settings that say of where mail goes whether the user chose it; what an admin sets it did not."""
    if is_own_choice(actor):
        return replace(
            after,
            targets_ask=before.targets_ask or after.targets != before.targets,
            relay_is_own=before.relay_is_own or after.mta_relay != before.mta_relay,
        )
    if "targets" in changes:
        after = replace(after, targets_ask=bool(changes.get("targets_ask")))
    return replace(after, relay_is_own=False) if "mta_relay" in changes else after
