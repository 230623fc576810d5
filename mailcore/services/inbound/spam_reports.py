"""Moving to and from Junk teaches the filter; durable, at least once, and never while a client waits.

The log of a mailbox tells of each move. Whoever numbers events for the tenants' streams sees each change before it
passes on, and notes what is to be learned; a job hands it to rspamd. Copying into Junk counts like moving there.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Final

from mailcore.errors import MessageNotFound, NotFound, StoreDamaged
from mailcore.model.actor import ActorKind
from mailcore.model.changes import Cause
from mailcore.model.ids import MailboxId, UserId
from mailcore.model.mailbox import SpecialUse
from mailcore.model.secret import Secret
from mailcore.services.content.content import ContentStore
from mailcore.services.inbound.spam import FilterAway, post
from mailcore.services.mailboxes.mailboxes import Mailboxes
from mailcore.services.process.clock import now
from mailcore.store.keys import change_key
from mailcore.store.mailbox.change_events import ChangeEvent
from mailcore.store.mailbox.log_entry import LogEntry, cause_of, decode_entry
from mailcore.store.placement import Placement
from mailcore.store.shard import ShardStores
from mailcore.store.user.spam_reports import SpamReport

log = logging.getLogger(__name__)

KEPT_FOR: Final = timedelta(days=7)
"""A filter that is away for longer does not learn."""
MOST_OF_A_MOVE: Final = 200
BATCH: Final = 100
MAX_MESSAGE_BYTES: Final = 8 << 20
_MOVES: Final = frozenset({Cause.MOVE_FROM, Cause.COPY})


class SpamReports:
    """Notes what users take for spam and for none, and lets rspamd's controller at `url` learn it."""

    def __init__(
        self,
        placement: Placement,
        mailboxes: Mailboxes,
        content: ContentStore,
        url: str | None,
        password: Secret | None,
    ) -> None:
        self._placement = placement
        self._mailboxes = mailboxes
        self._content = content
        self._url = url
        self._password = password

    def note(self, user_id: UserId, mailbox_id: MailboxId, event: ChangeEvent) -> None:
        """Note what a change of a mailbox says of its messages; no round trip unless they came from another mailbox.

        Raises:
            StoreUnavailable: not noted, as far as is known; the same call again is safe.
        """
        if self._url is None or cause_of(event.entry) not in _MOVES:
            return
        try:
            entry = decode_entry(event.entry)
            is_spam = self._is_report(user_id, mailbox_id, entry)
            if is_spam is None:
                return
            stores = self._placement.home(user_id).shard
            [whole] = stores.row_blocks.resolve(user_id, mailbox_id, [entry])
        except (NotFound, StoreDamaged, LookupError) as error:  # the user or the rows are gone: nothing to learn
            log.info("spam.report_lost", extra={"user": str(user_id), "reason": type(error).__name__})
            return
        oids = whole.rows()["message_oid"][:MOST_OF_A_MOVE]
        reports = [
            SpamReport(change_key(user_id, mailbox_id, event.modseq, number), oid.tobytes(), is_spam)
            for number, oid in enumerate(oids)
        ]
        stores.spam_reports.insert(reports, now() + KEPT_FOR)

    def _is_report(self, user_id: UserId, mailbox_id: MailboxId, entry: LogEntry) -> bool | None:
        """Return what a move says: spam, none, or None: nothing, for it is no user's or concerns no Junk."""
        if entry.stamp.kind is not ActorKind.USER:
            return None
        tree = self._mailboxes.tree_cached(user_id)
        junk, trash = tree.find_special(SpecialUse.JUNK), tree.find_special(SpecialUse.TRASH)
        if junk is None or mailbox_id == entry.mailbox:
            return None
        if junk.id == mailbox_id:
            return True
        if junk.id == entry.mailbox and (trash is None or trash.id != mailbox_id):
            return False
        return None

    def learn(self) -> int:
        """Hand over what is noted, and return how much was learned; stops where the filter is away.

        Raises:
            StoreUnavailable: a shard is away.
        """
        if self._url is None:
            return 0
        learned = 0
        for stores in self._placement.shards():
            try:
                while reports := stores.spam_reports.oldest(BATCH):
                    for report in reports:
                        learned += self._learn(stores, report, self._url)
            except FilterAway as error:
                log.warning("spam.filter_away", extra={"reason": str(error)})
                break
        return learned

    def _learn(self, stores: ShardStores, report: SpamReport, url: str) -> bool:
        """Hand one message over; what the filter does not want, or nobody has any more, is forgotten."""
        try:
            content = self._content.open(report.user_id, report.message_oid)
            if content.size_bytes > MAX_MESSAGE_BYTES:
                raise MessageNotFound(report.user_id)
            raw = b"".join(content.read())
        except NotFound:
            stores.spam_reports.delete(report)
            return False
        headers = [("Password", self._password.reveal_text())] if self._password is not None else []
        answer = post(url, "/learnspam" if report.is_spam else "/learnham", raw, headers)
        if answer.is_fault:
            raise FilterAway(f"status {answer.status}: {answer.body[:200]!r}")
        if not answer.is_success:
            log.warning("spam.not_learned", extra={"status": answer.status, "reason": repr(answer.body[:200])})
        stores.spam_reports.delete(report)
        return answer.is_success
