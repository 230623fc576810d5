"""What a user's mail goes through: the tenant's rules, the user's own, then the user's script, run as one.

Of several rules that match, the first that names a mailbox decides, and so does the first that says whether it is
spam; what deletes, deletes. Flags, forwards and replies add up. A rule that stops ends everything. The script
sees what no rule has filed or deleted, and the flags that rules gave hold for its copies too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from bson import ObjectId

from mailcore.model.flags import FlagSet
from mailcore.model.limits import DEFAULT_LIMITS
from mailcore.model.onward_target import target_key
from mailcore.sieve import (
    Action,
    Discard,
    Environment,
    FileInto,
    Keep,
    MarkSpam,
    MessageView,
    Meter,
    Outcome,
    Redirect,
    Script,
    Transaction,
)


class Origin(StrEnum):
    """Whose word a program is."""

    TENANT = "tenant"
    USER = "user"
    SCRIPT = "script"


@dataclass(frozen=True, slots=True)
class Program:
    """One rule or script, compiled; without `script` it could not be, and `fault` says why."""

    origin: Origin
    name: str
    script: Script | None = field(repr=False, default=None)
    fault: str = ""
    rule_id: ObjectId | None = None
    asks: bool = False
    """A user chose where it sends mail."""


@dataclass(frozen=True, slots=True)
class ProgramFault:
    """Why one of them had no say; for its owner to read."""

    program: Program
    what: str


@dataclass(frozen=True, slots=True)
class Ruling:
    """What all of them together want.

    Attributes:
        actions: of all, in order, without contradictions; the place is a Keep, FileIntos, or a lone Discard.
        implicit_keep: nobody said where it goes: that is the last Keep.
        is_spam: what the first of them said of it; None: nobody did.
        faults: of those that failed; they count as if they were not there.
        vouched: keys of targets that a program names which asks for nothing.
    """

    actions: tuple[Action, ...]
    implicit_keep: bool = True
    is_spam: bool | None = None
    matched: tuple[Program, ...] = ()
    faults: tuple[ProgramFault, ...] = ()
    steps: int = 0
    vouched: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Programs:
    """In the order in which they run; empty is false, and leaves every message as it is."""

    programs: tuple[Program, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.programs)

    def run(self, message: MessageView, transaction: Transaction, environment: Environment) -> Ruling:
        """Decide what becomes of a message; whatever they do, there is a ruling.

        All together they may cost what one script may. What callables of the environment raise is passed on.
        """
        course = _Course()
        meter = Meter(DEFAULT_LIMITS.sieve)
        for program in self.programs:
            if course.ended or (program.origin is Origin.SCRIPT and course.is_placed):
                break
            if program.script is None:
                course.faults.append(ProgramFault(program, program.fault))
                continue
            if course.is_spam is not None and environment.is_spam is not course.is_spam:
                environment = replace(environment, is_spam=course.is_spam)
            course.take(program, program.script.run(message, transaction, environment, meter))
        return course.ruling()


NONE: Final = Programs()
_NO_FLAGS = FlagSet()


class _Course:
    """How far a message has come."""

    def __init__(self) -> None:
        self.placed: tuple[Keep | FileInto, ...] = ()
        self.deleted = False
        self.flags = _NO_FLAGS
        self.others: list[Action] = []
        self.vouched: set[str] = set()
        self.is_spam: bool | None = None
        self.implicit_keep = True
        self.matched: list[Program] = []
        self.faults: list[ProgramFault] = []
        self.steps = 0
        self.ended = False

    @property
    def is_placed(self) -> bool:
        """Whether somebody said where it goes."""
        return self.deleted or bool(self.placed)

    def take(self, program: Program, outcome: Outcome) -> None:
        """Take up what a program wants."""
        self.steps += outcome.steps
        if outcome.error is not None:
            self.faults.append(ProgramFault(program, outcome.error))
            return
        places = [action for action in outcome.actions if isinstance(action, Keep | FileInto)]
        changes = tuple(action for action in outcome.actions if not isinstance(action, Keep | FileInto))
        if changes or not outcome.implicit_keep or outcome.stopped or any(place.flags != _NO_FLAGS for place in places):
            self.matched.append(program)
        self._note(changes)
        if not program.asks:
            self.vouched.update(target_key(action.address) for action in changes if isinstance(action, Redirect))
        if program.origin is Origin.SCRIPT:
            self._place_by_script(places, outcome)
        else:
            self._place_by_rule(places, outcome)
        self.ended = outcome.stopped

    def _note(self, changes: Iterable[Action]) -> None:
        for action in changes:
            if isinstance(action, MarkSpam):
                self.is_spam = action.is_spam if self.is_spam is None else self.is_spam
            elif not isinstance(action, Discard) and not self._is_known(action):
                self.others.append(action)

    def _is_known(self, action: Action) -> bool:
        """Return whether a forward goes where one goes already, or the same is wanted already."""
        if isinstance(action, Redirect):
            key = target_key(action.address)
            return any(isinstance(one, Redirect) and target_key(one.address) == key for one in self.others)
        return action in self.others

    def _place_by_rule(self, places: list[Keep | FileInto], outcome: Outcome) -> None:
        for place in places:
            self.flags = _united(self.flags, place.flags)
        if any(isinstance(action, Discard) for action in outcome.actions):
            self.deleted = True
        elif not outcome.implicit_keep and not self.is_placed:
            self.placed = tuple(places)

    def _place_by_script(self, places: list[Keep | FileInto], outcome: Outcome) -> None:
        self.implicit_keep = outcome.implicit_keep
        self.placed = tuple(places)
        self.deleted = not places and any(isinstance(action, Discard) for action in outcome.actions)

    def ruling(self) -> Ruling:
        """Return what it all comes to."""
        places: tuple[Action, ...]
        if self.deleted:
            places, implicit = (Discard(),), False
        elif self.placed or not self.implicit_keep:
            places = tuple(replace(place, flags=_united(self.flags, place.flags)) for place in self.placed)
            implicit = self.implicit_keep and any(isinstance(place, Keep) for place in places)
        else:
            places, implicit = (Keep(flags=self.flags),), True
        actions = (*self.others, *places)
        matched, faults = tuple(self.matched), tuple(self.faults)
        return Ruling(actions, implicit, self.is_spam, matched, faults, self.steps, frozenset(self.vouched))


def _united(one: FlagSet, other: FlagSet) -> FlagSet:
    """Return the flags of both; of a keyword in two cases the first."""
    if other in (one, _NO_FLAGS):
        return one
    keywords = {name.lower(): name for name in (*other.keywords, *one.keywords)}
    return FlagSet(one.system | other.system, tuple(keywords.values()))
