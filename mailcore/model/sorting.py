"""In which order messages are wanted (RFC 5256 §3), and how they hang together (RFC 5256 §4)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class SortKey(StrEnum):
    """What messages are ordered by; the names are the RFC's."""

    ARRIVAL = "ARRIVAL"
    CC = "CC"
    DATE = "DATE"
    FROM = "FROM"
    SIZE = "SIZE"
    SUBJECT = "SUBJECT"
    TO = "TO"
    DISPLAYFROM = "DISPLAYFROM"
    DISPLAYTO = "DISPLAYTO"


@dataclass(frozen=True, slots=True)
class SortOrder:
    """One criterion; where it ties the next one decides, at last the place in the mailbox."""

    key: SortKey
    reverse: bool = False


class ThreadAlgorithm(StrEnum):
    """How threads are found."""

    ORDEREDSUBJECT = "ORDEREDSUBJECT"
    REFERENCES = "REFERENCES"


@dataclass(slots=True)
class Forest:
    """Threads as trees of nodes.

    Attributes:
        rows: for each node the row of its message, -1 where a message is missing.
        children: for each node its children in their order.
        roots: the threads in their order.
    """

    rows: list[int] = field(default_factory=list)
    children: list[list[int]] = field(default_factory=list)
    roots: list[int] = field(default_factory=list)
