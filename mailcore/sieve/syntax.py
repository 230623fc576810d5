"""A script as a tree: what the parser makes of text, and what compiled rules are made of (RFC 5228 §8.2).

A tree that is built and not parsed knows no places: `at` is 0. Texts in it are values, so nothing needs quoting:

    Command("if", tests=(Command("header", Tag("contains"), "subject", "invoice"),), block=(Command("stop"),))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Tag:
    """A tagged argument's name, without its colon; in lower case."""

    name: str
    at: int = 0


@dataclass(frozen=True, slots=True)
class Number:
    """A number, its quantifier applied."""

    value: int
    at: int = 0


@dataclass(frozen=True, slots=True)
class Strings:
    """A string or a list of strings, as written: nothing expanded."""

    values: tuple[str, ...]
    at: int = 0
    is_list: bool = False


Argument: TypeAlias = Tag | Number | Strings


@dataclass(frozen=True, slots=True, init=False)
class Command:
    """A command, or a test, which is written alike."""

    name: str
    """In lower case."""
    arguments: tuple[Argument, ...]
    tests: tuple[Command, ...]
    block: tuple[Command, ...] | None
    at: int
    """Offset in the text of the script."""

    def __init__(
        self,
        name: str,
        *arguments: Argument | str | int | tuple[str, ...],
        tests: tuple[Command, ...] = (),
        block: tuple[Command, ...] | None = None,
        at: int = 0,
    ) -> None:
        for attribute, value in (
            ("name", name),
            ("arguments", tuple(map(_argument, arguments))),
            ("tests", tests),
            ("block", block),
            ("at", at),
        ):
            object.__setattr__(self, attribute, value)


class Flaw(Exception):
    """Something in a script that must be mended; `compile_script` tells its line and column."""

    def __init__(self, at: int, what: str) -> None:
        super().__init__(at, what)
        self.at = at
        self.what = what


def _argument(value: Argument | str | int | tuple[str, ...]) -> Argument:
    """Python's own values stand for strings, numbers and lists of strings."""
    if isinstance(value, str):
        return Strings((value,))
    if isinstance(value, int):
        return Number(value)
    if isinstance(value, tuple):
        return Strings(value, is_list=True)
    return value
