"""What authoritative name servers answered: the evidence behind every word about a domain."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple


class Question(NamedTuple):
    """A name, lower-case A-labels without final dot, and a type of record such as `TXT`."""

    name: str
    kind: str


class Outcome(StrEnum):
    """What became of a question at one server."""

    RECORDS = "records"
    NOTHING = "nothing"
    """The name is there, without records of that type."""
    NO_NAME = "no name"
    REFUSED = "refused"
    """It answered, but not as one who knows the zone: SERVFAIL, REFUSED, or without authority."""
    SILENT = "silent"
    FORBIDDEN = "forbidden"
    """Its address is not a public one, so it was not asked."""


TOLD = frozenset({Outcome.RECORDS, Outcome.NOTHING, Outcome.NO_NAME})


@dataclass(frozen=True, slots=True)
class Answer:
    """What one server said.

    Attributes:
        server: the name server's name, `address`: where it was asked.
        records: as RFC 1035 text with absolute names; of TXT the strings of each record, joined and without quotes.
        ttl_s: for how long the records may be remembered.
        alias: there is a CNAME at the name, to this one.
    """

    server: str
    address: str
    asked_at: datetime
    outcome: Outcome
    records: tuple[str, ...] = ()
    ttl_s: int | None = None
    alias: str | None = None

    @property
    def is_told(self) -> bool:
        """Whether it said what is there, if only that nothing is."""
        return self.outcome in TOLD


@dataclass(frozen=True, slots=True)
class Observation:
    """What all authoritative servers of a zone said to one question; none if no zone was found.

    Attributes:
        zone: the zone that the name lies in; "" if the name belongs to none, or that could not be found out.
        is_delegated: False if it is known that there is no such zone: the domain is not registered, say.
    """

    question: Question
    zone: str
    answers: tuple[Answer, ...]
    is_delegated: bool = True

    @property
    def told(self) -> tuple[Answer, ...]:
        """The answers of servers that said what is there."""
        return tuple(answer for answer in self.answers if answer.is_told)
