"""Retention rules inside the documents of tenants and users."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from bson import ObjectId

from mailcore.model.ids import MailboxId
from mailcore.model.retention import RetentionRule

FIELD = "retention"
HOLD = f"{FIELD}.legal_hold"


def rule_update(rule: RetentionRule) -> dict[str, Any]:
    """Return the update that replaces a rule, and leaves a hold in place that it does not ask for."""
    fields: dict[str, Any] = {
        f"{FIELD}.purge_after_s": None if rule.purge_after is None else int(rule.purge_after.total_seconds()),
        f"{FIELD}.keep_for_s": int(rule.keep_for.total_seconds()),
        f"{FIELD}.mailbox_keep_for_s": {
            str(id_): int(time.total_seconds()) for id_, time in rule.mailbox_keep_for.items()
        },
    }
    return {"$set": fields | {HOLD: True} if rule.legal_hold else fields}


def read_rule(owner: dict[str, Any]) -> RetentionRule:
    """Return the rule in a tenant's or user's document; the empty rule if there is none."""
    stored = owner.get(FIELD)
    if stored is None:
        return RetentionRule()
    purge_after_s = stored.get("purge_after_s")
    return RetentionRule(
        purge_after=None if purge_after_s is None else timedelta(seconds=purge_after_s),
        keep_for=timedelta(seconds=stored.get("keep_for_s", 0)),
        mailbox_keep_for={
            MailboxId(ObjectId(id_)): timedelta(seconds=time_s)
            for id_, time_s in stored.get("mailbox_keep_for_s", {}).items()
        },
        legal_hold=stored.get("legal_hold", False),
    )
