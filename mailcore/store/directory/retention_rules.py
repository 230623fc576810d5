"""Retention rules inside the documents of tenants and users."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from bson import ObjectId

from mailcore.model.ids import MailboxId
from mailcore.model.retention import RetentionRule

FIELD = "retention"


def rule_document(rule: RetentionRule) -> dict[str, Any]:
    """Return the stored form of a rule."""
    return {
        "purge_after_s": None if rule.purge_after is None else int(rule.purge_after.total_seconds()),
        "keep_for_s": int(rule.keep_for.total_seconds()),
        "mailbox_keep_for_s": {str(id_): int(time.total_seconds()) for id_, time in rule.mailbox_keep_for.items()},
        "legal_hold": rule.legal_hold,
    }


def read_rule(owner: dict[str, Any]) -> RetentionRule:
    """Return the rule in a tenant's or user's document; the empty rule if there is none."""
    stored = owner.get(FIELD)
    if stored is None:
        return RetentionRule()
    purge_after_s = stored["purge_after_s"]
    return RetentionRule(
        purge_after=None if purge_after_s is None else timedelta(seconds=purge_after_s),
        keep_for=timedelta(seconds=stored["keep_for_s"]),
        mailbox_keep_for={
            MailboxId(ObjectId(id_)): timedelta(seconds=time_s) for id_, time_s in stored["mailbox_keep_for_s"].items()
        },
        legal_hold=stored["legal_hold"],
    )
