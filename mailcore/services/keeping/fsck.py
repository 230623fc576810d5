"""fsck: prove a user's mail sound, and make it sound again."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from bson import ObjectId

from mailcore.errors import (
    MailboxBusy,
    MailboxChanged,
    MailboxExists,
    MailboxNotFound,
    StoreDamaged,
    TenantNotFound,
    UserNotFound,
)
from mailcore.model.actor import Actor
from mailcore.model.address import Address
from mailcore.model.changes import Cause
from mailcore.model.ids import MailboxId, MailboxName, UserId
from mailcore.model.mailbox import RECOVERED, MailboxEntry
from mailcore.model.row import NewRow
from mailcore.model.tenant import AddressRoute, User
from mailcore.services.content.content import ContentStore
from mailcore.services.content.prepared import message_id_hash
from mailcore.services.events.audit import Audit
from mailcore.services.mailboxes.mailboxes import Mailboxes
from mailcore.services.mailboxes.messages import Messages
from mailcore.services.process.clock import now
from mailcore.store.directory import Directory
from mailcore.store.mailbox.fsck import Problem, check_user, rebuild_mailbox, unnamed_messages
from mailcore.store.mailbox.head import DELETED
from mailcore.store.mailbox.sweep import sweep_user
from mailcore.store.mailbox.tree import TreeChange
from mailcore.store.placement import Home, Placement

log = logging.getLogger(__name__)

LOOKS = 3
"""A mailbox read while others write may look wrong for a moment: it is wrong if it looks so this often."""
LOOK_PAUSE_S = 0.2
UNDER_WAY = timedelta(hours=1)
"""A younger message without a row may be a delivery that is not finished."""
ROWS_AT_ONCE = 500
_ROW_FIELDS = {"size": 1, "date": 1, "thread": 1, "stored_at": 1, "header_message_id": 1}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something of a user that is not as it must be."""

    mailbox: str
    """Its name, or "" if it is none's."""
    kind: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class UserReport:
    """What was found of one user, and what is left of it."""

    user: User
    mailboxes: int = 0
    messages: int = 0
    found: tuple[Finding, ...] = ()
    left: tuple[Finding, ...] = ()
    """What could not be made sound; the same as `found` if nothing was to be repaired."""
    recovered: int = 0
    """Messages that no mailbox named any more, now in the mailbox "Recovered"."""


class Fsck:
    """Checks and repairs the mail of users; safe while servers work."""

    def __init__(
        self,
        directory: Directory,
        placement: Placement,
        mailboxes: Mailboxes,
        messages: Messages,
        content: ContentStore,
        audit: Audit,
    ) -> None:
        self._directory = directory
        self._placement = placement
        self._mailboxes = mailboxes
        self._messages = messages
        self._content = content
        self._audit = audit

    def every_user(self) -> Iterator[User]:
        """Yield all users of all tenants."""
        tenants = self._directory.tenants.list_all()
        while tenants:
            for tenant in tenants:
                users = self._directory.users.list_of_tenant(tenant.id)
                while users:
                    yield from users
                    users = self._directory.users.list_of_tenant(tenant.id, after=users[-1].id)
            tenants = self._directory.tenants.list_all(after=tenants[-1].id)

    def run(self, actor: Actor, user_id: UserId, *, repair: bool = False, deep: bool = False) -> UserReport:
        """Check a user; with `deep` read every message and compare it with what was accepted.

        A repair rebuilds what is unsound from what survives, brings messages that lost their row to a
        mailbox "Recovered", and removes what crashes left.

        Raises:
            UserNotFound: there is no such user.
            StoreUnavailable: the shard did not answer.
        """
        user = self._directory.users.find(user_id)
        if user is None:
            raise UserNotFound(user_id)
        try:
            home = self._placement.home(user_id)
        except TenantNotFound:
            lost = (Finding("", "user.tenant_missing", str(user.tenant_id)),)
            return UserReport(user, found=lost, left=lost)
        findings, unsound = self._look(home, user, deep=deep)
        report = self._count(home, UserReport(user, found=findings, left=findings))
        if not repair:
            return report
        if not findings:
            sweep_user(home.shard, user_id)
            return report
        kinds = sorted({finding.kind for finding in findings})
        with self._audit.of_user(actor, "user.repaired", user_id, {"found": kinds}) as change:
            recovered = self._repair(actor, home, user, unsound)
            sweep_user(home.shard, user_id)
            left, _ = self._look(home, user, deep=deep)
            change.after |= {"left": len(left), "recovered": recovered}
        return self._count(home, replace(report, left=left, recovered=recovered))

    def _look(self, home: Home, user: User, *, deep: bool) -> tuple[tuple[Finding, ...], tuple[MailboxId, ...]]:
        """Return what is wrong however often one looks, and which mailboxes are to be rebuilt."""
        problems: dict[MailboxId, list[Problem]] = {}
        for attempt in range(LOOKS):
            if attempt:
                time.sleep(LOOK_PAUSE_S)
            seen = check_user(home.shard, home.user_id, lambda oids: self._present(home, oids))
            problems = seen if not attempt else _both(problems, seen)
            if not problems:
                break
        tree = home.shard.trees.read(home.user_id)
        names = {entry.id: str(entry.name) for entry in tree} if tree is not None else {}
        findings = [] if tree is not None else [Finding("", "tree.missing")]
        if not self._directory.addresses.list_of_user(home.user_id):
            findings.append(Finding("", "user.no_address", user.address))
        for mailbox_id, of_mailbox in problems.items():
            name = names.get(mailbox_id, str(mailbox_id))
            findings += [Finding(name, problem.kind, problem.detail) for problem in of_mailbox]
        if deep:
            damaged = self._content.scrub(home.user_id)
            findings += [Finding("", "message.damaged", oid.hex()) for oid in damaged]
        return tuple(findings), tuple(mailbox_id for mailbox_id in problems if mailbox_id in names)

    def _present(self, home: Home, message_oids: Sequence[bytes]) -> set[bytes]:
        return set(home.shard.messages.find(home.user_id, message_oids, {"_id": 1}))

    def _count(self, home: Home, report: UserReport) -> UserReport:
        tree = home.shard.trees.read(home.user_id)
        if tree is None:
            return report
        counted = self._mailboxes.status(home.user_id, [entry.id for entry in tree])
        return replace(report, mailboxes=len(counted), messages=sum(status.exists for status in counted.values()))

    # -- repair ---------------------------------------------------------------------------------

    def _repair(self, actor: Actor, home: Home, user: User, unsound: Sequence[MailboxId]) -> int:
        """Rebuild mailboxes; return how many messages without a row were recovered."""
        if user.created_at < now() - UNDER_WAY and not self._directory.addresses.list_of_user(user.id):
            main = Address.parse(user.address)  # the user's creation was cut off before its last step
            self._directory.addresses.insert(
                AddressRoute(ObjectId(), user.tenant_id, user.id, main.display, main.canonical, now())
            )
        has_tree = home.shard.trees.read(home.user_id) is not None
        if not has_tree:
            self._mailboxes.forget_tree(home.user_id)
            self._mailboxes.create_defaults(home.user_id, actor)
            self._adopt(home)
        left = [mailbox_id for mailbox_id in unsound if not self._rebuild(home, mailbox_id)]
        return self._recover(actor, home) if not left and (unsound or not has_tree) else 0

    def _rebuild(self, home: Home, mailbox_id: MailboxId) -> bool:
        """Return whether it was rebuilt; if not, its messages must not be taken for unnamed."""
        self._write_consequences(home, mailbox_id)
        try:
            rebuild_mailbox(home.shard, home.user_id, mailbox_id, lambda oids: self._present(home, oids))
        except MailboxBusy:  # the report tells that it is left
            log.warning("fsck.mailbox_busy", extra={"user": str(home.user_id), "mailbox": str(mailbox_id)})
            return False
        self._mailboxes.forget(home.user_id, mailbox_id)
        return True

    def _adopt(self, home: Home) -> None:
        """Name the mailboxes that lost their names with the tree."""
        tree = home.shard.trees.read(home.user_id)
        assert tree is not None
        heads = [
            mailbox_id
            for mailbox_id, state in home.shard.heads.list_mailboxes(home.user_id)
            if state != DELETED
            and tree.find_id(mailbox_id) is None
            and not home.shard.heads.discard_empty(home.user_id, mailbox_id)
        ]
        found = home.shard.heads.status(home.user_id, heads)
        adopted = [
            MailboxEntry(mailbox_id, MailboxName(f"{RECOVERED} {number}"), status.uid_validity, subscribed=True)
            for number, (mailbox_id, status) in enumerate(found.items(), 1)
        ]
        next_uid_validity = max([tree.next_uid_validity, *(entry.uid_validity + 1 for entry in adopted)])
        change = TreeChange(next_uid_validity, (*tree.entries, *adopted), tree.subscribed_names)
        if home.shard.trees.replace(home.user_id, tree, change) is None:
            raise MailboxBusy(home.user_id)
        self._mailboxes.forget_tree(home.user_id)

    def _write_consequences(self, home: Home, mailbox_id: MailboxId) -> None:
        """Have the log write down what was expunged, before a rebuild drops it; a damaged one cannot."""
        try:
            self._messages.fold(home.user_id, mailbox_id)
        except (StoreDamaged, MailboxNotFound, MailboxChanged):
            log.warning("fsck.log_lost", extra={"user": str(home.user_id), "mailbox": str(mailbox_id)})

    def _recover(self, actor: Actor, home: Home) -> int:
        """Give a row to every stored message that none names; a delivery cut off long ago may be among them."""
        before = now() - UNDER_WAY
        stored = (oid for oid, stored_at in home.shard.messages.stored_ids(home.user_id) if stored_at < before)
        lost = sorted(unnamed_messages(home.shard, home.user_id, stored))
        recovered = 0
        for start in range(0, len(lost), ROWS_AT_ONCE):
            batch = lost[start : start + ROWS_AT_ONCE]
            documents = home.shard.messages.find(home.user_id, batch, _ROW_FIELDS)
            rows = [_row(home.user_id, oid, document) for oid, document in documents.items()]
            if rows:
                mailbox_id = self._recovered_mailbox(actor, home.user_id)
                key = b"recover:" + rows[0].message_oid
                self._messages.commit_rows(home.user_id, mailbox_id, rows, Cause.RESTORE, actor, key)
                recovered += len(rows)
        return recovered

    def _recovered_mailbox(self, actor: Actor, user_id: UserId) -> MailboxId:
        try:
            return self._mailboxes.create(user_id, actor, RECOVERED, subscribed=True)
        except MailboxExists:
            return self._mailboxes.find(user_id, RECOVERED).id


def _both(one: dict[MailboxId, list[Problem]], other: dict[MailboxId, list[Problem]]) -> dict[MailboxId, list[Problem]]:
    """Return the problems of the second look whose kind the first had too."""
    kinds = {mailbox_id: {problem.kind for problem in found} for mailbox_id, found in one.items()}
    both = {
        mailbox_id: [problem for problem in found if problem.kind in kinds.get(mailbox_id, ())]
        for mailbox_id, found in other.items()
    }
    return {mailbox_id: found for mailbox_id, found in both.items() if found}


def _row(user_id: UserId, message_oid: bytes, document: dict[str, object]) -> NewRow:
    stored_at, thread, message_id = document["stored_at"], document["thread"], document.get("header_message_id")
    size, date = document["size"], document["date"]
    assert isinstance(stored_at, datetime)
    assert isinstance(thread, bytes)
    assert isinstance(size, int)
    assert isinstance(date, int)
    seconds = int(stored_at.timestamp())
    return NewRow(
        message_oid=message_oid,
        flags=0,
        size_bytes=size,
        internal_date=seconds,
        saved_date=seconds,
        header_date=date,
        thread=int.from_bytes(thread, "big"),
        message_id_hash=message_id_hash(user_id, message_id) if isinstance(message_id, bytes) and message_id else 0,
    )
