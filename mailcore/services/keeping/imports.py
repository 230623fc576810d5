"""Imports: bringing mail over from files, so that doing it twice does not bring it twice."""

from __future__ import annotations

import hashlib
import hmac
import logging
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from mailcore.errors import (
    EncryptionFailed,
    MailboxBusy,
    MailboxExists,
    MailboxMoving,
    MailboxNameInvalid,
    MailError,
    StoreUnavailable,
    TooManyKeywords,
)
from mailcore.model.actor import Actor
from mailcore.model.changes import Cause
from mailcore.model.flags import DRAFT, SYSTEM_MASK
from mailcore.model.ids import MailboxName, UserId
from mailcore.model.limits import Limits
from mailcore.model.mailbox import INBOX, SEPARATOR, MailboxEntry, MailboxTree, SpecialUse, parse_mailbox_name
from mailcore.model.octets import Octets
from mailcore.services.content.content import ContentStore
from mailcore.services.content.encryption import Encryptions
from mailcore.services.content.prepared import PreparedMessage
from mailcore.services.content.storing import Copy, NewRowContent
from mailcore.services.keeping.import_sources import Other, SourceMailbox, SourceMessage
from mailcore.services.mailboxes.mailboxes import Mailboxes
from mailcore.services.mailboxes.messages import Messages
from mailcore.services.tenants.quotas import Quotas
from mailcore.store.placement import Home, Placement

log = logging.getLogger(__name__)

BATCH_MESSAGES = 64
BATCH_BYTES = 4 << 20
SAME_MESSAGE = 16
"""So many copies of one message a mailbox may get and still be told apart in a second import."""
PATIENCE_S = 30.0
PAUSE_S = 0.5
PART_BYTES = 255

_SPECIAL = {
    "sent": SpecialUse.SENT,
    "sent items": SpecialUse.SENT,
    "sent messages": SpecialUse.SENT,
    "spam": SpecialUse.JUNK,
    "junk e-mail": SpecialUse.JUNK,
    "junk email": SpecialUse.JUNK,
    "deleted items": SpecialUse.TRASH,
    "deleted messages": SpecialUse.TRASH,
}
"""What other systems call mailboxes that every user has."""

Result = TypeVar("Result")
Progress = Callable[[int, int], None]
"""Called with the bytes of the source read since the last call, and the messages dealt with so far."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A message that was not brought over, or a folder of them."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What an import did."""

    imported: int = 0
    present: int = 0
    """There already, from an earlier import."""
    imported_bytes: int = 0
    keywords_dropped: int = 0
    """Messages whose keywords the mailbox had no room for."""
    mailboxes: tuple[MailboxName, ...] = ()
    failures: tuple[Failure, ...] = ()
    passed_over: tuple[Other, ...] = ()
    """What lay beside the mail and is none."""


@dataclass(slots=True)
class _Target:
    """A mailbox that is being filled."""

    home: Home
    entry: MailboxEntry
    present: set[bytes]
    """Ids of the messages in it."""
    matched: set[bytes] = field(default_factory=set)
    """Ids that stand for a message of the source already."""


@dataclass(frozen=True, slots=True)
class _Item:
    """A message of the source on its way, with the ids it may get in order of preference."""

    source: SourceMessage
    prepared: PreparedMessage
    oids: tuple[bytes, ...]


class Imports:
    """Brings mail over.

    A message gets an id made of user, mailbox, content and how many like it came before: what is in
    the mailbox under that id is not brought again, so an import that was cut off goes on.
    """

    def __init__(
        self,
        placement: Placement,
        mailboxes: Mailboxes,
        messages: Messages,
        content: ContentStore,
        quotas: Quotas,
        encryptions: Encryptions,
        limits: Limits,
    ) -> None:
        self._encryptions = encryptions
        self._placement = placement
        self._mailboxes = mailboxes
        self._messages = messages
        self._content = content
        self._quotas = quotas
        self._limits = limits

    def run(
        self,
        actor: Actor,
        user_id: UserId,
        sources: Sequence[SourceMailbox],
        target: str = INBOX,
        progress: Progress = lambda _read, _done: None,
    ) -> ImportResult:
        """Bring every message of the sources into `target` and mailboxes below or beside it.

        One message is in memory at a time, or several small ones: at most 64, at most 4 MiB.
        Per batch: one insert and one commit, and two to four round trips more for attachments.

        Raises:
            OverQuota: the next batch does not fit; what came before is in.
            MailboxNameInvalid: `target` is no mailbox name.
            MailboxChanged: a mailbox was deleted meanwhile.
            StoreUnavailable: for 30 s; run it again to go on.
        """
        base = parse_mailbox_name(target)
        result = ImportResult()
        for source in sources:
            result = _with_others(result, source)
            if not source.files and (source.kind != "maildir" or (not source.path and len(sources) > 1)):
                continue
            try:
                name = mailbox_name(self._mailboxes.tree(user_id), base, source.path)
                filling = self._open(actor, user_id, name)
            except MailboxNameInvalid as error:
                if not source.path:
                    raise
                failure = Failure("/".join(source.path), f"no mailbox can have this name ({error.details[0]})")
                result = replace(result, failures=(*result.failures, failure))
                continue
            result = replace(result, mailboxes=(*result.mailboxes, name))
            for batch, read_bytes, more in self._batches(filling, source):
                result = replace(
                    result, failures=(*result.failures, *more.failures), present=result.present + more.present
                )
                if batch:
                    result = self._bring(actor, filling, batch, result)
                progress(read_bytes, result.imported + result.present + len(result.failures))
        log.info(
            "import.done",
            extra={
                "user": str(user_id),
                "imported": result.imported,
                "present": result.present,
                "failed": len(result.failures),
                "actor": actor.identity,
            },
        )
        return result

    def _open(self, actor: Actor, user_id: UserId, name: MailboxName) -> _Target:
        try:
            self._mailboxes.create(user_id, actor, name, subscribed=True)
        except MailboxExists:
            pass
        entry = self._mailboxes.find(user_id, name)
        view = self._mailboxes.refresh(user_id, entry.id)
        present = {oid.tobytes() for oid in view.message_oids}
        return _Target(self._placement.home(user_id), entry, present)

    def _batches(self, target: _Target, source: SourceMailbox) -> Iterator[tuple[list[_Item], int, ImportResult]]:
        """Yield batches of what is not there yet, the bytes read for each, and what was found meanwhile."""
        batch: list[_Item] = []
        failures: list[Failure] = []
        size = read = present = 0
        for message, read_bytes in source.messages(self._limits.message_bytes):
            read += read_bytes
            if message.failure is not None:
                failures.append(Failure(message.name, message.failure))
            else:
                oids = _candidates(target, message.raw)
                known = next((oid for oid in oids if oid in target.present and oid not in target.matched), None)
                if known is not None:
                    target.matched.add(known)
                    present += 1
                else:
                    free = tuple(oid for oid in oids if oid not in target.present and oid not in target.matched)
                    try:
                        prepared = self._content.prepare(self._as_stored(target, message))
                    except EncryptionFailed as error:
                        failures.append(Failure(message.name, f"cannot be encrypted: {error}"))
                    else:
                        batch.append(_Item(message, prepared, free))
                        target.matched.update(free[:1])
                        size += len(message.raw)
            if len(batch) >= BATCH_MESSAGES or size >= BATCH_BYTES or read >= BATCH_BYTES:
                yield batch, read, ImportResult(present=present, failures=tuple(failures))
                batch, failures, size, read, present = [], [], 0, 0, 0
        yield batch, read, ImportResult(present=present, failures=tuple(failures))

    def _as_stored(self, target: _Target, message: SourceMessage) -> Octets:
        """Return a message as the mailbox keeps it; its id is made of what it was, so that it is found again."""
        if message.flags.system & DRAFT:
            return message.raw
        return self._encryptions.as_stored(target.home.encryption, target.entry, message.raw)

    def _bring(self, actor: Actor, target: _Target, batch: Sequence[_Item], result: ImportResult) -> ImportResult:
        """Store a batch and commit its rows, where there is room for it."""
        with self._quotas.reserved(target.home.user_id, sum(len(item.source.raw) for item in batch)):
            return self._brought(actor, target, batch, result)

    def _brought(self, actor: Actor, target: _Target, batch: Sequence[_Item], result: ImportResult) -> ImportResult:
        """Do so; once more if the user is moved to another shard meanwhile."""
        user_id = target.home.user_id
        give_up_at = time.monotonic() + PATIENCE_S
        while True:
            stored = list(zip(batch, self._store(target, batch), strict=True))
            kept = [(item, content) for item, content in stored if not isinstance(content, MailError)]
            try:
                dropped = self._commit(actor, target, kept) if kept else 0
            except MailboxMoving:
                if time.monotonic() >= give_up_at:
                    raise
                time.sleep(PAUSE_S)
                self._placement.forget(user_id)
                target.home = self._placement.home(user_id)
            else:
                break
        failed = [
            Failure(item.source.name, str(error) or type(error).__name__)
            for item, error in stored
            if isinstance(error, MailError)
        ]
        return replace(
            result,
            imported=result.imported + len(kept),
            imported_bytes=result.imported_bytes + sum(content.size_bytes for _, content in kept),
            keywords_dropped=result.keywords_dropped + dropped,
            failures=(*result.failures, *failed),
        )

    def _commit(self, actor: Actor, target: _Target, kept: Sequence[tuple[_Item, NewRowContent]]) -> int:
        """Add rows to the mailbox; return how many lost their keywords because it has no room for more."""
        now = int(time.time())
        rows = [
            content.row(item.source.flags.system & SYSTEM_MASK, now, item.source.internal_date)
            for item, content in kept
        ]
        names = [item.source.flags.keywords for item, _ in kept]
        key = hashlib.sha256(b"import" + b"".join(row.message_oid for row in rows)).digest()[:16]

        def commit(keywords: Sequence[Sequence[str]] | None) -> None:
            self._messages.commit_rows(
                target.home.user_id, target.entry.id, rows, Cause.IMPORT, actor, key, keywords=keywords
            )

        try:
            _patiently(lambda: commit(names))
        except TooManyKeywords:
            _patiently(lambda: commit(None))
            return sum(1 for row_names in names if row_names)
        return 0

    def _store(self, target: _Target, batch: Sequence[_Item]) -> list[NewRowContent | MailError]:
        """Store messages; what an earlier attempt left behind is never used, for it may be about to be collected."""
        copies = [Copy(target.home, item.prepared, item.oids[0] if item.oids else None) for item in batch]
        outcomes = self._content.put_many(copies)
        for index, item in enumerate(batch):
            outcome = outcomes[index]
            if isinstance(outcome, StoreUnavailable) or (not isinstance(outcome, MailError) and outcome.existed):
                outcomes[index] = _patiently(lambda item=item: self._store_again(target, item))  # type: ignore[misc]
        return outcomes

    def _store_again(self, target: _Target, item: _Item) -> NewRowContent:
        for oid in item.oids[1:]:
            content = self._content.put(target.home, item.prepared, oid)
            if not content.existed:
                target.matched.add(oid)
                return content
        return self._content.put(target.home, item.prepared)


def _with_others(result: ImportResult, source: SourceMailbox) -> ImportResult:
    """Return a result that tells what lies beside the mail of a source: what could not be looked at is a failure."""
    faults = tuple(Failure(other.name, other.reason) for other in source.others if other.is_fault)
    passed = tuple(other for other in source.others if not other.is_fault)
    return replace(result, failures=result.failures + faults, passed_over=result.passed_over + passed)


def mailbox_name(tree: MailboxTree, base: MailboxName, path: Sequence[str]) -> MailboxName:
    """Return the mailbox a folder of the source goes to: under `base`, or beside it if that is INBOX.

    What other systems call Sent or Spam goes to the user's own mailbox for that, unless one of the
    very name exists.

    Raises:
        MailboxNameInvalid: too deep.
    """
    if not path:
        return base
    parts = [_clean_part(part) for part in path]
    if base != INBOX:
        parts.insert(0, base)
    name = parse_mailbox_name(SEPARATOR.join(parts))
    use = _SPECIAL.get(name.casefold())
    special = tree.find_special(use) if use is not None and tree.find(name) is None else None
    return special.name if special is not None else name


def _clean_part(part: str) -> str:
    """Return one part of a name as mailbox names take it."""
    text = "".join(
        "_" if character == SEPARATOR or unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} else character
        for character in unicodedata.normalize("NFC", part)
    )
    return text.encode()[:PART_BYTES].decode("utf-8", "ignore") or "_"


def _candidates(target: _Target, raw: bytes) -> tuple[bytes, ...]:
    """Return the ids a message may have in a mailbox: one for each copy of it that may come."""
    digest = hashlib.sha256(raw).digest()
    owner = target.home.user_id.binary + target.entry.id.binary
    return tuple(
        hmac.digest(owner, b"import" + digest + number.to_bytes(2), "sha256")[:12] for number in range(SAME_MESSAGE)
    )


def _patiently(work: Callable[[], Result]) -> Result:
    """Try again while the store is away, for half a minute: a failover takes seconds."""
    give_up_at = time.monotonic() + PATIENCE_S
    while True:
        try:
            return work()
        except (StoreUnavailable, MailboxBusy):
            if time.monotonic() >= give_up_at:
                raise
            time.sleep(PAUSE_S)
