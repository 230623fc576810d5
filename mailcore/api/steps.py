"""Several changes of one request: all of them can be made, or none is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ParamSpec, Protocol

from mailcore.model.actor import Actor
from mailcore.services.events.audit import Planned

P = ParamSpec("P")


class Change(Protocol):
    """Makes a change, or notes it to be made with others."""

    def __call__(self, function: Callable[P, object], /, *arguments: P.args, **named: P.kwargs) -> None:
        """Call a service's method with these; an actor is among them."""


@dataclass(frozen=True, slots=True)
class _Step:
    function: Callable[..., object]
    arguments: tuple[Any, ...]
    named: dict[str, Any]

    def rehearse(self) -> None:
        """Go as far as the change itself, by an actor who only wants to know what would be done.

        Raises:
            MailError: it would be refused.
        """
        try:
            self.function(
                *map(_only_asking, self.arguments),
                **{name: _only_asking(value) for name, value in self.named.items()},
            )
        except Planned:
            return


class Steps:
    """Notes changes that do not build on one another; each can be made twice, for a database may fail in between."""

    def __init__(self) -> None:
        self._noted: list[_Step] = []

    def __call__(self, function: Callable[P, object], /, *arguments: P.args, **named: P.kwargs) -> None:
        """Note a change."""
        self._noted.append(_Step(function, arguments, named))

    def carry_out(self, change: Change, *, dry_run: bool) -> None:
        """Make every change in its order, after each was rehearsed where there are several.

        Raises:
            MailError: one is refused; nothing was changed, unless others changed the same meanwhile.
        """
        if len(self._noted) > 1 and not dry_run:
            for step in self._noted:
                step.rehearse()
        for step in self._noted:
            change(step.function, *step.arguments, **step.named)


def _only_asking(value: object) -> object:
    return replace(value, dry_run=True) if isinstance(value, Actor) else value
