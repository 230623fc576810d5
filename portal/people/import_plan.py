"""What would come of a list of people: every line checked, nothing changed."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from mailcore.errors import AddressInvalid, MailError
from mailcore.model.address import Address
from mailcore.model.secret import Secret
from portal.people.csv_file import Column, Line, PeopleFile
from portal.people.sizes import size_of

MAX_NAME: Final = 200
_APART: Final = re.compile(r"[\s,;|]+")


class Fault(StrEnum):
    """What is wrong with a line; each has one sentence that says what to do."""

    ADDRESS_MISSING = "address_missing"
    ADDRESS_INVALID = "address_invalid"
    ADDRESS_LABEL = "address_label"
    DOMAIN_FOREIGN = "domain_foreign"
    DOMAIN_UNVERIFIED = "domain_unverified"
    TAKEN = "taken"
    TWICE = "twice"
    NAME_INVALID = "name_invalid"
    QUOTA_INVALID = "quota_invalid"
    PASSWORD_UNSUITABLE = "password_unsuitable"  # noqa: S105
    GROUP_UNKNOWN = "group_unknown"
    NO_SEAT = "no_seat"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a line.

    Attributes:
        value: what it is about, as the file has it, never a password.
        detail: more in words, such as what exactly is wrong with an address.
        other_line: which line has it already.
    """

    line: int
    column: Column
    fault: Fault
    value: str = ""
    detail: str = ""
    other_line: int = 0


@dataclass(frozen=True, slots=True)
class PlannedUser:
    """A user to be made."""

    line: int
    address: str
    name: str = ""
    quota_bytes: int | None = None
    aliases: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    """Canonical addresses of groups that there are."""
    password: Secret | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Plan:
    """Who would be made, and what is wrong with the other lines; each line is in one of them."""

    users: Sequence[PlannedUser]
    problems: Sequence[Problem]

    @property
    def faulty_lines(self) -> set[int]:
        """Lines that make nobody."""
        return {problem.line for problem in self.problems}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is there already.

    Attributes:
        domains: the tenant's, A-labels, and whether it is verified.
        taken: which of the file's canonical addresses somebody has.
        groups: canonical addresses of the tenant's groups.
        seats: how many users may come; None: any number.
        check_password: raises if a password may not be used.
        quota_bytes: for lines that name none.
    """

    domains: Mapping[str, bool]
    taken: Collection[str]
    groups: Collection[str]
    seats: int | None = None
    quota_bytes: int | None = None
    check_password: Callable[[Secret], object] = lambda _: None


def canonicals(people: PeopleFile) -> set[str]:
    """Return every address of a file that is one, in its canonical form: what to ask for before planning."""
    found: set[str] = set()
    for line in people.lines:
        for text in (line.cells.get(Column.ADDRESS, ""), *_several(line, Column.ALIASES)):
            try:
                found.add(Address.parse(text).canonical)
            except AddressInvalid:
                continue
    return found


def plan(people: PeopleFile, there: Surroundings) -> Plan:
    """Check every line against what is there and against the lines before it."""
    users: list[PlannedUser] = []
    problems: list[Problem] = []
    first_lines: dict[str, int] = {}
    for line in people.lines:
        checked = _Checked(line, there, first_lines)
        user = checked.user()
        if there.seats is not None and not checked.problems and len(users) >= there.seats:
            checked.add(Column.ADDRESS, Fault.NO_SEAT, user.address)
        if checked.problems:
            problems += checked.problems
        else:
            users.append(user)
        for canonical in checked.claimed:
            first_lines.setdefault(canonical, line.number)
    return Plan(users, problems)


class _Checked:
    """One line under examination: everything that is wrong is found, not only the first."""

    def __init__(self, line: Line, there: Surroundings, first_lines: Mapping[str, int]) -> None:
        self._line = line
        self._there = there
        self._first_lines = first_lines
        self.problems: list[Problem] = []
        self.claimed: list[str] = []

    def user(self) -> PlannedUser:
        """Return the user of the line; what is wrong is in `problems`."""
        return PlannedUser(
            self._line.number,
            self._address(Column.ADDRESS, self._line.cells.get(Column.ADDRESS, "")),
            self._name(),
            self._quota(),
            tuple(self._address(Column.ALIASES, text) for text in _several(self._line, Column.ALIASES)),
            tuple(self._groups()),
            self._password(),
        )

    def add(self, column: Column, fault: Fault, value: str = "", detail: str = "", other_line: int = 0) -> None:
        self.problems.append(Problem(self._line.number, column, fault, value[:200], detail[:300], other_line))

    def _address(self, column: Column, text: str) -> str:
        if not text:
            self.add(column, Fault.ADDRESS_MISSING)
            return ""
        try:
            address = Address.parse(text)
        except AddressInvalid as error:
            self.add(column, Fault.ADDRESS_INVALID, text, str(error))
            return text
        verified = self._there.domains.get(address.domain)
        if address.label is not None:
            self.add(column, Fault.ADDRESS_LABEL, text)
        elif verified is None:
            self.add(column, Fault.DOMAIN_FOREIGN, text, address.domain)
        elif not verified:
            self.add(column, Fault.DOMAIN_UNVERIFIED, text, address.domain)
        elif address.canonical in self._there.taken:
            self.add(column, Fault.TAKEN, text)
        elif address.canonical in self._first_lines or address.canonical in self.claimed:
            other = self._first_lines.get(address.canonical, self._line.number)
            self.add(column, Fault.TWICE, text, other_line=other)
        self.claimed.append(address.canonical)
        return address.display

    def _name(self) -> str:
        name = " ".join(self._line.cells.get(Column.NAME, "").split())
        if len(name) > MAX_NAME or not (name.isprintable() or not name):
            self.add(Column.NAME, Fault.NAME_INVALID, name)
        return name

    def _quota(self) -> int | None:
        text = self._line.cells.get(Column.QUOTA)
        if text is None:
            return self._there.quota_bytes
        try:
            return size_of(text)
        except ValueError:
            self.add(Column.QUOTA, Fault.QUOTA_INVALID, text)
            return None

    def _groups(self) -> Iterator[str]:
        for text in _several(self._line, Column.GROUPS):
            try:
                canonical = Address.parse(text).canonical
            except AddressInvalid:
                canonical = ""
            if canonical not in self._there.groups:
                self.add(Column.GROUPS, Fault.GROUP_UNKNOWN, text)
            yield canonical

    def _password(self) -> Secret | None:
        text = self._line.cells.get(Column.PASSWORD)
        if text is None:
            return None
        password = Secret(text)
        try:
            self._there.check_password(password)
        except MailError as error:
            self.add(Column.PASSWORD, Fault.PASSWORD_UNSUITABLE, detail=str(error))
        return password


def _several(line: Line, column: Column) -> list[str]:
    return [part for part in _APART.split(line.cells.get(column, "")) if part]
