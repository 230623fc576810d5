"""Sets of UIDs or sequence numbers as sorted ranges, with set algebra (RFC 9051 §9 sequence-set)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

MAX_NUMBER = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class UidSet:
    """Disjoint, ascending, non-adjacent closed ranges of positive 32-bit numbers."""

    ranges: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, numbers: Iterable[int]) -> UidSet:
        """Build from single numbers in any order; duplicates are one."""
        ranges: list[tuple[int, int]] = []
        start = end = 0
        for number in sorted(numbers):
            if start and number <= end + 1:
                end = max(end, number)
                continue
            if start:
                ranges.append((start, end))
            start = end = number
        if start:
            ranges.append((start, end))
        return cls(tuple(ranges))

    @classmethod
    def of_ranges(cls, ranges: Iterable[tuple[int, int]]) -> UidSet:
        """Build from ranges in any order, each with its ends in any order."""
        merged: list[tuple[int, int]] = []
        for low, high in sorted((min(pair), max(pair)) for pair in ranges):
            if merged and low <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(merged[-1][1], high))
            else:
                merged.append((low, high))
        return cls(tuple(merged))

    @classmethod
    def of_ascending(cls, numbers: npt.NDArray[Any]) -> UidSet:
        """Build from an ascending array, without an object for each number."""
        if not len(numbers):
            return cls()
        if len(numbers) == 1:
            number = int(numbers[0])
            return cls(((number, number),))
        breaks = np.flatnonzero(np.diff(numbers) != 1)
        lows = numbers[np.concatenate(([0], breaks + 1))].tolist()
        highs = numbers[np.concatenate((breaks, [len(numbers) - 1]))].tolist()
        return cls(tuple(zip(lows, highs, strict=True)))

    def __bool__(self) -> bool:
        return bool(self.ranges)

    def __len__(self) -> int:
        return sum(high - low + 1 for low, high in self.ranges)

    def __iter__(self) -> Iterator[int]:
        for low, high in self.ranges:
            yield from range(low, high + 1)

    def __contains__(self, number: int) -> bool:
        low_index, high_index = 0, len(self.ranges)
        while low_index < high_index:
            middle = (low_index + high_index) // 2
            low, high = self.ranges[middle]
            if number < low:
                high_index = middle
            elif number > high:
                low_index = middle + 1
            else:
                return True
        return False

    def __or__(self, other: UidSet) -> UidSet:
        return UidSet.of_ranges(self.ranges + other.ranges)

    def __and__(self, other: UidSet) -> UidSet:
        result: list[tuple[int, int]] = []
        mine, theirs = 0, 0
        while mine < len(self.ranges) and theirs < len(other.ranges):
            low = max(self.ranges[mine][0], other.ranges[theirs][0])
            high = min(self.ranges[mine][1], other.ranges[theirs][1])
            if low <= high:
                result.append((low, high))
            if self.ranges[mine][1] < other.ranges[theirs][1]:
                mine += 1
            else:
                theirs += 1
        return UidSet(tuple(result))

    def __sub__(self, other: UidSet) -> UidSet:
        return self & other.complement()

    def complement(self, maximum: int = MAX_NUMBER) -> UidSet:
        """Return every number of 1..maximum that is not in the set."""
        result: list[tuple[int, int]] = []
        next_free = 1
        for low, high in self.ranges:
            if low > next_free:
                result.append((next_free, min(low - 1, maximum)))
            next_free = high + 1
        if next_free <= maximum:
            result.append((next_free, maximum))
        return UidSet(tuple(pair for pair in result if pair[0] <= pair[1]))

    def to_wire(self) -> bytes:
        """Return the `sequence-set` grammar form, "1:3,5"; empty for the empty set."""
        return b",".join(b"%d" % low if low == high else b"%d:%d" % (low, high) for low, high in self.ranges)


STAR = 0
"""Stands for `*` in a SequenceSet."""


@dataclass(frozen=True, slots=True)
class SequenceSet:
    """Rule `sequence-set` as a client wrote it: pairs in any order, STAR where it wrote `*`.

    Attributes:
        ranges: the pairs.
        saved: it wrote `$`, the result of its last SEARCH that saved one (RFC 5182); there are no pairs then.
    """

    ranges: tuple[tuple[int, int], ...]
    saved: bool = False

    def resolve(self, largest: int) -> UidSet:
        """Return the numbers meant when `*` is `largest` (0: nothing there, so `*` names nothing)."""
        if not largest:
            return UidSet.of_ranges(pair for pair in self.ranges if STAR not in pair)
        return UidSet.of_ranges((low or largest, high or largest) for low, high in self.ranges)
