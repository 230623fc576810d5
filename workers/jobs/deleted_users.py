"""Erasing deleted users whose time to be restored is over."""

from __future__ import annotations

import logging

from bson import ObjectId

from mailcore.errors import MailError
from mailcore.model.actor import SYSTEM
from mailcore.model.ids import UserId
from workers.context import JobContext

log = logging.getLogger(__name__)


def erase_due(context: JobContext) -> None:
    """Start an erasure for each user that is due."""
    for user_id in context.services.deleted_users.list_due():
        context.enqueue("users.erase", user_id=str(user_id))


def erase(context: JobContext, user_id: str) -> None:
    """Erase one user; whoever was cut off before is gone on with."""
    try:
        context.services.deleted_users.erase(SYSTEM, UserId(ObjectId(user_id)))
    except MailError as error:
        log.warning("users.erase.failed", extra={"user": user_id, "reason": type(error).__name__})
