"""Shared mailboxes: an address with mail of its own that several people read and send for, and nobody signs in to.

It is a user without any credential. Its delegates see its mailboxes as `Shared/<address>/...`, may do with them all but
say who else may, and may send as it. A user who leaves becomes one: its mail stays, its ways in are gone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from mailcore.errors import LimitExceeded, NotPermitted, SendAsExists, UserNotFound
from mailcore.model.actor import Actor
from mailcore.model.ids import MailboxName, TenantId, UserId
from mailcore.model.limits import DEFAULT_LIMITS
from mailcore.model.mailbox import MailboxTree
from mailcore.model.rights import ALL_RIGHTS, Right
from mailcore.model.tenant import User
from mailcore.services.accounts.sessions import Sessions
from mailcore.services.accounts.users import Users
from mailcore.services.events.audit import Audit
from mailcore.services.mailboxes.mailboxes import Mailboxes
from mailcore.services.outbound.identities import Identities
from mailcore.store.directory import Directory
from mailcore.store.mailbox.tree import TreeChange
from mailcore.store.placement import Placement

DELEGATED = ALL_RIGHTS & ~Right.ADMINISTER


@dataclass(frozen=True, slots=True)
class Delegate:
    """Somebody who reads a shared mailbox."""

    user_id: UserId
    address: str
    name: str


class SharedMailboxes:
    """Makes them, also of users who leave, and says who reads them."""

    def __init__(
        self,
        directory: Directory,
        placement: Placement,
        users: Users,
        mailboxes: Mailboxes,
        identities: Identities,
        sessions: Sessions,
        audit: Audit,
    ) -> None:
        self._directory = directory
        self._placement = placement
        self._users = users
        self._mailboxes = mailboxes
        self._identities = identities
        self._sessions = sessions
        self._audit = audit

    def create(
        self, actor: Actor, tenant_id: TenantId, address: str, name: str = "", delegates: Iterable[UserId] = ()
    ) -> UserId:
        """Make a shared mailbox.

        Raises:
            TenantNotFound, AddressInvalid, DomainNotFound, NotPermitted, AddressTaken, TooManyUsers: as `Users.create`.
            UserNotFound, LimitExceeded: as `set_delegates`.
        """
        wanted = self._checked(tenant_id, delegates)
        user_id = self._users.create(actor, address, None, name, tenant_id)
        self.convert(actor, user_id, [one.id for one in wanted])
        return user_id

    def convert(self, actor: Actor, user_id: UserId, delegates: Iterable[UserId] = ()) -> None:
        """Make a shared mailbox of a user who leaves: every session ends, no password opens it any more, mail stays.

        Raises:
            UserNotFound: there is no such user.
            UserNotFound, LimitExceeded, NotPermitted: as `set_delegates`.
        """
        user = self._users.get(user_id)
        wanted = self._checked(user.tenant_id, delegates)
        with self._audit.of_user(actor, "user.shared", user_id, {"address": user.address}):
            if self._directory.user_changes.make_shared(user_id) is None:
                raise UserNotFound(user_id)
        self._placement.forget(user_id)
        self._sessions.user_changed(user_id)
        self.set_delegates(actor, user_id, [one.id for one in wanted])

    def set_delegates(self, actor: Actor, user_id: UserId, delegates: Iterable[UserId]) -> None:
        """Say who reads a shared mailbox and sends as it; those who are not named do so no longer.

        One change of its tree whatever the number; two grants and a subscription for each who is new.

        Raises:
            UserNotFound: there is no such shared mailbox, or a delegate is no user of its tenant.
            NotPermitted: a delegate is a shared mailbox itself.
            LimitExceeded: more than an access control list may hold.
        """
        shared = self._users.get(user_id)
        if not shared.is_shared:
            raise UserNotFound(user_id)
        wanted = {one.id: one for one in self._checked(shared.tenant_id, delegates)}
        for delegate_id in wanted:
            self._mailboxes.note_sharer(delegate_id, user_id)
        told = {"delegates": [one.address for one in wanted.values()]}
        with self._audit.of_user(actor, "user.delegates", user_id, told) as change:
            _, former = self._mailboxes.change_tree(user_id, lambda tree: _delegated(tree, wanted))
            change.before["delegates"] = [str(one) for one in former]
        for delegate_id in former - wanted.keys():
            self._revoke(actor, shared, delegate_id)
        for delegate_id in wanted.keys() - former:
            self._grant(actor, shared, delegate_id)

    def delegates(self, user_id: UserId) -> list[Delegate]:
        """Return who reads a shared mailbox; two round trips.

        Raises:
            UserNotFound: there is no such user.
        """
        ids = sorted(_readers(self._mailboxes.tree(user_id)))
        found = self._directory.sign_in_changes.states(ids) if ids else {}
        return [Delegate(one, found[one].user.address, found[one].user.name) for one in ids if one in found]

    def _checked(self, tenant_id: TenantId, delegates: Iterable[UserId]) -> list[User]:
        ids = list(dict.fromkeys(delegates))
        if len(ids) > DEFAULT_LIMITS.acl_entries:
            raise LimitExceeded("acl", len(ids))
        found = [self._users.get(one) for one in ids]
        for user in found:
            if user.tenant_id != tenant_id:
                raise UserNotFound(user.id)
            if user.is_shared:
                raise NotPermitted(f"{user.address} is a shared mailbox itself: nobody signs in to it")
        return found

    def _grant(self, actor: Actor, shared: User, delegate_id: UserId) -> None:
        try:
            self._identities.grant(actor, delegate_id, shared.address)
        except SendAsExists:
            pass
        for entry in self._mailboxes.tree(shared.id).entries:
            shown = self._mailboxes.access.shared_name(shared.id, MailboxName(entry.name))
            self._mailboxes.subscribe(delegate_id, actor, shown)

    def _revoke(self, actor: Actor, shared: User, delegate_id: UserId) -> None:
        granted = self._directory.send_as.list_of(shared.tenant_id, delegate_id)
        own = {route.id for route in self._directory.addresses.list_of_user(shared.id)}
        for grant in granted:
            if grant.address_id in own:
                self._identities.revoke(actor, delegate_id, grant.address)


def _readers(tree: MailboxTree) -> set[UserId]:
    return {user_id for entry in tree.entries for user_id, _ in entry.acl}


def _delegated(tree: MailboxTree, wanted: Iterable[UserId]) -> tuple[TreeChange, set[UserId]]:
    """Return the change that gives every mailbox to these delegates alone, and who had it before."""
    acl = tuple((user_id, DELEGATED) for user_id in wanted)
    entries = tuple(replace(entry, acl=acl) for entry in tree.entries)
    return TreeChange(tree.next_uid_validity, entries, tree.subscribed_names), _readers(tree)
