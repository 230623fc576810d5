"""Flags and keywords (RFC 5232)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from mailcore.sieve.actions import FileInto, Keep
from mailcore.sieve.call import Call, text_value
from mailcore.sieve.extensions.variables import variable_name
from mailcore.sieve.flag_lists import add_flags, flag_set, remove_flags, split_flags
from mailcore.sieve.forms import MATCHING, Change, Extension, Form, Kind, Modifier, Step, Stored, Test
from mailcore.sieve.run import Run, Text


def _values(run: Run, texts: tuple[Text, ...]) -> tuple[str, ...]:
    now = [text_value(text, run) for text in texts]
    run.spend(len(now) + (sum(map(len, now)) >> 4))
    return split_flags(now, run.limits.flags)


def _change(call: Call) -> Step:
    """`setflag`, `addflag`, `removeflag`: of the internal variable, or of one that is named (RFC 5232 §3)."""
    variable = _variable(call, call.texts(0)[0]) if call.texts(0) else None
    flags = call.texts(1)
    combine = _COMBINE[call.form.name]

    def change(run: Run) -> None:
        now = _values(run, flags)
        if variable is None:
            run.flags = combine(run.flags, now, run.limits.flags)
            return
        present = split_flags((run.variables.get(variable, ""),), run.limits.flags)
        run.assign(variable, " ".join(combine(present, now, run.limits.flags)))

    return change


_COMBINE: dict[str, Callable[[tuple[str, ...], tuple[str, ...], int], tuple[str, ...]]] = {
    "setflag": lambda _, new, _most: new,
    "addflag": add_flags,
    "removeflag": lambda present, new, _most: remove_flags(present, new),
}


def _hasflag(call: Call) -> Test:
    """A flag of the variables matches (RFC 5232 §4)."""
    variables = [_variable(call, text) for text in call.texts(0)]
    keys = call.texts(1)
    if call.tag("match-type") not in {"count", "value"}:
        keys = tuple(name for key in keys for name in (key.split() if isinstance(key, str) else (key,)))
    match = call.match(1, keys)

    def flags(run: Run) -> Sequence[str]:
        if not variables:
            return run.flags
        return [name for each in variables for name in split_flags((run.variables.get(each, ""),), run.limits.flags)]

    return lambda run: match(run, flags(run))


def _variable(call: Call, text: Text) -> str:
    """The name of a variable, where there are any."""
    if not call.compiler.has("variables"):
        raise call.flaw('Add "variables" to "require" to keep flags in a variable of your own.')
    return variable_name(call, text)


def _flags(_: Call, texts: tuple[Text, ...]) -> Change:
    """`:flags` in place of the internal variable's (RFC 5232 §5)."""

    def change(run: Run, action: Stored) -> Stored:
        flags = flag_set(_values(run, texts))
        return replace(action, flags=flags) if isinstance(action, Keep | FileInto) else action

    return change


_FLAGS = Modifier("flags", Kind.STRINGS, prepare=_flags)
_ARGUMENTS = (Kind.STRING, Kind.STRINGS)

EXTENSION = Extension(
    "imap4flags",
    forms=(
        *(Form(name, _change, _ARGUMENTS, optional=0) for name in _COMBINE),
        Form("hasflag", _hasflag, (Kind.STRINGS, Kind.STRINGS), optional=0, groups=MATCHING, is_test=True),
    ),
    tags={"keep": (_FLAGS,), "fileinto": (_FLAGS,)},
)
