"""What a filter said of a message: whether it is spam, and how sure it was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SPAM_SCORE: Final = 6.0
"""From this score on the filter marks a message as spam; rspamd's "add header"."""
MIDDLE: Final = 50
ALL_SPAM: Final = 0
NO_SPAM: Final = 100


@dataclass(frozen=True, slots=True)
class Verdict:
    """One filter's word."""

    score: float
    is_spam: bool
    """What the filter itself decided."""
    action: str = ""
    symbols: tuple[str, ...] = ()

    def is_junk(self, spam_level: int) -> bool:
        """Return whether the message belongs in a user's Junk mailbox.

        At level 50 the filter decides. Below it takes less score, down to level 0, which takes everything for
        spam; above it takes more, half as much again at 67, twice as much at 75, and at 100 nothing is spam.
        """
        if spam_level <= ALL_SPAM or spam_level >= NO_SPAM:
            return spam_level <= ALL_SPAM
        if spam_level == MIDDLE:
            return self.is_spam
        if spam_level < MIDDLE:
            return self.is_spam or self.score >= SPAM_SCORE * spam_level / MIDDLE
        return self.is_spam and self.score >= SPAM_SCORE * MIDDLE / (NO_SPAM - spam_level)
