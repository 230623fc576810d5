"""THE table of the API."""

from __future__ import annotations

from typing import Final

from mailcore.api import health, mailboxes, message, messages, search
from mailcore.api.operation import Operation

ALL: Final[tuple[Operation, ...]] = (
    *mailboxes.OPERATIONS,
    *messages.OPERATIONS,
    *message.OPERATIONS,
    *search.OPERATIONS,
    *health.OPERATIONS,
)
