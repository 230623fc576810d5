"""A script, compiled once and run for every message."""

from __future__ import annotations

from collections.abc import Sequence

from mailcore.errors import ScriptInvalid
from mailcore.model.limits import SieveLimits
from mailcore.sieve.actions import Action, Keep, Outcome
from mailcore.sieve.compiler import Compiler
from mailcore.sieve.core import CORE
from mailcore.sieve.environment import Environment, Transaction
from mailcore.sieve.extensions import EXTENSIONS
from mailcore.sieve.forms import Extension, Step
from mailcore.sieve.message_view import MessageView
from mailcore.sieve.meter import Failed, Meter
from mailcore.sieve.parser import parse
from mailcore.sieve.run import Ended, Run
from mailcore.sieve.syntax import Command, Flaw, Strings

_TEXT_CHANGING = frozenset({"variables", "encoded-character"})
_KEEP = Keep()
DEFAULT = SieveLimits()


class Script:
    """A compiled script; knows nothing of any message, so all of a process's threads may run it."""

    def __init__(self, body: Step, limits: SieveLimits) -> None:
        self._body = body
        self._limits = limits

    def run(
        self,
        message: MessageView,
        transaction: Transaction,
        environment: Environment,
        meter: Meter | None = None,
    ) -> Outcome:
        """Decide what becomes of a message.

        Whatever the script does, there is an outcome: what it may not do ends it, and the message is kept as if
        there were no script (RFC 5228 §2.10.6). What callables of the environment raise is passed on.

        Args:
            message: shared by all who run scripts over it.
            transaction: how it came.
            environment: what the script may ask.
            meter: of all scripts that this message goes through for this user; None gives this one its own.
        """
        meter = meter or Meter(self._limits)
        run = Run(message, transaction, environment, self._limits, meter)
        before = meter.steps
        stopped = False
        try:
            self._body(run)
        except Ended:
            stopped = True
        except Failed as failure:
            steps = meter.steps - before
            return Outcome((_KEEP,), implicit_keep=True, stopped=False, steps=steps, error=str(failure))
        actions: tuple[Action, ...] = tuple(run.actions.values())
        if run.implicit_keep:
            is_plain = not run.flags and run.edited is None
            actions += (_KEEP if is_plain else Keep(flags=run.current_flags(), header=run.edited),)
        return Outcome(actions, run.implicit_keep, stopped, meter.steps - before)


def compile_script(script: str | bytes, limits: SieveLimits = DEFAULT) -> Script:
    """Compile the text of a script.

    Args:
        script: UTF-8, if bytes (RFC 5228 §2.1).
        limits: of the script and of each run.

    Raises:
        ScriptInvalid: it cannot be used; says where and why.
    """
    text = _decoded(script, limits)
    try:
        commands = parse(text, limits.nesting)
        required, rest = _requirements(commands)
        return Script(Compiler((CORE, *required), EXTENSIONS.values(), limits, text).block(rest), limits)
    except Flaw as flaw:
        raise _invalid(text, flaw) from flaw


def compile_commands(commands: Sequence[Command], limits: SieveLimits = DEFAULT) -> Script:
    """Compile commands that were built: everything is available, and no text in them means more than it says.

    Raises:
        ScriptInvalid: an argument is none that a script may have, such as a malformed regular expression.
    """
    available = [extension for name, extension in EXTENSIONS.items() if name not in _TEXT_CHANGING]
    try:
        return Script(Compiler((CORE, *available), (), limits).block(commands), limits)
    except Flaw as flaw:
        raise _invalid("", flaw) from flaw


def redirects_of(text: str, limits: SieveLimits = DEFAULT) -> tuple[str, ...]:
    """Return the addresses and URLs that a script names in so many words; what it puts together itself is unknown."""
    try:
        commands = list(parse(text, limits.nesting))
    except Flaw:
        return ()
    found: dict[str, None] = {}
    while commands:
        command = commands.pop()
        commands.extend(command.block or ())
        if command.name in {"redirect", "sendto"} and command.arguments and isinstance(command.arguments[-1], Strings):
            found.update(dict.fromkeys(value for value in command.arguments[-1].values if "${" not in value))
    return tuple(found)


def _decoded(script: str | bytes, limits: SieveLimits) -> str:
    """The text, if it is one and not too long."""
    size = len(script) if isinstance(script, bytes) else len(script.encode("utf-8", "surrogatepass"))
    if size > limits.script_bytes:
        raise ScriptInvalid(f"The script has {size:,} bytes, {limits.script_bytes:,} are allowed: shorten it.")
    if isinstance(script, str):
        return script
    try:
        return script.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        before = script[: error.start].decode("utf-8")
        raise _invalid(before, Flaw(len(before), "A script must be text in UTF-8: save it as such.")) from error


def _requirements(commands: tuple[Command, ...]) -> tuple[list[Extension], tuple[Command, ...]]:
    """What the first commands require (RFC 5228 §3.2), and the others."""
    required: dict[str, Extension] = {}
    position = 0
    while position < len(commands) and commands[position].name == "require":
        command = commands[position]
        position += 1
        match command.arguments, command.tests, command.block:
            case (Strings(values=names),), (), None:
                pass
            case _:
                raise Flaw(command.at, '"require" takes a list of extensions: require ["fileinto", "copy"];')
        for name in names:
            _require(name, command.at, required)
    return list(required.values()), commands[position:]


def _require(name: str, at: int, required: dict[str, Extension]) -> None:
    if name == "include":
        raise Flaw(at, "Scripts cannot include others here: put their commands into this one.")
    extension = EXTENSIONS.get(name)
    if extension is None:
        raise Flaw(at, f'The extension "{name[:100]}" is not supported here: remove it and what needs it.')
    required[name] = extension
    for other in extension.implies:
        required.setdefault(other, EXTENSIONS[other])


def _invalid(text: str, flaw: Flaw) -> ScriptInvalid:
    """A flaw with its place in the text, counted from 1; in lines as editors show them."""
    line = text.count("\n", 0, flaw.at) + 1
    column = flaw.at - (text.rfind("\n", 0, flaw.at) + 1) + 1
    return ScriptInvalid(flaw.what, line, column)
