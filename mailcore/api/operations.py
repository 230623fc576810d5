"""THE table of the API."""

from __future__ import annotations

from typing import Final

from mailcore.api import health, mailboxes, message, messages, search, users
from mailcore.api.operation import Operation

ALL: Final[tuple[Operation, ...]] = (
    *users.OPERATIONS,
    *mailboxes.OPERATIONS,
    *messages.OPERATIONS,
    *message.OPERATIONS,
    *search.OPERATIONS,
    *health.OPERATIONS,
)
