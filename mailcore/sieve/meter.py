"""What scripts cost, counted: for one run, or for all that a message goes through one after the other."""

from __future__ import annotations

from mailcore.model.limits import SieveLimits


class Failed(Exception):
    """The script asks for something it cannot have, or for too much; the message tells its author."""

    line = 0
    """Of the command that failed, counted from 1; 0 where there is no text."""

    def __str__(self) -> str:
        what = super().__str__()
        return f"line {self.line}: {what}" if self.line else what


class Meter:
    """Steps and look-ups so far. Runs over the same message that share a meter share what they may use up."""

    def __init__(self, limits: SieveLimits) -> None:
        self.steps = 0
        self._lookups = 0
        self._most_steps = limits.steps
        self._most_lookups = limits.lookups
        self._paid: set[object] = set()

    def spend(self, steps: int) -> None:
        """Count steps.

        Raises:
            Failed: there were too many.
        """
        self.steps += steps
        if self.steps > self._most_steps:
            raise Failed(f"The script does too much for one message: more than {self._most_steps:,} steps.")

    def pay_once(self, what: object, steps: int) -> None:
        """Count steps for something that is done once for a message, when it is first needed."""
        if what not in self._paid:
            self._paid.add(what)
            self.spend(steps)

    def look_up(self) -> None:
        """Count a question that may cost a round trip.

        Raises:
            Failed: there were too many.
        """
        self.spend(100)
        self._lookups += 1
        if self._lookups > self._most_lookups:
            raise Failed(f"The script asks more than {self._most_lookups} times about mailboxes and duplicates.")
