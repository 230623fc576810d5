"""The automatic reply that a user has set up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Autoreply:
    """What is answered, and when.

    Attributes:
        is_on: whether anything is answered at all.
        name: display name of the sender, "" for the user's own.
        subject: "" to make it from the subject of what is answered.
        start: nothing is answered before; None: at once.
        end: nothing is answered from then on; None: for ever.
    """

    is_on: bool = False
    name: str = ""
    subject: str = ""
    text: str = ""
    html: str = ""
    start: datetime | None = None
    end: datetime | None = None
    created_at: datetime | None = None

    def holds_at(self, moment: datetime) -> bool:
        """Whether it is answered at this moment."""
        return self.is_on and (self.start is None or self.start <= moment) and (self.end is None or moment < self.end)
