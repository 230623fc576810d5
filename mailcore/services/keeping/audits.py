"""Audits: a frozen copy of a user's mail, which neither the user nor an administrator can change until it expires.

Messages are copied whole, those in mailboxes and those that were expunged and can still be restored, and while the
audit goes on those that come. Nothing in this service removes or changes a copy; the database does when it expires.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from bson import ObjectId

from mailcore.errors import AuditNotFound, MailboxChanged, MailError, NotFound, Unavailable, ValueInvalid
from mailcore.model.actor import Actor
from mailcore.model.audit_case import AuditCase, AuditStatus
from mailcore.model.event import Details
from mailcore.model.ids import UserId
from mailcore.services.content.content import ContentStore
from mailcore.services.events.audit import Audit
from mailcore.services.keeping.restoring import Restoring
from mailcore.services.mailboxes.mailboxes import Mailboxes
from mailcore.services.process.clock import now
from mailcore.store.placement import Placement

LEASE_S: Final = 3600
AGAIN_S: Final = 300
MOST_NOTES: Final = 1024
_FROM: Final = re.compile(rb"^(>*From )", re.MULTILINE)
_CARRIED: Final = 1024
"""A line of which no more is here yet is held back if it is shorter: its begin decides how it is quoted."""

log = logging.getLogger(__name__)


class Audits:
    """Opens audits, fills them, and gives them out."""

    def __init__(
        self, placement: Placement, mailboxes: Mailboxes, restoring: Restoring, content: ContentStore, audit: Audit
    ) -> None:
        self._placement = placement
        self._cases = placement.directory.audit_cases
        self._mailboxes = mailboxes
        self._restoring = restoring
        self._content = content
        self._audit = audit

    def create(
        self,
        actor: Actor,
        user_id: UserId,
        start: datetime | None,
        end: datetime | None,
        expires_at: datetime,
        notes: str = "",
        meta: str = "",
    ) -> ObjectId:
        """Begin an audit of a user; a worker copies within a minute.

        Raises:
            UserNotFound: there is no such user.
            ValueInvalid: it expires in the past, or ends before it starts.
        """
        if expires_at <= now():
            raise ValueInvalid("expires: must be a time to come")
        if start is not None and end is not None and end < start:
            raise ValueInvalid("end: must not be before start")
        home = self._placement.home(user_id)
        case = AuditCase(
            ObjectId(), home.tenant_id, user_id, home.shard.name, start, end, expires_at, notes[:MOST_NOTES], meta
        )
        wanted: Details = {"audit": str(case.id), "start": start, "end": end, "expires": expires_at}
        with self._audit.of_user(actor, "audit.created", user_id, wanted):
            self._cases.insert(case)
        return case.id

    def get(self, case_id: ObjectId) -> AuditCase:
        """Return an audit, whosever it is.

        Raises:
            AuditNotFound: there is none, or it has expired.
        """
        case = self._cases.find_id(case_id)
        if case is None or case.expires_at <= now():
            raise AuditNotFound(case_id)
        return case

    def export(self, actor: Actor, case: AuditCase) -> Iterator[bytes]:
        """Yield every copy as an mbox; told as an event before the first byte.

        Raises:
            StoreUnavailable: it cannot be told, or not be read.
        """
        details: Details = {"audit": str(case.id), "copied": case.copied}
        with self._audit.of_tenant(actor, "audit.exported", case.tenant_id, details, new_user=case.user_id):
            pass
        return self._mbox(case)

    # -- copying ----------------------------------------------------------------------------

    def copy_due(self) -> int:
        """Copy what audits lack, and return how many messages that were; safe to run at any time, and to be cut off."""
        done = 0
        while (case := self._cases.claim_due(LEASE_S)) is not None:
            try:
                done += self._copy(case)
            except (NotFound, Unavailable) as error:
                log.warning("audit.not_copied", extra={"audit": str(case.id), "reason": type(error).__name__})
        return done

    def _copy(self, case: AuditCase) -> int:
        began_at = now()
        pieces = self._placement.shard(case.shard).audit_pieces
        known = pieces.copied(case.user_id, case.id)
        done, failed, newest = 0, 0, case.last_message_at
        for oid, arrived_at in self._messages(case):
            if oid in known:
                continue
            known.add(oid)
            try:
                content = self._content.open(case.user_id, oid)
                pieces.put(case.user_id, case.id, oid, arrived_at, content.read(), case.expires_at)
            except Unavailable:
                raise
            except MailError as error:
                failed += 1
                log.warning("audit.message_failed", extra={"audit": str(case.id), "reason": type(error).__name__})
                continue
            done += 1
            newest = arrived_at if newest is None else max(newest, arrived_at)
        is_over = case.end is not None and case.end < began_at
        status = AuditStatus.IMPORTED if is_over else AuditStatus.IMPORTING
        self._cases.settle(case, status, len(known) - failed, failed, newest, AGAIN_S)
        return done

    def _messages(self, case: AuditCase) -> Iterator[tuple[bytes, datetime]]:
        """Yield what belongs to an audit, some of it twice: what moves meanwhile is met in one of its places."""
        for entry in self._mailboxes.tree(case.user_id).entries:
            try:
                view = self._mailboxes.refresh(case.user_id, entry.id)
            except MailboxChanged:
                continue
            for row, seconds in enumerate(view.internal_dates.tolist()):
                arrived_at = datetime.fromtimestamp(seconds, UTC)
                if case.takes(arrived_at):
                    yield bytes(view.message_oid(row)), arrived_at
        for block in self._restoring.blocks(case.user_id):
            for row, seconds in enumerate(block.rows.internal_dates.tolist()):
                arrived_at = datetime.fromtimestamp(seconds, UTC)
                if case.takes(arrived_at):
                    yield bytes(block.message_oid(row)), arrived_at

    # -- mbox -------------------------------------------------------------------------------

    def _mbox(self, case: AuditCase) -> Iterator[bytes]:
        """Yield an mbox (RFC 4155) in which lines that begin with any number of ">" and "From " have one more ">"."""
        quoting: _Quoting | None = None
        for piece in self._placement.shard(case.shard).audit_pieces.read(case.user_id, case.id):
            if piece.arrived_at is not None:
                if quoting is not None:
                    yield quoting.end()
                quoting = _Quoting()
                yield f"From MAILER-DAEMON {piece.arrived_at:%a %b %e %H:%M:%S %Y}\r\n".encode("ascii")
            assert quoting is not None
            yield quoting.quoted(piece.data)
        if quoting is not None:
            yield quoting.end()


class _Quoting:
    """Quotes one message that comes in pieces, cut anywhere."""

    def __init__(self) -> None:
        self._carried = b""
        self._in_line = False

    def quoted(self, piece: bytes) -> bytes:
        """Return what can be given out by now."""
        data = self._carried + piece
        whole = data.rfind(b"\n") + 1
        rest = data[whole:]
        if len(rest) > _CARRIED:
            whole, rest = len(data), b""
        self._carried = rest
        return self._out(data[:whole])

    def end(self) -> bytes:
        """Return the rest, and the blank line behind it."""
        rest = self._out(self._carried)
        return rest + (b"\r\n\r\n" if self._in_line else b"\r\n")

    def _out(self, data: bytes) -> bytes:
        if not data:
            return b""
        begin, self._in_line = self._in_line, not data.endswith(b"\n")
        if not begin:
            return _FROM.sub(rb">\1", data)
        line = data.find(b"\n") + 1
        return data[:line] + _FROM.sub(rb">\1", data[line:]) if line else data
