"""One run of a script over one message: what it has seen, set and decided so far."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Protocol, TypeAlias

from mailcore.model.flags import FlagSet
from mailcore.model.limits import SieveLimits
from mailcore.sieve.actions import (
    Action,
    Discard,
    FileInto,
    Keep,
    MarkDuplicate,
    MarkSpam,
    Redirect,
    Reject,
    Reply,
    Vacation,
)
from mailcore.sieve.comparators import Comparator
from mailcore.sieve.environment import Environment, Transaction
from mailcore.sieve.flag_lists import flag_set
from mailcore.sieve.headers import Headers
from mailcore.sieve.message_view import MessageView
from mailcore.sieve.meter import Failed, Meter


class Ended(Exception):
    """`stop` was reached."""


class Template(Protocol):
    """A text that only a run knows."""

    def value(self, run: Run) -> str:
        """The text, as of now."""


Text: TypeAlias = str | Template


class Run:
    """The state of one run; the compiled script works on nothing else."""

    def __init__(
        self,
        message: MessageView,
        transaction: Transaction,
        environment: Environment,
        limits: SieveLimits,
        meter: Meter,
    ) -> None:
        self.message = message
        self.transaction = transaction
        self.environment = environment
        self.limits = limits
        self.headers: Headers = message.headers
        self.edited: bytes | None = None
        """The header as changed so far, None while it is the message's own."""
        self.edits = 0
        self.flags: tuple[str, ...] = ()
        """The internal variable of RFC 5232 §2."""
        self.variables: dict[str, str] = {}
        self.matched: tuple[str, ...] = ()
        """What the wildcards or groups of the last match stood for (RFC 5229 §3.2)."""
        self.duplicates: dict[bytes, bool] = {}
        """What was found of ids in this run (RFC 7352 §3)."""
        self.actions: dict[object, Action] = {}
        """By what makes two of them the same."""
        self.implicit_keep = True
        self.meter = meter
        self.spend = meter.spend

    def fold(self, comparator: Comparator, text: str) -> str:
        """A long text as the comparator sees it, folded once for a message."""
        self.spend(1)
        self.meter.pay_once((comparator.name, text), comparator.steps(text))
        return self.message.remember((comparator.name, text), lambda: comparator.fold(text))

    def look_up(self) -> Environment:
        """The environment, to ask it a question that may cost a round trip."""
        self.meter.look_up()
        return self.environment

    def do(self, action: Action) -> None:
        """Take up an action, unless the same was (RFC 5228 §2.10.3).

        Raises:
            Failed: there are too many, or it goes ill with another (RFC 5429 §2.4, RFC 5230 §4.7).
        """
        key = _identity(action)
        known = self.actions.get(key)
        if known is not None:
            self.actions[key] = _merged(known, action)
            return
        self.actions[key] = action
        kinds = Counter(map(type, self.actions.values()))
        if len(self.actions) > self.limits.actions:
            raise Failed(f"The script takes more than {self.limits.actions} actions.")
        if kinds[Redirect] > self.limits.redirects:
            raise Failed(f"The script redirects to more than {self.limits.redirects} addresses.")
        if kinds[Vacation] > 1 or kinds[Reject] > 1:
            raise Failed('Only one "vacation" and one "reject" may act on a message.')
        if kinds[Reject] and kinds.keys() & _AT_ODDS_WITH_REJECT:
            raise Failed('"reject" goes with no other action, for the sender is told that the message was not taken.')

    def assign(self, name: str, value: str) -> None:
        """Set a variable; a value that is too long is cut (RFC 5229 §6).

        Raises:
            Failed: there are too many variables.
        """
        self.variables[name] = value[: self.limits.variable_characters]
        if len(self.variables) > self.limits.variables:
            raise Failed(f"The script sets more than {self.limits.variables} variables.")

    def current_flags(self) -> FlagSet:
        """The internal variable's flags, which actions without `:flags` give."""
        return flag_set(self.flags) if self.flags else _NO_FLAGS


_NO_FLAGS = FlagSet()
_AT_ODDS_WITH_REJECT = frozenset({Keep, FileInto, Redirect, Discard, Vacation, Reply})


def _identity(action: Action) -> object:
    """What two actions share that are the same."""
    if isinstance(action, Keep):
        return FileInto, "INBOX", None, None
    if isinstance(action, FileInto):
        return FileInto, action.mailbox, action.mailbox_id, action.special_use
    if isinstance(action, Redirect):
        return Redirect, action.address.lower()
    if isinstance(action, Discard | MarkSpam):
        return type(action)
    return action.id if isinstance(action, MarkDuplicate) else object()


def _merged(first: Action, second: Action) -> Action:
    """One action for two that are the same: INBOX by name rather than `keep`, and the last flags (RFC 5232 §3)."""
    if isinstance(first, FileInto) and isinstance(second, Keep | FileInto):
        create = first.create or (isinstance(second, FileInto) and second.create)
        return replace(first, flags=second.flags, header=second.header, create=create)
    return first if isinstance(first, Redirect) else second
