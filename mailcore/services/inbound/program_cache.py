"""Compiled rules and scripts that this process remembers, by their versions."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from bson import ObjectId

from mailcore.errors import ScriptInvalid, ValueInvalid
from mailcore.model.filter import FilterSet, Rule
from mailcore.services.inbound.programs import NONE, Origin, Program, ProgramFault, Programs
from mailcore.services.inbound.rule_scripts import compile_rule
from mailcore.services.process.offload import Offload
from mailcore.sieve import compile_script
from mailcore.store.placement import Home, Placement
from mailcore.store.user.filter_sets import FilterSets

MAX_AGE_S: Final = 300.0
"""A change whose author died before telling of it is seen after so long."""
MAX_WEIGHT: Final = 64 << 20
"""Bytes of memory that all of them take, about."""
WEIGHT_OF_RULE: Final = 8 << 10
WEIGHT_OF_BYTE: Final = 40
"""Of a script's text."""
OFFLOADED: Final = 40 * WEIGHT_OF_RULE
"""What weighs so much takes over 5 ms to compile."""
TOLD_EVERY_S: Final = 3600.0
MAX_TOLD: Final = 10_000


@dataclass(frozen=True, slots=True)
class _Known:
    told: int
    """The number in the owner's document."""
    version: int
    """Of what was compiled."""
    programs: tuple[Program, ...]
    read_at: float
    weight: int


class ProgramCache:
    """What owners have, least recently used forgotten first."""

    def __init__(self, placement: Placement, offload: Offload, clock: Callable[[], float] = time.monotonic) -> None:
        self._placement = placement
        self._offload = offload
        self._clock = clock
        self._known: OrderedDict[ObjectId, _Known] = OrderedDict()
        self._weight = 0
        self._told: dict[tuple[ObjectId, str], float] = {}

    def programs_for(self, home: Home) -> Programs:
        """Return a user's programs; see `Filters.programs_for`."""
        if not home.filters_version and not home.tenant_filters_version:
            return NONE
        tenants: tuple[Program, ...] = ()
        own: tuple[Program, ...] = ()
        if home.tenant_filters_version:
            sets = self._placement.directory.tenant_filters
            tenants = self._of(home.tenant_id, home.tenant_filters_version, sets, Origin.TENANT)
        if home.filters_version:
            own = self._of(home.user_id, home.filters_version, home.shard.filters, Origin.USER)
            if not home.scripts_run:
                own = tuple(program for program in own if program.origin is not Origin.SCRIPT)
        return Programs(tenants + own)

    def untold(self, home: Home, faults: Sequence[ProgramFault]) -> list[ProgramFault]:
        """Return those faults that the user was not told of lately, and note that it is told now.

        Of many that fail for one reason, such as all that come too late, the first is told.
        """
        at = self._clock()
        fresh = []
        for fault in faults:
            key = (home.user_id, fault.what)
            if at >= self._told.get(key, 0.0):
                if len(self._told) >= MAX_TOLD:
                    self._told.clear()
                self._told[key] = at + TOLD_EVERY_S
                fresh.append(fault)
        return fresh

    def _of(self, owner_id: ObjectId, told: int, sets: FilterSets, origin: Origin) -> tuple[Program, ...]:
        known = self._known.get(owner_id)
        if known is not None and known.told == told and self._clock() < known.read_at + MAX_AGE_S:
            self._known.move_to_end(owner_id)
            return known.programs
        read_at = self._clock()
        found = sets.read_acting(owner_id)
        if known is not None and known.version == found.version:
            programs, weight = known.programs, known.weight
        else:
            weight = _weight(found)
            programs = self._compiled(found, origin, weight)
        self._remember(owner_id, _Known(told, found.version, programs, read_at, weight))
        return programs

    def _compiled(self, found: FilterSet, origin: Origin, weight: int) -> tuple[Program, ...]:
        if weight < OFFLOADED:
            return _compiled(found, origin)
        return self._offload.run(lambda: _compiled(found, origin))

    def _remember(self, owner_id: ObjectId, known: _Known) -> None:
        before = self._known.pop(owner_id, None)
        self._weight += known.weight - (before.weight if before is not None else 0)
        self._known[owner_id] = known
        while self._weight > MAX_WEIGHT and len(self._known) > 1:
            _, dropped = self._known.popitem(last=False)
            self._weight -= dropped.weight


def _weight(found: FilterSet) -> int:
    script = found.active_script
    return WEIGHT_OF_RULE * len(found.rules) + WEIGHT_OF_BYTE * (script.size_bytes if script is not None else 0)


def _compiled(found: FilterSet, origin: Origin) -> tuple[Program, ...]:
    programs = [_rule_program(rule, origin) for rule in found.rules if not rule.content.is_disabled]
    script = found.active_script
    if script is not None:
        try:
            programs.append(Program(Origin.SCRIPT, script.name, compile_script(script.text), asks=script.asks))
        except ScriptInvalid as error:
            programs.append(Program(Origin.SCRIPT, script.name, fault=str(error)))
    return tuple(programs)


def _rule_program(rule: Rule, origin: Origin) -> Program:
    try:
        asks = origin is Origin.USER and rule.content.asks
        return Program(origin, rule.content.name, compile_rule(rule.content), rule_id=rule.id, asks=asks)
    except ValueInvalid as error:
        return Program(origin, rule.content.name, fault=str(error), rule_id=rule.id)
