"""One command or test of a script: its arguments sorted by its form, for the function that compiles it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from mailcore.sieve.comparators import ASCII_CASEMAP, BUILT_IN, COMPARATORS, Comparator
from mailcore.sieve.forms import AddressPart, Change, Form, Kind, Match, MatchType, Modifier, Stored, TagForm, Test
from mailcore.sieve.meter import Failed
from mailcore.sieve.run import Run, Text
from mailcore.sieve.syntax import Argument, Command, Flaw, Number, Strings, Tag

if TYPE_CHECKING:
    from mailcore.sieve.compiler import Compiler

T = TypeVar("T")

Value: TypeAlias = tuple[Text, ...] | int | None

_FIELD_NAME = re.compile(r"[!-9;-~]{1,200}")


def text_value(text: Text, run: Run) -> str:
    """The text in this run."""
    return text if isinstance(text, str) else text.value(run)


def field_name(text: str) -> bytes | None:
    """A header field's name in lower case (RFC 5322 §3.6.8); None if it is none."""
    return text.lower().encode("ascii") if _FIELD_NAME.fullmatch(text) else None


class Call:
    """A command or test with its arguments."""

    def __init__(self, command: Command, form: Form, compiler: Compiler) -> None:
        """Sort the arguments.

        Raises:
            Flaw: one is missing, too many, not known or of the wrong kind.
        """
        self.command = command
        self.form = form
        self.compiler = compiler
        self.limits = compiler.limits
        self._tags: dict[str, tuple[TagForm, Value]] = {}
        self._arguments: list[Value] = []
        self._sort(list(command.arguments))
        self._check_shape()

    def flaw(self, what: str) -> Flaw:
        """Something about it must be mended."""
        return Flaw(self.command.at, what)

    # -- arguments ------------------------------------------------------------------------------

    def texts(self, index: int) -> tuple[Text, ...]:
        """A positional argument; none if it was left out."""
        value = self._arguments[index]
        return value if isinstance(value, tuple) else ()

    def text(self, index: int) -> Text:
        """A positional string."""
        return self.texts(index)[0]

    def number(self, index: int) -> int:
        """A positional number."""
        value = self._arguments[index]
        assert isinstance(value, int)
        return value

    def has(self, group: str) -> bool:
        """Whether there is a tag of this group."""
        return group in self._tags

    def tag(self, group: str) -> str | None:
        """The name of the tag of this group."""
        return self._tags[group][0].name if group in self._tags else None

    def tag_texts(self, group: str) -> tuple[Text, ...]:
        """The strings behind the tag of this group; none if it is not there."""
        value = self._tags[group][1] if group in self._tags else None
        return value if isinstance(value, tuple) else ()

    def tag_text(self, group: str) -> Text | None:
        """The string behind the tag of this group."""
        return next(iter(self.tag_texts(group)), None)

    def tag_number(self, group: str) -> int | None:
        """The number behind the tag of this group."""
        value = self._tags[group][1] if group in self._tags else None
        return value if isinstance(value, int) else None

    def constant(self, text: Text | None, what: str) -> str:
        """A string that must be known when the script is saved."""
        if not isinstance(text, str):
            raise self.flaw(f"{what} may not contain variables.")
        return text

    def field_names(self, index: int) -> Callable[[Run], Sequence[bytes]]:
        """A positional list of header fields' names, as a function of the run."""
        texts = self.texts(index)
        names = [field_name(text) for text in texts if isinstance(text, str)]
        if None in names:
            wrong = next(text for text in texts if isinstance(text, str) and field_name(text) is None)
            raise self.flaw(f'"{wrong[:100]}" is not the name of a header field: write it without the colon.')
        if len(names) == len(texts):
            known = tuple(filter(None, names))
            return lambda _: known
        return lambda run: tuple(filter(None, (field_name(text_value(text, run)) for text in texts)))

    def only_field_name(self, index: int) -> bytes | None:
        """The name of the field, if it is one and constant."""
        texts = self.texts(index)
        return field_name(texts[0]) if len(texts) == 1 and isinstance(texts[0], str) else None

    # -- what tags stand for --------------------------------------------------------------------

    def comparator(self) -> Comparator:
        """The one asked for, or i;ascii-casemap (RFC 5228 §2.7.3)."""
        if not self.has("comparator"):
            return ASCII_CASEMAP
        name = self.constant(self.tag_text("comparator"), "A comparator's name")
        if name not in COMPARATORS:
            raise self.flaw(f'There is no comparator "{name[:100]}": {", ".join(COMPARATORS)} are known.')
        if name not in BUILT_IN and not self.compiler.has(f"comparator-{name}"):
            raise self.flaw(f'Add "comparator-{name}" to "require".')
        return COMPARATORS[name]

    def match(self, index: int, keys: tuple[Text, ...] | None = None) -> Match:
        """The positional keys, or `keys` made of them, as a matcher by match type and comparator."""
        match_type = self._tags["match-type"][0] if self.has("match-type") else self.compiler.default_match
        assert isinstance(match_type, MatchType)
        return match_type.compile(self, self.comparator(), self.texts(index) if keys is None else keys)

    def address_part(self) -> Callable[[str], str | None] | None:
        """What to take of an address; None for all of it, as where addresses are counted (RFC 5231 §4.2)."""
        part = self._tags["address-part"][0] if self.has("address-part") and self.tag("match-type") != "count" else None
        return part.take if isinstance(part, AddressPart) else None

    def selection(self) -> slice | None:
        """Which of the fields of one name count; None for all (RFC 5260 §6)."""
        index = self.tag_number("index")
        if index is None:
            if self.has("last"):
                raise self.flaw('":last" counts from the end: say with ":index" how far.')
            return None
        if index == 0:
            raise self.flaw('":index" counts from 1.')
        if self.has("last"):
            return slice(-index, 1 - index or None)
        return slice(index - 1, index)

    def change(self) -> Change | None:
        """What its modifiers make of its action; None if there are none."""
        changes = [
            form.prepare(self, value if isinstance(value, tuple) else ())
            for form, value in self._tags.values()
            if isinstance(form, Modifier)
        ]
        if not changes:
            return None

        def apply(run: Run, action: Stored) -> Stored:
            for change in changes:
                action = change(run, action)
            return action

        return apply

    # -- what is within -------------------------------------------------------------------------

    def tests(self) -> tuple[Test, ...]:
        """Its tests, compiled."""
        return tuple(map(self.compiler.test, self.command.tests))

    # -- sorting --------------------------------------------------------------------------------

    def _sort(self, arguments: list[Argument]) -> None:
        """Give each tag the value behind it; what is left is positional."""
        left: list[Argument] = []
        position = 0
        while position < len(arguments):
            argument = arguments[position]
            position += 1
            if not isinstance(argument, Tag):
                left.append(argument)
                continue
            form = self.compiler.tag_form(self.form, argument)
            value: Value = None
            if form.kind is not None:
                if position == len(arguments) or isinstance(arguments[position], Tag):
                    raise Flaw(argument.at, f'":{form.name}" needs {form.kind.value} behind it.')
                value = self._value(arguments[position], form.kind, f'":{form.name}"')
                position += 1
            group = form.group or form.name
            if group in self._tags:
                other = self._tags[group][0].name
                twice = f'":{form.name}" stands here twice.' if other == form.name else ""
                raise Flaw(argument.at, twice or f'":{form.name}" and ":{other}" exclude each other: keep one.')
            self._tags[group] = (form, value)
        self._place(left)

    def _place(self, arguments: list[Argument]) -> None:
        """Check positional arguments against the form; those left out stand as None."""
        kinds = list(self.form.arguments)
        left_out = self.form.optional if len(arguments) < len(kinds) else None
        if left_out is not None:
            del kinds[left_out]
        if len(arguments) != len(kinds):
            wanted = ", then ".join(kind.value for kind in kinds) or "no arguments but tags"
            raise self.flaw(f'"{self.form.name}" takes {wanted}; {len(arguments)} stand here.')
        for argument, kind in zip(arguments, kinds, strict=True):
            self._arguments.append(self._value(argument, kind, f'"{self.form.name}"'))
        if left_out is not None:
            self._arguments.insert(left_out, None)

    def _value(self, argument: Argument, kind: Kind, owner: str) -> Value:
        """An argument that must be of a kind."""
        if isinstance(argument, Number) and kind is Kind.NUMBER:
            return argument.value
        if isinstance(argument, Strings) and kind is not Kind.NUMBER and (kind is Kind.STRINGS or not argument.is_list):
            return tuple(self.compiler.text(value, argument.at) for value in argument.values)
        raise Flaw(argument.at, f"{owner} takes {kind.value} here.")

    def _check_shape(self) -> None:
        """Tests and block must be there or not, as the form says."""
        fewest, most = self.form.tests
        if not fewest <= len(self.command.tests) <= most:
            what = "no test" if most == 0 else "one test" if most == 1 else "a list of tests in parentheses"
            raise self.flaw(f'"{self.form.name}" takes {what}.')
        if (self.command.block is not None) != self.form.has_block:
            what = 'a block in "{" and "}"' if self.form.has_block else 'no block: end it with ";"'
            raise self.flaw(f'"{self.form.name}" takes {what}.')


def prepared(
    call: Call, keys: tuple[Text, ...], prepare: Callable[[str], T], steps: int = 1
) -> Callable[[Run], tuple[T, ...]]:
    """Keys in the form in which they are compared: once if they are constant, else in each run.

    Args:
        call: whose keys they are.
        keys: texts of the script.
        prepare: may raise ValueError with a sentence for the script's author.
        steps: what preparing one costs in a run, besides its length.
    """
    constant = [key for key in keys if isinstance(key, str)]
    if len(constant) < len(keys):
        return lambda run: tuple(_prepare_now(text_value(key, run), prepare, run, steps) for key in keys)
    try:
        known = tuple(map(prepare, constant))
    except ValueError as error:
        raise call.flaw(str(error)) from error
    return lambda _: known


def _prepare_now(key: str, prepare: Callable[[str], T], run: Run, steps: int) -> T:
    run.spend(steps + (len(key) >> 4))
    try:
        return prepare(key)
    except ValueError as error:
        raise Failed(str(error)) from error
