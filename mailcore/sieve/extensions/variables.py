"""Variables (RFC 5229); also of expressions that matched (`:quoteregex`, draft-ietf-sieve-regex §5)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from mailcore.sieve.call import Call, text_value
from mailcore.sieve.comparators import ascii_lower, ascii_upper
from mailcore.sieve.forms import MATCHING, Extension, Form, Kind, Step, TagForm, Test
from mailcore.sieve.meter import Failed
from mailcore.sieve.run import Run, Text

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,63}", re.IGNORECASE | re.ASCII)
_REFERENCE = re.compile(r"\$\{(?:([a-z_][a-z0-9_]*+)|([0-9]++))\}", re.IGNORECASE | re.ASCII)
_NAMESPACE = re.compile(r"\$\{([a-z_][a-z0-9_]*+)\.(?:[a-z0-9_]++\.)*[a-z0-9_]++\}", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class _Named:
    """The place of a variable in a text."""

    name: str

    def value(self, run: Run) -> str:
        return run.variables.get(self.name, "")


@dataclass(frozen=True, slots=True)
class _Matched:
    """The place of what a wildcard stood for."""

    number: int

    def value(self, run: Run) -> str:
        return run.matched[self.number] if self.number < len(run.matched) else ""


@dataclass(frozen=True, slots=True)
class _Expansion:
    """A text with places for variables (RFC 5229 §3)."""

    pieces: tuple[str | _Named | _Matched, ...]

    def value(self, run: Run) -> str:
        """The text as of now; unknown variables are empty."""
        found, size = [], 0
        for piece in self.pieces:
            text = piece if isinstance(piece, str) else piece.value(run)
            size += len(text)
            if size > run.limits.text_characters:
                raise Failed(f"A text with its variables is longer than {run.limits.text_characters:,} characters.")
            found.append(text)
        run.spend(len(found) + (size >> 8))
        return "".join(found)


def _expand(text: str) -> Text:
    """Find the references; anything else with a dollar sign stays as it is, even what an expansion yields.

    Raises:
        ValueError: a name space, of which there are none, or a match variable beyond the last.
    """
    if namespace := _NAMESPACE.search(text):
        raise ValueError(f'There are no variables of "{namespace[1][:100]}" here.')
    pieces: list[str | _Named | _Matched] = []
    position = 0
    for match in _REFERENCE.finditer(text):
        if match.start() > position:
            pieces.append(text[position : match.start()])
        pieces.append(_Named(match[1].lower()) if match[1] else _Matched(_match_number(match[2])))
        position = match.end()
    if not pieces:
        return text
    if position < len(text):
        pieces.append(text[position:])
    return _Expansion(tuple(pieces))


def _match_number(digits: str) -> int:
    number = digits.lstrip("0") or "0"
    if len(number) > 2:
        raise ValueError(f'"${{{digits[:20]}}}" is too high: match variables go up to ${{99}}.')
    return int(number)


def variable_name(call: Call, text: Text) -> str:
    """The name of a variable that is set; in lower case.

    Raises:
        Flaw: it is none, or a match variable.
    """
    name = call.constant(text, "The name of a variable")
    if not _NAME.fullmatch(name):
        raise call.flaw(f'"{name[:100]}" cannot be a variable: letters, digits and "_", 64 at most, no digit in front.')
    return name.lower()


def _set(call: Call) -> Step:
    """Give a variable a value (RFC 5229 §4); modifiers of higher precedence first."""
    name = variable_name(call, call.text(0))
    value = call.text(1)
    if isinstance(value, str) and len(value) > call.limits.variable_characters:
        raise call.flaw(f"A variable holds {call.limits.variable_characters:,} characters at most.")
    changes = [_CHANGES[tag] for group in _PRECEDENCE if (tag := call.tag(group)) is not None]

    def assign(run: Run) -> None:
        text = text_value(value, run)
        for change in changes:
            run.spend(1 + (len(text) >> 8))
            text = change(text)
        run.assign(name, text)

    return assign


_CHANGES: dict[str, Callable[[str], str]] = {
    "lower": ascii_lower,
    "upper": ascii_upper,
    "lowerfirst": lambda text: ascii_lower(text[:1]) + text[1:],
    "upperfirst": lambda text: ascii_upper(text[:1]) + text[1:],
    "quotewildcard": lambda text: re.sub(r"([*?\\])", r"\\\1", text),
    "quoteregex": lambda text: re.sub(r"([.*+?^$|()\[\]{}\\])", r"\\\1", text),
    "length": lambda text: str(len(text)),
}
_PRECEDENCE = ("case", "first", "quote", "length")
_MODIFIERS = (
    TagForm("lower", group="case"),
    TagForm("upper", group="case"),
    TagForm("lowerfirst", group="first"),
    TagForm("upperfirst", group="first"),
    TagForm("quotewildcard", group="quote"),
    TagForm("length"),
)


def _string(call: Call) -> Test:
    """A text matches (RFC 5229 §5); empty ones do not count."""
    sources, match = call.texts(0), call.match(1)
    counts = call.tag("match-type") == "count"

    def test(run: Run) -> bool:
        values = [text_value(source, run) for source in sources]
        return match(run, [value for value in values if value] if counts else values)

    return test


EXTENSION = Extension(
    "variables",
    forms=(
        Form("set", _set, (Kind.STRING, Kind.STRING), tags=_MODIFIERS),
        Form("string", _string, (Kind.STRINGS, Kind.STRINGS), groups=MATCHING, is_test=True),
    ),
    expand=_expand,
)
