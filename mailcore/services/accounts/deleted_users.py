"""Deleted users: gone for everybody at once, restored whole until their time is over, then erased without a trace.

While a user can be restored its addresses are nobody else's and take no mail, unless they are given free: then they
come back only as far as nobody has them. A legal hold, a retention rule and mail
that is still to be sent make the erasure wait; nothing else does.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from bson import ObjectId

from mailcore import fault
from mailcore.errors import (
    Conflict,
    DeletedUserNotFound,
    ErasureBegun,
    MailError,
    NotPermitted,
    TenantNotFound,
    TooManyUsers,
    Unavailable,
    UserNotFound,
    ValueInvalid,
)
from mailcore.model.actor import Actor
from mailcore.model.address import canonical
from mailcore.model.ids import MailboxId, TenantId, UserId
from mailcore.model.limits import Limits
from mailcore.model.retention import RetentionPolicy
from mailcore.model.routing import Group
from mailcore.model.tenant import AddressRoute, Tenant
from mailcore.model.wildcard import is_wildcard
from mailcore.services.accounts.sessions import Sessions
from mailcore.services.addresses.addresses import Addresses
from mailcore.services.events.audit import Audit
from mailcore.services.keeping.retention import may_destroy
from mailcore.services.process.clock import now
from mailcore.services.process.offload import Offload
from mailcore.services.tenants.seats import Seats
from mailcore.store.directory import Directory
from mailcore.store.directory.deleted_users import DeletedUser, Stage
from mailcore.store.guard import Document
from mailcore.store.message.blob_refs import OwnerKind, RefOwner
from mailcore.store.message.collection import BlobCollector
from mailcore.store.message.skeleton import unpack_splices
from mailcore.store.placement import Placement
from mailcore.store.shard import ShardStores
from mailcore.store.user.erasure import RANGES, REFERRING

log = logging.getLogger(__name__)

LONGEST: Final = timedelta(days=3660)
GRACE: Final = timedelta(minutes=15)
"""Nothing is erased sooner: a delivery that was under way may still end in the mailbox."""
LOOK_AGAIN: Final = timedelta(hours=6)
"""What has to wait is looked at again after so long."""
DELETED: Final = "This login is gone"


@dataclass(frozen=True, slots=True)
class Deletion:
    """A user that was deleted just now."""

    user_id: UserId
    addresses: int
    """How many stay reserved."""
    erase_after: datetime


@dataclass(frozen=True, slots=True)
class Restored:
    """A user that is back."""

    addresses: int
    main: str
    lost: tuple[str, ...] = ()
    """Addresses that were given free, and cannot be the user's any more."""


class DeletedUsers:
    """Deletes, restores and erases users."""

    def __init__(
        self,
        directory: Directory,
        placement: Placement,
        addresses: Addresses,
        sessions: Sessions,
        audit: Audit,
        offload: Offload,
        limits: Limits,
    ) -> None:
        self._directory = directory
        self._placement = placement
        self._addresses = addresses
        self._sessions = sessions
        self._audit = audit
        self._offload = offload
        self._kept_for = timedelta(seconds=limits.deleted_user_kept_s)

    def delete(self, actor: Actor, user_id: UserId, erase_after: datetime | None = None) -> Deletion:
        """Delete a user: sessions end, mail is refused, nothing is destroyed before `erase_after`.

        Without one the platform's time to restore holds; one that is over has it erased as soon as may be.

        Raises:
            ValueInvalid: further away than ten years.
            NotPermitted: the user gets the tenant's journal.
            UserNotFound: there is no such user.
        """
        at = now()
        until = at + self._kept_for if erase_after is None else max(erase_after, at + GRACE)
        if until > at + LONGEST:
            raise ValueInvalid("a deleted user is erased within ten years")
        home = self._placement.home(user_id)
        if self._placement.tenant(home.tenant_id).journal == user_id:
            raise NotPermitted("this user gets the journal of the tenant: name another for it first")
        routes = self._directory.addresses.list_of_user(user_id)
        with self._audit.of_user(actor, "user.deleted", user_id, {"erase_after": until}):
            if not self._directory.deleted_users.put_away(user_id, at, until):
                raise UserNotFound(user_id)
            self._directory.addresses.set_reserved(user_id, reserved=True)
        self._placement.forget(user_id)
        self._sessions.user_changed(user_id, DELETED)
        return Deletion(user_id, len(routes), until)

    def get(self, user_id: UserId) -> DeletedUser:
        """Return a deleted user that can be restored, or is being erased.

        Raises:
            DeletedUserNotFound: there is none such.
        """
        found = self._directory.deleted_users.find(user_id)
        if found is None:
            raise DeletedUserNotFound(user_id)
        return found

    def list_of_tenant(self, tenant_id: TenantId, after: UserId | None = None) -> list[DeletedUser]:
        """Return a page of up to 200 of a tenant's deleted users by id, those after `after`."""
        return self._directory.deleted_users.list_of_tenant(tenant_id, after)

    def addresses_of(self, user_id: UserId) -> list[str]:
        """Return the addresses that a deleted user gets back, the main one first."""
        found = self.get(user_id)
        main = found.user.address
        kept = self._directory.addresses.list_of_user(user_id)
        free = [route for route in _missing(found, kept) if self._is_free(route)]
        shown = [route.display for route in (*kept, *free)]
        return sorted(shown, key=lambda address: address != main)

    def used_bytes(self, user_id: UserId) -> int:
        """Return the bytes of a deleted user's mail."""
        return self._placement.shard(self.get(user_id).user.shard).heads.user_bytes(user_id)

    def free_addresses(self, actor: Actor, user_id: UserId) -> list[str]:
        """Let anybody have a deleted user's addresses, which leave the tenant's groups; return them.

        The user can be restored yet, with those that are still free by then.

        Raises:
            DeletedUserNotFound: there is none such, or it is restored this moment.
            ErasureBegun: it is being erased, and they with it.
        """
        user = (found := self.get(user_id)).user
        if found.stage is Stage.ERASING:
            raise ErasureBegun(user_id)
        routes = self._directory.addresses.list_reserved(user_id)
        wanted = {"addresses": [route.display for route in routes]}
        with self._audit.of_tenant(
            actor, "user.addresses_freed", user.tenant_id, wanted, new_user=user_id, shard=user.shard
        ):
            own = frozenset(route.canonical for route in routes)
            if not self._directory.deleted_users.free(user_id, routes, self._groups_of(user.tenant_id, own)):
                raise DeletedUserNotFound(user_id)
            fault.hit("user_free.after_note")
            self._leave_groups(user.tenant_id, own)
            self._directory.addresses.delete_reserved(user_id)
        return wanted["addresses"]

    def restore(self, actor: Actor, user_id: UserId) -> Restored:
        """Make a deleted user as it was, but for sessions, tokens and addresses that somebody else has meanwhile.

        Where the main one is among them another becomes it.

        Raises:
            Conflict: none of its addresses is free.
            DeletedUserNotFound: there is none such.
            ErasureBegun: it is too late.
            TooManyUsers: the tenant's plan has no room for it.
        """
        found = self.get(user_id)
        user = found.user
        tenant = self._directory.tenants.find(user.tenant_id)
        seats = Seats(self._directory)
        if tenant is not None:
            seats.check(tenant)
        if found.stage is Stage.ERASING:
            raise ErasureBegun(user_id)
        with self._audit.of_tenant(actor, "user.restored", user.tenant_id, new_user=user_id, shard=user.shard):
            claimed = self._directory.deleted_users.claim_restore(user_id)
            if claimed is None:
                raise ErasureBegun(user_id)
            restored = self._take_addresses_back(claimed)
            if not self._directory.deleted_users.put_back(user_id, restored.main):
                raise ErasureBegun(user_id)
            if tenant is not None:
                self._take_seat(seats, tenant, found)
        self._placement.forget(user_id)
        self._sessions.user_changed(user_id)
        return restored

    def _take_addresses_back(self, found: DeletedUser) -> Restored:
        """Give a user its addresses again, and these their places in groups.

        Raises:
            Conflict: it would have no main address.
        """
        user, addresses = found.user, self._directory.addresses
        addresses.set_reserved(user.id, reserved=False)  # from here on nobody takes away what is there
        for route in _missing(found, addresses.list_of_user(user.id)):
            if self._is_free(route):
                addresses.insert(route)
        own = addresses.list_of_user(user.id)
        mains = [route.display for route in own if not is_wildcard(route.display)]
        if not mains:
            addresses.set_reserved(user.id, reserved=True)
            self._directory.deleted_users.give_up_restore(user.id)
            raise Conflict("none of the user's addresses is free: take one from who has it, then restore the user")
        there = {route.canonical for route in own}
        for group_id, member in found.left_groups:
            group = addresses.find_id(group_id)
            if isinstance(group, Group) and group.tenant_id == user.tenant_id and canonical(member) in there:
                addresses.replace(replace(group, members=tuple(dict.fromkeys((*group.members, member)))))
        main = user.address if user.address in mains else mains[0]
        return Restored(len(own), main, tuple(route.display for route in _missing(found, own)))

    def _is_free(self, route: AddressRoute) -> bool:
        try:
            if not is_wildcard(route.display):
                self._addresses.check_free(route.tenant_id, route.display)
                return True
            self._addresses.check_wildcard(route.tenant_id, route.display)
        except Unavailable:
            raise
        except MailError:
            return False
        return self._directory.addresses.find_entry(route.canonical) is None

    def _take_seat(self, seats: Seats, tenant: Tenant, found: DeletedUser) -> None:
        """Keep the seat of a user that was put back, or put it away as it was.

        Raises:
            TooManyUsers: others were faster.
        """
        try:
            seats.take(tenant, found.user.id)
        except TooManyUsers:
            self._directory.deleted_users.put_away(found.user.id, found.deleted_at, found.erase_after)
            self._directory.addresses.set_reserved(found.user.id, reserved=True)
            self._placement.forget(found.user.id)
            raise

    def set_hold(self, actor: Actor, user_id: UserId, *, held: bool) -> None:
        """Hold what a deleted user has, or release it.

        Raises:
            DeletedUserNotFound: there is none such.
        """
        user = self.get(user_id).user
        wanted = {"legal_hold": held}
        with self._audit.of_tenant(actor, "hold.user", user.tenant_id, wanted, new_user=user_id, shard=user.shard):
            if not self._directory.deleted_users.set_legal_hold(user_id, held=held):
                raise DeletedUserNotFound(user_id)

    # -- erasure ------------------------------------------------------------------------------

    def list_due(self) -> list[UserId]:
        """Return a page of the users whose time is over, the longest first."""
        return self._directory.deleted_users.list_due(now())

    def erase(self, actor: Actor, user_id: UserId) -> bool:
        """Destroy everything of a deleted user whose time is over; return whether it is done.

        Whoever is killed in the middle leaves the rest to the next call. False: it has to wait, or was restored.

        Raises:
            StoreUnavailable: the next call goes on.
        """
        deleted = self._directory.deleted_users
        found = deleted.find(user_id)
        if found is None:
            deleted.forget(user_id)  # a deletion or restore that was cut off: the user is there
            return False
        user, at = found.user, now()
        shard = self._placement.shard(user.shard)
        if found.stage is not Stage.ERASING and (
            not self._may_erase(found, at) or shard.erasure.waits_to_be_sent(user_id)
        ):
            deleted.postpone(user_id, max(at, found.erase_after) + LOOK_AGAIN)
            return False
        if not deleted.claim_erasure(user_id, at):
            return False
        with self._audit.of_tenant(actor, "user.erased", user.tenant_id, new_user=user_id, shard=user.shard) as change:
            counts = self._erase_mail(shard, user.tenant_id, user_id)
            fault.hit("user_erase.after_mail")
            self._erase_from_directory(user.tenant_id, user_id, [route.id for route in found.freed])
            deleted.forget(user_id)
            change.after["documents"] = sum(counts.values())
        log.info("user.erased", extra={"user": str(user_id), "documents": sum(counts.values())})
        return True

    def _may_erase(self, found: DeletedUser, at: datetime) -> bool:
        """Whether no hold and no rule keeps any of a user's mail, the youngest of which came before the deletion."""
        tenant = self._directory.tenants.find(found.user.tenant_id)
        if tenant is None:
            raise TenantNotFound(found.user.tenant_id)
        policy = RetentionPolicy.of(tenant.retention, found.user.retention)
        policy = replace(policy, purge_after=found.erase_after - found.deleted_at)
        mailboxes = [*policy.mailbox_keep_for, MailboxId(found.user.id)]
        return all(may_destroy(policy, one, found.deleted_at, found.deleted_at, at) for one in mailboxes)

    def _erase_mail(self, shard: ShardStores, tenant_id: TenantId, user_id: UserId) -> dict[str, int]:
        """Remove one range a collection; what refers to attachments gives them up first."""
        collector = shard.collector()
        counts: dict[str, int] = {}
        for name, kind in REFERRING.items():
            for page in shard.erasure.pages(name, user_id):
                self._release(shard, collector, tenant_id, kind, page)
                counts[name] = counts.get(name, 0) + len(page)
                fault.hit("user_erase.after_page")
                self._offload.pause()
        counts["export_pieces"] = shard.export_pieces.delete_all(user_id)
        for name in RANGES:
            counts[name] = counts.get(name, 0) + shard.erasure.delete(name, user_id)
            self._offload.pause()
        return counts

    def _release(
        self, shard: ShardStores, collector: BlobCollector, tenant_id: TenantId, kind: OwnerKind, page: list[Document]
    ) -> None:
        references: list[bytes] = []
        addresses: set[bytes] = set()
        for document in page:
            if not document.get("splices"):
                continue
            owner = RefOwner(kind, document["_id"], document["attempt"])
            held = {splice.address for splice in unpack_splices(document["splices"])}
            references += [owner.key(tenant_id, address) for address in held]
            addresses |= held
        if references:
            shard.blob_refs.delete(references)
            collector.collect(tenant_id, addresses)

    def _groups_of(self, tenant_id: TenantId, addresses: frozenset[str]) -> list[tuple[ObjectId, str]]:
        """Return which groups of the tenant have such addresses as members, and as what."""
        found: list[tuple[ObjectId, str]] = []
        after: ObjectId | None = None
        while page := self._directory.addresses.list_groups(tenant_id, after):
            for group in page:
                found += [(group.id, member) for member in group.members if canonical(member) in addresses]
            after = page[-1].id
        return found

    def _leave_groups(self, tenant_id: TenantId, addresses: frozenset[str]) -> None:
        """Take addresses out of the tenant's groups: who gets such an address later is somebody else."""
        after: ObjectId | None = None
        while page := self._directory.addresses.list_groups(tenant_id, after):
            for group in page:
                members = tuple(member for member in group.members if canonical(member) not in addresses)
                if members != group.members:
                    self._directory.addresses.replace(replace(group, members=members))
            after = page[-1].id

    def _erase_from_directory(self, tenant_id: TenantId, user_id: UserId, freed: list[ObjectId]) -> None:
        directory = self._directory
        routes = directory.addresses.list_of_user(user_id)
        self._leave_groups(tenant_id, frozenset(route.canonical for route in routes))
        directory.send_as.delete_of_user(tenant_id, user_id, [*freed, *(route.id for route in routes)])
        directory.api_tokens.delete_of_user(user_id)
        directory.nonces.delete_of_user(user_id)
        directory.mail_exports.delete_of_user(user_id)
        directory.addresses.delete_of_user(user_id)


def _missing(found: DeletedUser, there: list[AddressRoute]) -> list[AddressRoute]:
    """Return what was given free of a user's addresses and is not among these, each once."""
    own = {route.canonical for route in there}
    return list({route.canonical: route for route in found.freed if route.canonical not in own}.values())
