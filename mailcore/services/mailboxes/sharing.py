"""Sharing mailboxes with others of the tenant: access control lists (RFC 4314), kept in the owner's tree.

Whoever is given a right finds the owner noted in the own tree, so that LIST need not look through
everybody's mailboxes. The note is a hint and may outlive the right.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mailcore.errors import AddressNotFound, LimitExceeded, MailboxNotFound, MailError, NotPermitted, UserNotFound
from mailcore.model.actor import Actor
from mailcore.model.ids import MailboxId, MailboxName, UserId
from mailcore.model.limits import DEFAULT_LIMITS
from mailcore.model.mailbox import MailboxEntry, MailboxTree, sorted_entries
from mailcore.model.rights import ALL_RIGHTS, SHOWN_BY, Right, stored_letters
from mailcore.services.events.audit import Audit
from mailcore.services.mailboxes.access import Place
from mailcore.services.mailboxes.mailboxes import Mailboxes
from mailcore.store.mailbox.tree import TreeChange

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class VisibleMailboxes:
    """What a user can list: the own mailboxes, and those of others that may be looked up.

    Attributes:
        tree: all of them, others' under their shared names.
        owners: whose mailbox it is, for those of others.
        rights: what the user may do with it, for those of others.
    """

    tree: MailboxTree
    owners: Mapping[MailboxId, UserId]
    rights: Mapping[MailboxId, Right]


class Sharing:
    """The door to access control lists."""

    def __init__(self, mailboxes: Mailboxes, audit: Audit) -> None:
        self._audit = audit
        self._mailboxes = mailboxes
        self._access = mailboxes.access

    # -- lists ----------------------------------------------------------------------------------

    def acl(self, actor: Actor, place: Place) -> list[tuple[str, Right]]:
        """Return who may do what, the owner first (RFC 4314 §3.3); a read, and one more for each user.

        Raises:
            MailboxNotFound, NotPermitted: the right to administer is needed.
        """
        entry = self._entry(actor, place, Right.ADMINISTER)
        listed = [(self._address(place.owner_id), ALL_RIGHTS)]
        listed += [(self._address(user_id), rights) for user_id, rights in entry.acl]
        return [(address, rights) for address, rights in listed if address]

    def my_rights(self, actor: Actor, place: Place) -> Right:
        """Return the actor's rights (RFC 4314 §3.5).

        Raises:
            MailboxNotFound: the actor has none that lets it ask.
        """
        entry = self._mailboxes.tree(place.owner_id).find(place.name)
        rights = self._access.rights(place.owner_id, actor, entry)
        if entry is None or not rights & SHOWN_BY:
            raise MailboxNotFound(place.name)
        return rights

    def check_identifier(self, actor: Actor, place: Place, identifier: str) -> bool:
        """Return whether rights of this identifier are fixed: it is the owner (RFC 4314 §3.4).

        Raises:
            AddressNotFound: nobody of the tenant has that address.
            MailboxNotFound, NotPermitted: the right to administer is needed.
        """
        self._entry(actor, place, Right.ADMINISTER)
        return self._resolve(place.owner_id, identifier) == place.owner_id

    def set_rights(self, actor: Actor, place: Place, identifier: str, mode: str, rights: Right) -> None:
        """Replace ("="), add ("+") or take away ("-") rights of a user (RFC 4314 §3.1); none left is no entry.

        Raises:
            AddressNotFound: nobody of the tenant has that address.
            NotPermitted: the right to administer is needed, or it is the owner, who keeps all.
            MailboxNotFound: there is none of that name.
            LimitExceeded: the list is as long as may be.
        """
        user_id = self._resolve(place.owner_id, identifier)
        if user_id == place.owner_id:
            raise NotPermitted("the owner keeps all rights")
        self._entry(actor, place, Right.ADMINISTER)
        if rights and mode != "-":
            self._mailboxes.note_sharer(user_id, place.owner_id)

        def change(tree: MailboxTree) -> tuple[TreeChange, Right]:
            entry = tree.find(place.name)
            self._access.require_on(place.owner_id, actor, entry, Right.ADMINISTER)
            if entry is None:
                raise MailboxNotFound(place.name)
            held = entry.rights_of(user_id)
            wanted = {"+": held | rights, "-": held & ~rights}.get(mode, rights)
            acl = [(each, given) for each, given in entry.acl if each != user_id]
            if wanted:
                acl.append((user_id, wanted))
            if len(acl) > DEFAULT_LIMITS.acl_entries:
                raise LimitExceeded("acl", len(acl))
            changed = replace(entry, acl=tuple(acl))
            entries = tuple(changed if each.id == entry.id else each for each in tree.entries)
            return TreeChange(tree.next_uid_validity, entries, tree.subscribed_names), wanted

        details = {"mailbox": place.name, "user": identifier, "mode": mode, "rights": stored_letters(rights)}
        with self._audit.of_user(actor, "mailbox.acl_changed", place.owner_id, details) as told:
            _, wanted = self._mailboxes.change_tree(place.owner_id, change)
            told.after["rights"] = stored_letters(wanted)

    # -- what is shared with somebody -----------------------------------------------------------

    def visible(self, user_id: UserId, actor: Actor) -> VisibleMailboxes:
        """Return what LIST shows: one read, and two more for each user who shares something.

        Owners whose shard does not answer, or who are gone, are left out.
        """
        own = self._mailboxes.tree(user_id)
        if not own.shared_from:
            return VisibleMailboxes(own, {}, {})
        entries = list(own.entries)
        owners: dict[MailboxId, UserId] = {}
        rights: dict[MailboxId, Right] = {}
        for owner_id in own.shared_from:
            for entry, held in self._shared_by(owner_id, actor, own.subscribed_names):
                entries.append(entry)
                owners[entry.id] = owner_id
                rights[entry.id] = held
        tree = replace(own, entries=sorted_entries(entries))
        return VisibleMailboxes(tree, owners, rights)

    def _shared_by(
        self, owner_id: UserId, actor: Actor, subscribed: frozenset[MailboxName]
    ) -> Sequence[tuple[MailboxEntry, Right]]:
        try:
            tree = self._mailboxes.tree(owner_id)
            found = [(entry, self._access.rights(owner_id, actor, entry)) for entry in tree.entries if entry.acl]
            shown = [(entry, held) for entry, held in found if Right.LOOKUP in held]
            if not shown:
                return ()
            prefix = self._access.shared_name(owner_id, MailboxName(""))
        except MailError as error:
            log.info("mailbox.shared.left_out", extra={"owner": str(owner_id), "reason": repr(error)})
            return ()
        listed = []
        for entry, held in shown:
            name = MailboxName(prefix + entry.name)
            listed.append((replace(entry, name=name, special_use=None, subscribed=name in subscribed), held))
        return listed

    def _entry(self, actor: Actor, place: Place, needed: Right) -> MailboxEntry:
        entry = self._mailboxes.tree(place.owner_id).find(place.name)
        self._access.require_on(place.owner_id, actor, entry, needed)
        if entry is None:
            raise MailboxNotFound(place.name)
        return entry

    def _resolve(self, owner_id: UserId, identifier: str) -> UserId:
        user_id = self._access.resolve(owner_id, identifier)
        if user_id is None:
            raise AddressNotFound(identifier)
        return user_id

    def _address(self, user_id: UserId) -> str:
        """Return the main address of a user, empty if the user is gone."""
        try:
            return self._access.address(user_id)
        except UserNotFound:
            return ""
