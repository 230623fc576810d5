"""Wildcards of LIST (RFC 9051 §6.3.9): all ways to match are followed at once, so matching is linear in the name."""

from __future__ import annotations

import re

from mailcore.model.ids import MailboxName

_RUN = re.compile(r"[*%]+")
_INBOX = "INBOX"


class MailboxPattern:
    """A pattern, once read, for any number of names; `*` matches anything, `%` all but the delimiter."""

    __slots__ = ("_accepting", "_literals", "_percents", "_stars", "_states", "has_percent", "text")

    def __init__(self, text: str) -> None:
        tokens = _RUN.sub(lambda run: "*" if "*" in run[0] else "%", text)
        self.text = text
        self.has_percent = "%" in tokens
        self._literals: dict[str, int] = {}
        self._stars = self._percents = 0
        for index, symbol in enumerate(tokens):
            bit = 1 << index
            if symbol == "*":
                self._stars |= bit
            elif symbol == "%":
                self._percents |= bit
            else:
                self._literals[symbol] = self._literals.get(symbol, 0) | bit
        self._accepting = len(tokens)
        self._states = self._close(1)

    def matches(self, name: MailboxName) -> bool:
        """Whether the whole name matches; INBOX does in any case."""
        if self._run(name):
            return True
        if not name.startswith(_INBOX) or not self.text.upper().startswith(_INBOX) or self.text.startswith(_INBOX):
            return False
        return MailboxPattern(_INBOX + self.text[len(_INBOX) :]).matches(name)

    def _close(self, states: int) -> int:
        """A wildcard may match nothing; two never stand side by side."""
        return states | (states & (self._stars | self._percents)) << 1

    def _run(self, name: str) -> bool:
        wildcards = (self._stars | self._percents).bit_count()
        if self._accepting - wildcards > len(name):
            return False
        states = self._states
        for character in name:
            stay = self._stars if character == "/" else self._stars | self._percents
            states = self._close((states & stay) | (states & self._literals.get(character, 0)) << 1)
            if not states:
                return False
        return bool(states >> self._accepting & 1)
