"""A tree -> functions that call each other: what can be known before a message comes is settled here."""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Callable, Iterable, Sequence
from typing import cast

from mailcore.model.limits import SieveLimits
from mailcore.sieve.call import Call
from mailcore.sieve.forms import Extension, Form, MatchType, Step, TagForm, Test
from mailcore.sieve.meter import Failed
from mailcore.sieve.run import Ended, Run, Text
from mailcore.sieve.syntax import Command, Flaw, Tag

_BRANCH = Form("if", lambda _: _no_step, tests=(1, 1), has_block=True)
_ELSE = Form("else", lambda _: _no_step, has_block=True)
_STOP = Form("stop", lambda _: _stop)


class Compiler:
    """Compiles one script with the extensions that it requires."""

    def __init__(
        self, required: Iterable[Extension], offered: Iterable[Extension], limits: SieveLimits, text: str = ""
    ) -> None:
        """Gather the language.

        Args:
            required: of which the script may use everything; the core first.
            offered: all there are, to say what is missing.
            limits: of the script.
            text: of the script, to tell lines; empty for commands that were built.
        """
        self._line_starts = [match.end() for match in re.finditer("^", text, re.MULTILINE)] if text else []
        self.limits = limits
        self._extensions = {extension.name: extension for extension in required}
        self._forms = {(form.is_test, form.name): form for each in self._extensions.values() for form in each.forms}
        self._forms[False, "stop"] = _STOP
        self._tags = _tags_by_owner(self._extensions.values())
        self._offered = tuple(offered)
        default = self._tags["match-type"]["is"]
        assert isinstance(default, MatchType)
        self.default_match: MatchType = default
        self.regexes = 0
        """Regular expressions so far."""

    def has(self, name: str) -> bool:
        """Whether the script requires an extension."""
        return name in self._extensions

    # -- commands and tests ---------------------------------------------------------------------

    def block(self, commands: Sequence[Command]) -> Step:
        """Compile commands that follow each other.

        Raises:
            Flaw: as do all others here.
        """
        steps: list[tuple[Step, int]] = []
        position = 0
        while position < len(commands):
            end = position + 1
            if commands[position].name == "if":
                while end < len(commands) and commands[end].name in {"elsif", "else"}:
                    end += 1
                    if commands[end - 1].name == "else":
                        break
                step = self._branches(commands[position:end])
            else:
                step = self._command(commands[position])
            steps.append((step, bisect(self._line_starts, commands[position].at)))
            position = end
        return _sequence(tuple(steps))

    def test(self, command: Command) -> Test:
        """Compile a test."""
        form = self._form(command, is_test=True)
        return cast("Test", form.compile(Call(command, form, self)))

    def _command(self, command: Command) -> Step:
        if command.name in {"elsif", "else"}:
            raise Flaw(command.at, f'"{command.name}" has no "if" in front.')
        if command.name == "require":
            raise Flaw(command.at, '"require" must stand before all other commands.')
        form = self._form(command, is_test=False)
        return cast("Step", form.compile(Call(command, form, self)))

    def _branches(self, commands: Sequence[Command]) -> Step:
        """`if`, `elsif` and `else` (RFC 5228 §3.1)."""
        branches: list[tuple[Test | None, Step]] = []
        for command in commands:
            call = Call(command, _ELSE if command.name == "else" else _BRANCH, self)
            test = next(iter(call.tests()), None)
            branches.append((test, self.block(command.block or ())))
        return _choice(tuple(branches))

    def _form(self, command: Command, *, is_test: bool) -> Form:
        form = self._forms.get((is_test, command.name))
        if form is not None:
            return form
        what = "test" if is_test else "command"
        for extension in self._offered:
            if any(each.name == command.name and each.is_test == is_test for each in extension.forms):
                raise Flaw(command.at, f'Add "{extension.name}" to "require" to use the {what} "{command.name}".')
        if (not is_test, command.name) in self._forms:
            raise Flaw(command.at, f'"{command.name}" is no {what}: it {_ELSEWHERE[is_test]}.')
        raise Flaw(command.at, f'There is no {what} "{command.name}".')

    # -- arguments ------------------------------------------------------------------------------

    def tag_form(self, form: Form, tag: Tag) -> TagForm:
        """What a tag of a command or test means."""
        owners = (form.name, *form.groups)
        own = next((each for each in form.tags if each.name == tag.name), None)
        if own is not None:
            return own
        for owner in owners:
            if tag.name in self._tags.get(owner, {}):
                return self._tags[owner][tag.name]
        for extension in self._offered:
            if any(each.name == tag.name for owner in owners for each in extension.tags.get(owner, ())):
                raise Flaw(tag.at, f'Add "{extension.name}" to "require" to use ":{tag.name}".')
        raise Flaw(tag.at, f'"{form.name}" knows no ":{tag.name}".')

    def text(self, written: str, at: int) -> Text:
        """A string with what the required extensions make of it."""
        text: Text = written
        if "${" in written:
            for extension in self._extensions.values():
                if extension.decode is not None and isinstance(text, str):
                    text = _changed(extension.decode, text, at)
            for extension in self._extensions.values():
                if extension.expand is not None and isinstance(text, str):
                    text = _changed(extension.expand, text, at)
        return text


def _changed(change: Callable[[str], Text], text: str, at: int) -> Text:
    try:
        return change(text)
    except ValueError as error:
        raise Flaw(at, str(error)) from error


_ELSEWHERE = {True: "stands for itself", False: 'belongs behind "if"'}


def _tags_by_owner(extensions: Iterable[Extension]) -> dict[str, dict[str, TagForm]]:
    """What extensions add, by command or group, then by name."""
    tags: dict[str, dict[str, TagForm]] = {}
    for extension in extensions:
        for owner, forms in extension.tags.items():
            tags.setdefault(owner, {}).update({form.name: form for form in forms})
    return tags


def _sequence(steps: tuple[tuple[Step, int], ...]) -> Step:
    """Commands with their lines, one after the other."""

    def run_all(run: Run) -> None:
        reached = 0
        try:
            for step, reached in steps:  # noqa: B007  it tells where the loop was left
                run.spend(1)
                step(run)
        except Failed as failure:
            failure.line = failure.line or reached
            raise

    return run_all


def _choice(branches: tuple[tuple[Test | None, Step], ...]) -> Step:
    def run_first_that_holds(run: Run) -> None:
        for test, block in branches:
            run.spend(1)
            if test is None or test(run):
                block(run)
                return

    return run_first_that_holds


def _no_step(_: Run) -> None:
    """Branches are compiled together."""


def _stop(_: Run) -> None:
    """End the script (RFC 5228 §3.3)."""
    raise Ended
