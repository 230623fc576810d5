"""How commands, tests and their arguments are written: what extensions add to the language, as values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

from mailcore.sieve.actions import FileInto, Keep, Redirect
from mailcore.sieve.comparators import Comparator
from mailcore.sieve.run import Run, Text

if TYPE_CHECKING:
    from mailcore.sieve.call import Call

Step: TypeAlias = Callable[[Run], None]
"""A compiled command."""
Test: TypeAlias = Callable[[Run], bool]
"""A compiled test."""
Match: TypeAlias = Callable[[Run, Sequence[str]], bool]
"""Compiled keys: whether one of the values matches one of them."""
Stored: TypeAlias = Keep | FileInto | Redirect
Change: TypeAlias = Callable[[Run, Stored], Stored]


class Kind(Enum):
    """What an argument holds."""

    NUMBER = "a number"
    STRING = "a string"
    STRINGS = "a string or a list of strings"


@dataclass(frozen=True, slots=True)
class TagForm:
    """A tagged argument (RFC 5228 §2.6.2)."""

    name: str
    kind: Kind | None = None
    """Of the value behind it, if it takes one."""
    group: str = ""
    """Of one group a command takes one; its own name if empty."""


@dataclass(frozen=True, slots=True)
class MatchType(TagForm):
    """How values are compared with keys (RFC 5228 §2.7.1)."""

    compile: Callable[[Call, Comparator, tuple[Text, ...]], Match] = field(kw_only=True)


@dataclass(frozen=True, slots=True)
class AddressPart(TagForm):
    """What of an address is compared (RFC 5228 §2.7.4)."""

    take: Callable[[str], str | None] = field(kw_only=True)
    """The part; None of an address that has none."""


@dataclass(frozen=True, slots=True)
class Modifier(TagForm):
    """Something that changes the action of a command."""

    prepare: Callable[[Call, tuple[Text, ...]], Change] = field(kw_only=True)


@dataclass(frozen=True, slots=True)
class Form:
    """A command or a test: what may and must stand behind its name."""

    name: str
    compile: Callable[[Call], Step] | Callable[[Call], Test]
    arguments: tuple[Kind, ...] = ()
    """Positional ones."""
    optional: int | None = None
    """Index of the one that may be left out."""
    tags: tuple[TagForm, ...] = ()
    groups: tuple[str, ...] = ()
    """Groups of tags it takes whoever adds them: "comparator", "match-type", "address-part"."""
    tests: tuple[int, int] = (0, 0)
    """How few and how many."""
    has_block: bool = False
    is_test: bool = False


MATCHING = ("comparator", "match-type")
ADDRESSES = (*MATCHING, "address-part")
MANY = 1 << 30


@dataclass(frozen=True, slots=True)
class Extension:
    """What `require` of one name makes available."""

    name: str
    forms: tuple[Form, ...] = ()
    tags: Mapping[str, tuple[TagForm, ...]] = field(default_factory=dict)
    """By the command or group that they are added to."""
    decode: Callable[[str], str] | None = None
    """What it does to every string when the script is compiled."""
    expand: Callable[[str], Text] | None = None
    """What it does after that; both may raise ValueError with a sentence."""
    implies: tuple[str, ...] = ()
    """Other extensions, which it includes."""
