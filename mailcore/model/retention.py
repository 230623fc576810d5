"""Rules on how long mail is kept after nobody can see it any more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from mailcore.model.ids import MailboxId

DEFAULT_PURGE_AFTER = timedelta(days=25)
"""For so long an expunged message can be restored."""
NO_TIME = timedelta(0)


@dataclass(frozen=True, slots=True)
class RetentionRule:
    """What a tenant or a user asks for; None and nothing where they ask for nothing.

    Attributes:
        purge_after: how long an expunged message can be restored.
        keep_for: how long after its arrival a message is kept, whoever expunged it.
        mailbox_keep_for: the same for what was expunged from single mailboxes.
        legal_hold: nothing is destroyed.
    """

    purge_after: timedelta | None = None
    keep_for: timedelta = NO_TIME
    mailbox_keep_for: Mapping[MailboxId, timedelta] = field(default_factory=dict)
    legal_hold: bool = False

    @property
    def effective_purge_after(self) -> timedelta:
        """The purge period where this rule is the tenant's."""
        return DEFAULT_PURGE_AFTER if self.purge_after is None else self.purge_after


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """The rules that hold for one user."""

    purge_after: timedelta
    keep_for: timedelta
    mailbox_keep_for: Mapping[MailboxId, timedelta]
    legal_hold: bool

    @classmethod
    def of(cls, tenant: RetentionRule, user: RetentionRule) -> RetentionPolicy:
        """Join the rules of tenant and user: the longer time counts."""
        return cls(
            purge_after=max(tenant.effective_purge_after, user.purge_after or NO_TIME),
            keep_for=max(tenant.keep_for, user.keep_for),
            mailbox_keep_for=user.mailbox_keep_for,
            legal_hold=tenant.legal_hold or user.legal_hold,
        )

    def keep_for_in(self, mailbox_id: MailboxId) -> timedelta:
        """Return how long after its arrival a message of a mailbox is kept."""
        return max(self.keep_for, self.mailbox_keep_for.get(mailbox_id, NO_TIME))
