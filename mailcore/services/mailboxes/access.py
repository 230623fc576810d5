"""Who may do what with whose mailboxes (RFC 4314): every service asks here, and nowhere else is it decided.

A user's own mailboxes cost nothing. Those of others cost a read of the owner's tree, so that
rights taken away end with the next command. Nobody has rights across tenants, whatever is stored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mailcore.errors import (
    AddressInvalid,
    MailboxNameInvalid,
    MailboxNotFound,
    MailReadOnly,
    NotPermitted,
    UserNotFound,
)
from mailcore.model.actor import Actor, ActorKind
from mailcore.model.address import Address
from mailcore.model.flags import DELETED, SEEN, FlagOperation, FlagSet
from mailcore.model.ids import MailboxId, MailboxName, UserId
from mailcore.model.mailbox import SEPARATOR, Acl, MailboxEntry, MailboxTree
from mailcore.model.rights import FLAG_RIGHTS, Right
from mailcore.services.tenants.standing import own_rights
from mailcore.store.placement import Placement

SHARED = MailboxName("Shared")
"""Others' mailboxes are `Shared/<owner's address>/<name>`."""


@dataclass(frozen=True, slots=True)
class Place:
    """A mailbox by its owner and the name it has there."""

    owner_id: UserId
    name: MailboxName


class Access:
    """Resolves shared names and checks rights."""

    def __init__(self, placement: Placement, read_tree: Callable[[UserId], MailboxTree]) -> None:
        self._placement = placement
        self._directory = placement.directory
        self._read_tree = read_tree

    def place(self, user_id: UserId, name: MailboxName) -> Place:
        """Return whose mailbox a name means; one read of the directory for a shared one, none for the user's own.

        Raises:
            MailboxNotFound: nobody of the tenant has that address, or nothing stands behind it.
        """
        shared = split_shared(name)
        if shared is None:
            return Place(user_id, name)
        address, own_name = shared
        owner_id = self.resolve(user_id, address)
        if owner_id is None or owner_id == user_id:
            raise MailboxNotFound(name)
        return Place(owner_id, own_name)

    def resolve(self, user_id: UserId, address: str) -> UserId | None:
        """Return which user of the same tenant an address reaches; None too where it is another tenant's."""
        try:
            route = self._directory.addresses.find(Address.parse(address).canonical)
        except AddressInvalid:
            return None
        if route is None or route.tenant_id != self._placement.home(user_id).tenant_id:
            return None
        return route.user_id

    def shared_name(self, owner_id: UserId, name: MailboxName) -> MailboxName:
        """Return what others call a user's mailbox; one read of the directory.

        Raises:
            UserNotFound: the owner is gone.
        """
        return MailboxName(SEPARATOR.join((SHARED, self.address(owner_id), name)))

    def address(self, user_id: UserId) -> str:
        """Return a user's main address.

        Raises:
            UserNotFound: the user is gone.
        """
        user = self._directory.users.find(user_id)
        if user is None:
            raise UserNotFound(user_id)
        return user.address

    def require(self, owner_id: UserId, actor: Actor, mailbox_id: MailboxId, needed: Right) -> Right:
        """Return all rights of the actor on a mailbox, which include those needed.

        Raises:
            MailboxNotFound: the actor may not even know of it.
            NotPermitted: a right is missing.
            MailReadOnly: it is the owner's, whose tenant's mail is read-only.
        """
        if is_own(owner_id, actor):
            return self._own(owner_id, actor, needed)
        return self.require_on(owner_id, actor, self._read_tree(owner_id).find_id(mailbox_id), needed)

    def require_on(self, owner_id: UserId, actor: Actor, entry: MailboxEntry | None, needed: Right) -> Right:
        """As `require`, on a mailbox of a tree just read.

        Raises:
            MailboxNotFound: there is none, or the actor may not even know of it.
            NotPermitted: a right is missing.
            MailReadOnly: it is the owner's, whose tenant's mail is read-only.
        """
        if is_own(owner_id, actor):
            return self._own(owner_id, actor, needed)
        rights = self.rights(owner_id, actor, entry)
        if entry is None or not rights:
            raise MailboxNotFound(owner_id)
        if needed not in rights:
            if Right.LOOKUP not in rights:
                raise MailboxNotFound(owner_id)
            raise NotPermitted(needed)
        return rights

    def acl_of_new(self, owner_id: UserId, actor: Actor, tree: MailboxTree, name: MailboxName) -> Acl:
        """Return the list a new mailbox begins with: that of its nearest parent (RFC 4314 §4, CREATE).

        Raises:
            MailboxNotFound: the actor may not even know of the parent.
            NotPermitted: the parent does not let the actor create below it.
        """
        parent = None
        above = name.rpartition(SEPARATOR)[0]
        while above and parent is None:
            parent = tree.find(MailboxName(above))
            above = above.rpartition(SEPARATOR)[0]
        self.require_on(owner_id, actor, parent, Right.CREATE)
        return parent.acl if parent is not None else ()

    def rights(self, owner_id: UserId, actor: Actor, entry: MailboxEntry | None) -> Right:
        """Return what an actor may do with a mailbox."""
        allowed = own_rights(self._placement.home(owner_id), actor)
        if is_own(owner_id, actor):
            return allowed
        user_id = actor.on_behalf_of
        if entry is None or user_id is None or not self.same_tenant(owner_id, user_id):
            return Right.NONE
        return entry.rights_of(user_id) & allowed

    def _own(self, owner_id: UserId, actor: Actor, needed: Right) -> Right:
        """Return what the owner may do; no round trip if the home is known.

        Raises:
            MailReadOnly: the tenant's mail is read-only, and more is needed.
        """
        allowed = own_rights(self._placement.home(owner_id), actor)
        if needed not in allowed:
            raise MailReadOnly(owner_id)
        return allowed

    def same_tenant(self, one: UserId, other: UserId) -> bool:
        """Return whether two users belong to one tenant; no round trip if both are known."""
        try:
            return self._placement.home(one).tenant_id == self._placement.home(other).tenant_id
        except UserNotFound:
            return False


def is_own(owner_id: UserId, actor: Actor) -> bool:
    """Whether the owner acts, or a part of the system that acts for owners: MTAs, operators, jobs."""
    return actor.kind is not ActorKind.USER or actor.on_behalf_of in {None, owner_id}


def split_shared(name: MailboxName) -> tuple[str, MailboxName] | None:
    """Return address and name behind it of a shared name; None for any other, "Shared" itself included."""
    parts = name.split(SEPARATOR, 2)
    if len(parts) < 3 or parts[0] != SHARED or "@" not in parts[1]:
        return None
    return parts[1], MailboxName(parts[2])


def check_own_name(name: MailboxName) -> MailboxName:
    """Return the name of a user's own mailbox, if clients would not take it for another's.

    Raises:
        MailboxNameInvalid: they would.
    """
    if split_shared(name) is not None:
        raise MailboxNameInvalid("for what others share", name)
    return name


def permitted_flags(flags: FlagSet, rights: Right) -> FlagSet:
    r"""Return those flags that the rights let a user set: s for \Seen, t for \Deleted, w for all others."""
    return FlagSet(flags.system & flag_mask(rights), flags.keywords if Right.WRITE in rights else ())


def permitted_change(flags: FlagSet, operation: FlagOperation, rights: Right) -> tuple[FlagSet, int]:
    """Return which flags may be changed, and the bits that a replacement may clear (RFC 4314 §4, STORE).

    Raises:
        NotPermitted: none.
    """
    permitted = permitted_flags(flags, rights)
    asked = bool(flags.system or flags.keywords)
    if not rights & FLAG_RIGHTS or (operation is not FlagOperation.REPLACE and asked and permitted == FlagSet()):
        raise NotPermitted("flags")
    return permitted, flag_mask(rights)


def flag_mask(rights: Right) -> int:
    """Return the flag bits, keywords' included, that rights let a user change."""
    mask = (1 << 64) - 1
    for right, bits in ((Right.SEEN, SEEN), (Right.DELETE_MESSAGES, DELETED)):
        if right not in rights:
            mask &= ~bits
    return mask if Right.WRITE in rights else mask & (SEEN | DELETED)
