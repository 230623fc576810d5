"""The compliance journal: a report of each message of a tenant, with the message, to one user of the tenant.

A report says who sent what to whom, as the transaction had it, and carries the message as an attached message/rfc822,
byte for byte. It goes straight into the INBOX of the archive user: no rules, no forwards, no notice to anybody.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from bson import ObjectId

from mailcore.errors import JournalUnavailable, MailError, TenantNotFound, UserNotFound
from mailcore.message.encoded_words import clean, decode_header
from mailcore.message.headers import find_first, header_size
from mailcore.model.actor import Actor
from mailcore.model.changes import Cause
from mailcore.model.ids import MailboxId, TenantId, UserId
from mailcore.model.mailbox import INBOX
from mailcore.services.accounts.sessions import Sessions
from mailcore.services.content.content import ContentStore
from mailcore.services.content.prepared import PreparedMessage
from mailcore.services.content.storing import NewRowContent
from mailcore.services.events.audit import Audit
from mailcore.services.mailboxes.mailboxes import Mailboxes
from mailcore.services.mailboxes.messages import Messages
from mailcore.services.process.clock import now
from mailcore.store.directory import Directory
from mailcore.store.placement import Home, Placement

log = logging.getLogger(__name__)

REPEATS: Final = 8
"""So often a repeated report may find that the one before it was cut off."""
MAX_SUBJECT_BYTES: Final = 900
_LONG_LINE = re.compile(rb"[^\n]{999}")


class Direction(StrEnum):
    """Which way a message goes."""

    INCOMING = "incoming"
    OUTGOING = "outgoing"


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One transaction of a tenant.

    Attributes:
        reverse_path: "" is the null reverse-path.
        forward_paths: those of the tenant's users (incoming), all of them (outgoing).
        raw: the message as it came, or as it goes out.
        ident: names the transaction; the same message to the same recipients under it is reported once. None: each.
    """

    tenant_id: TenantId
    direction: Direction
    reverse_path: str
    forward_paths: tuple[str, ...]
    raw: bytes = field(repr=False)
    ident: str | None = None

    def key(self) -> bytes:
        """Return 32 bytes that are the same where the transaction is."""
        if self.ident is None:
            return hashlib.sha256(ObjectId().binary).digest()
        words = [self.direction.value, self.ident, self.reverse_path, *sorted(set(self.forward_paths))]
        digest = hashlib.sha256("\0".join(words).encode("utf-8", "surrogatepass"))
        digest.update(b"\0" + hashlib.sha256(self.raw).digest())
        return digest.digest()


class Journal:
    """Reports messages, and says who gets the reports."""

    def __init__(
        self,
        directory: Directory,
        placement: Placement,
        content: ContentStore,
        mailboxes: Mailboxes,
        messages: Messages,
        audit: Audit,
        sessions: Sessions,
    ) -> None:
        self._directory = directory
        self._placement = placement
        self._content = content
        self._mailboxes = mailboxes
        self._messages = messages
        self._audit = audit
        self._sessions = sessions

    def set_archive(self, actor: Actor, tenant_id: TenantId, user_id: UserId | None) -> None:
        """Say which user of the tenant gets a report of all mail from now on; None: nobody.

        Other processes follow within seconds.

        Raises:
            UserNotFound: the tenant has no such user.
            TenantNotFound: there is no such tenant.
        """
        if user_id is not None:
            user = self._directory.users.find(user_id)
            if user is None or user.tenant_id != tenant_id:
                raise UserNotFound(user_id)
        wanted = {"archive": None if user_id is None else str(user_id)}
        with self._audit.of_tenant(actor, "tenant.journal", tenant_id, wanted) as change:
            before = self._placement.tenant(tenant_id).journal
            change.before["archive"] = None if before is None else str(before)
            if not self._directory.tenants.set_journal(tenant_id, user_id):
                raise TenantNotFound(tenant_id)
        self._placement.forget_tenant(tenant_id)
        self._sessions.tenant_changed(tenant_id)

    def archive_of(self, tenant_id: TenantId) -> UserId | None:
        """Return who gets the reports, as of 30 s ago at most; no round trip where the tenant is known."""
        return self._placement.tenant(tenant_id).journal

    def record(self, actor: Actor, entry: JournalEntry) -> bool:
        """Report a transaction before it is acknowledged; False where the tenant has no journal: no round trip.

        Else one insert and one push, as a delivery; a repeat that was reported already adds nothing.

        Raises:
            JournalUnavailable: it cannot be reported now, so the message must not be taken now.
        """
        try:
            archive_id = self.archive_of(entry.tenant_id)
            if archive_id is None:
                return False
            home = self._placement.home(archive_id)
            if home.tenant_id != entry.tenant_id:
                raise UserNotFound(archive_id)
            self._put(actor, home, entry)
        except MailError as error:
            log.warning(
                "journal.failed", extra={"tenant": str(entry.tenant_id), "reason": f"{type(error).__name__}: {error}"}
            )
            raise JournalUnavailable(entry.tenant_id) from error
        return True

    def _put(self, actor: Actor, home: Home, entry: JournalEntry) -> None:
        user = self._directory.users.find(home.user_id)
        if user is None:
            raise UserNotFound(home.user_id)
        key = entry.key()
        prepared = self._content.prepare(_report(entry, user.address, now()))
        inbox = self._mailboxes.find(home.user_id, INBOX).id
        content = self._stored(home, inbox, prepared, key)
        if content is None:
            return
        row_key = hmac.digest(home.user_id.binary, key, "sha256")[:12]
        row = content.row(0, int(time.time()))
        self._messages.commit_rows(home.user_id, inbox, [row], Cause.DELIVERY, actor, row_key)

    def _stored(self, home: Home, inbox: MailboxId, prepared: PreparedMessage, key: bytes) -> NewRowContent | None:
        """Store a report under an id made of its key; None if it is in the mailbox."""
        delivered: set[bytes] | None = None
        for repeat in range(REPEATS):
            oid = hmac.digest(home.user_id.binary, b"journal" + key + bytes([repeat]), "sha256")[:12]
            if delivered is not None and oid in delivered:
                return None
            outcome = self._content.put(home, prepared, oid)
            if not outcome.existed:
                return outcome
            if delivered is None:
                view = self._mailboxes.refresh(home.user_id, inbox)
                delivered = {each.tobytes() for each in view.message_oids}
                if oid in delivered:
                    return None
        return self._content.put(home, prepared)


def _report(entry: JournalEntry, archive: str, at: datetime) -> bytes:
    """Return the report as a message."""
    header = entry.raw[: header_size(entry.raw)]
    subject = find_first(header, b"Subject") or b""
    boundary = b"journal-" + entry.key().hex().encode()
    while b"--" + boundary in entry.raw:
        boundary += b"-"
    facts = _facts(entry, header, subject, at)
    encoding = b"binary" if b"\0" in entry.raw or _LONG_LINE.search(entry.raw) else b"8bit"
    domain = archive.rpartition("@")[2].encode()
    lines = [
        b"Date: " + at.strftime("%a, %d %b %Y %H:%M:%S +0000").encode(),
        b"From: Journal <postmaster@" + domain + b">",
        b"To: <" + archive.encode() + b">",
        b"Subject: " + _one_line(subject),
        b"Message-ID: <" + boundary + b"@" + domain + b">",
        b"X-Journal-Report: " + entry.direction.value.encode(),
        b"Auto-Submitted: auto-generated",
        b"MIME-Version: 1.0",
        b'Content-Type: multipart/mixed; boundary="' + boundary + b'"',
        b"",
        b"--" + boundary,
        b"Content-Type: text/plain; charset=utf-8",
        b"Content-Transfer-Encoding: 8bit",
        b"",
        *(line.encode("utf-8", "replace") for line in facts),
        b"",
        b"--" + boundary,
        b"Content-Type: message/rfc822",
        b"Content-Disposition: attachment",
        b"Content-Transfer-Encoding: " + encoding,
        b"",
        b"",
    ]
    return b"\r\n".join(lines) + entry.raw + b"\r\n--" + boundary + b"--\r\n"


def _facts(entry: JournalEntry, header: bytes, subject: bytes, at: datetime) -> Sequence[str]:
    message_id = find_first(header, b"Message-ID") or b""
    return [
        f"Direction: {entry.direction.value}",
        f"Sender: {clean(entry.reverse_path) or '<>'}",
        f"Subject: {decode_header(subject)}",
        f"Message-Id: {clean(decode_header(message_id))}",
        f"Time: {at.isoformat(timespec='seconds')}",
        *(f"Recipient: {clean(path)}" for path in entry.forward_paths),
    ]


def _one_line(value: bytes) -> bytes:
    """Return a header's value without folds and line ends, cut where it is too long for a line."""
    return value.translate(None, b"\r\n\0").strip()[:MAX_SUBJECT_BYTES]
