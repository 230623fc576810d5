"""Messages on their way out: what is queued, for whom, and how far each recipient is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, NewType
from urllib.parse import urlsplit

from mailcore.model.ids import TenantId, UserId

QueueId = NewType("QueueId", str)
"""24 hexadecimal digits; names one queued message of one user."""


class Reason(StrEnum):
    """Why a message goes out."""

    SUBMISSION = "submission"
    API = "api"
    FORWARD = "forward"
    AUTOREPLY = "autoreply"
    REPORT = "report"
    MODERATION = "moderation"
    NOTICE = "notice"


AUTHORED: Final = frozenset({Reason.SUBMISSION, Reason.API})
"""What somebody wrote and had sent."""
HELD_WITH_SENDER: Final = AUTHORED | {Reason.FORWARD, Reason.MODERATION}
"""What waits while the mail of whom it goes out for is held: that it comes from elsewhere helps nobody who gets it."""
BURST: Final = "burst"
"""Why mail is held that a user sends far faster than people do."""
SENDING_HOLD: Final = "sending hold"
"""Why mail is held while all outgoing mail of its sender is."""
HELD_FOR_ABUSE: Final = frozenset({BURST, SENDING_HOLD})


class Notify(StrEnum):
    """When a sender wants to hear of a recipient (RFC 3461 §4.1); NEVER is the empty set."""

    SUCCESS = "success"
    FAILURE = "failure"
    DELAY = "delay"


class ReturnContent(StrEnum):
    """How much of the message a report carries (RFC 3461 §4.3)."""

    FULL = "full"
    HEADERS = "hdrs"


class EntryState(StrEnum):
    """How far a queued message is."""

    QUEUED = "queued"
    HELD = "held"
    DONE = "done"
    CANCELLED = "cancelled"


class RecipientState(StrEnum):
    """How far one recipient of it is."""

    QUEUED = "queued"
    SENT = "sent"
    """The next server took it over, or it lies in a mailbox here."""
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class OutboundRecipient:
    """A forward-path.

    Attributes:
        notify: when the sender wants a report; None: the sender did not say, so of failures and delays.
        original_recipient: value of ORCPT, decoded, with its type: `rfc822;ann@example.org` (RFC 3461 §4.2).
    """

    address: str
    notify: frozenset[Notify] | None = None
    original_recipient: str | None = None


@dataclass(frozen=True, slots=True)
class NewOutbound:
    """A message to be queued.

    Attributes:
        user_id: on whose behalf it goes out; the entry lies on this user's shard.
        reverse_path: "" is the null reverse-path, to which no report is ever sent.
        message: complete bytes as they go out.
        key: the same key of the same user is the same entry, stored and sent once.
        not_before: nothing is sent earlier.
        delay_s: nothing is sent for so long, by the database's clock; may be cancelled meanwhile.
        held: why it waits until somebody releases it.
        is_utf8: SMTPUTF8 was asked for (RFC 6531 §3.4).
        header_message_id: the Message-ID field in its angle brackets, for the trace; "" where it is not known.
        via: URL of a forwarding target that it goes to, wherever its recipients are; "" is their domains' way.
        of_tenant: it is sent on for an address of the tenant; that it lies with this user says nothing of the user.
        group: canonical address of the group whose moderators decide about it, "" if none do.
        subject: how the Subject begins, for the sender alone; "" where nobody here wrote it.
    """

    user_id: UserId
    tenant_id: TenantId
    reverse_path: str
    forward_paths: tuple[OutboundRecipient, ...]
    message: bytes
    reason: Reason
    key: bytes
    not_before: datetime | None = None
    delay_s: float = 0
    held: str | None = None
    return_content: ReturnContent | None = None
    envelope_id: str | None = None
    is_utf8: bool = False
    header_message_id: str = ""
    via: str = ""
    of_tenant: bool = False
    group: str = ""
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """The last that was heard of a recipient.

    Attributes:
        code: reply code of SMTP; 0 where nobody answered.
        enhanced: status of RFC 3463, ours where the other end gave none.
        remote: host and address that answered, "" if none was reached.
    """

    code: int
    enhanced: str
    text: str
    remote: str = ""

    @property
    def is_positive(self) -> bool:
        """Whether the message was taken over."""
        return self.enhanced.startswith("2")

    @property
    def is_final(self) -> bool:
        """Whether another try would end no better."""
        return self.enhanced.startswith("5")


@dataclass(frozen=True, slots=True)
class RecipientStatus:
    """One recipient of an entry as it stands.

    Attributes:
        due_at: when it is tried next.
        is_local: it lies in a mailbox here.
        relayed_dsn: the next server promised to send reports itself.
        reported: of what the sender was told: "failed", "delayed", "sent".
    """

    address: str
    notify: frozenset[Notify] | None
    original_recipient: str | None
    state: RecipientState
    attempts: int = 0
    due_at: datetime | None = None
    last_at: datetime | None = None
    answer: Answer | None = None
    is_local: bool = False
    relayed_dsn: bool = False
    reported: frozenset[str] = frozenset()

    @property
    def domain(self) -> str:
        """What is right of the last @, as it was given."""
        return self.address.rpartition("@")[2]

    def wants(self, what: Notify) -> bool:
        """Whether the sender wants to hear of it; of failures and delays unless told otherwise."""
        return what is not Notify.SUCCESS if self.notify is None else what in self.notify


@dataclass(frozen=True, slots=True)
class OutboundEntry:
    """A queued message as it stands; its content is read apart.

    Attributes:
        next_at: when a relay takes it next, or its lease ends; None if never.
        lease: number of the last lease.
        is_leased: a relay has it, or died with it.
        actor: who queued it.
        group: canonical address of the group whose moderators decide about it.
        subject: how the Subject begins, for the sender alone.
    """

    id: QueueId
    user_id: UserId
    tenant_id: TenantId
    reason: Reason
    state: EntryState
    held: str | None
    reverse_path: str
    recipients: tuple[RecipientStatus, ...]
    size_bytes: int
    sha256: bytes
    header_message_id: str
    envelope_id: str | None
    return_content: ReturnContent | None
    is_utf8: bool
    has_8bit: bool
    has_utf8_header: bool
    created_at: datetime
    expires_at: datetime
    next_at: datetime | None
    lease: int
    is_leased: bool
    actor: str = ""
    via: str = ""
    of_tenant: bool = False
    group: str = ""
    subject: str = ""

    @property
    def place(self) -> tuple[datetime, bytes]:
        """Where it stands among all that are queued: no two entries have the same, however many came at once."""
        return self.created_at, self.user_id.binary + bytes.fromhex(self.id)

    @property
    def target_host(self) -> str:
        """Where the forwarding target is that it goes to, "" if to none; the rest of its URL may be a secret."""
        return urlsplit(self.via).hostname or ""


@dataclass(frozen=True, slots=True)
class WaitingPost:
    """A post to a group that its moderators have to decide about; one to many members is several of these.

    Attributes:
        user_id: in whose queue it lies.
        sha256: of the message; the same in each of the parts that a post to many members is queued in.
        told: moderators who were written to.
    """

    id: QueueId
    user_id: UserId
    tenant_id: TenantId
    group: str
    header_message_id: str
    sha256: bytes
    told: frozenset[UserId]
