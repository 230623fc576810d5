"""Every kind of event that an organisation's audit log may have, read out of the source.

Looks at each call that records one, and follows what names its kind: constants, choices between two, texts put
together, variables, and what callers hand over.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from itertools import product
from pathlib import Path
from typing import Final

from mailcore.model.dkim import DkimKeyState
from mailcore.model.factors import Factor

ROOT: Final = Path(__file__).parents[2]
FOLDERS: Final = ("mailcore/services", "portal", "workers/jobs")
OF_MAIL: Final = frozenset({"of_user", "of_tenant", "happened"})
ENUMS: Final[Mapping[str, type[StrEnum]]] = {"state.value": DkimKeyState, "factor.value": Factor}
"""What stands in the middle of a kind, as the source has it."""


class Unknown(AssertionError):
    """Nobody can tell which kind this is: say it more plainly, or teach this module to follow it."""


@dataclass(frozen=True)
class Place:
    """A call, within which function of which module."""

    module: ast.Module
    function: ast.FunctionDef | None
    call: ast.Call


def kinds() -> dict[str, str]:
    """Kind -> where it is recorded."""
    places = _places()
    found = {}
    for place in places:
        if _records(place.call):
            told = _resolve(place.call.args[1], place, places)
            if not told:
                raise Unknown(ast.unparse(place.call))
            found |= dict.fromkeys(told, ast.unparse(place.call)[:100])
    return found


@cache
def _places() -> list[Place]:
    return list(_read())


def _read() -> Iterator[Place]:
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            module = ast.parse(path.read_text(encoding="utf-8"))
            functions = [node for node in ast.walk(module) if isinstance(node, ast.FunctionDef)]
            within = {id(node): function for function in functions for node in ast.walk(function)}
            for node in ast.walk(module):
                if isinstance(node, ast.Call):
                    yield Place(module, within.get(id(node)), node)


def _name(call: ast.Call) -> str:
    named = call.func
    return named.attr if isinstance(named, ast.Attribute) else named.id if isinstance(named, ast.Name) else ""


def _records(call: ast.Call) -> bool:
    """Whether a call records an event; what the portal records of no organisation is on no page."""
    name = _name(call)
    if name in OF_MAIL:
        return isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value).endswith("audit")
    return name == "record_for" or (name == "record" and "organisation_id" in {one.arg for one in call.keywords})


def _resolve(said: ast.expr, place: Place, places: list[Place]) -> list[str]:
    """Return every text that an expression may be."""
    if isinstance(said, ast.Constant):
        return [said.value] if isinstance(said.value, str) else []
    if isinstance(said, ast.IfExp):
        return _resolve(said.body, place, places) + _resolve(said.orelse, place, places)
    if isinstance(said, ast.JoinedStr):
        values = [one.value if isinstance(one, ast.FormattedValue) else one for one in said.values]
        parts = [_resolve(one, place, places) for one in values]
        return ["".join(each) for each in product(*parts)]
    if ast.unparse(said) in ENUMS:
        return [one.value for one in ENUMS[ast.unparse(said)]]
    if isinstance(said, ast.Name):
        return _named(said.id, place, places)
    return []


def _named(name: str, place: Place, places: list[Place]) -> list[str]:
    """Return what a name may stand for: assigned in the function, handed over to it, or a constant of the module."""
    function = place.function
    scope: ast.AST = function or place.module
    told = [one.value for one in ast.walk(scope) if isinstance(one, ast.Assign) and _assigns(one, name)]
    if told:
        return [kind for one in told for kind in _resolve(one, place, places)]
    parameters = [one.arg for one in (*function.args.args, *function.args.kwonlyargs)] if function else []
    if function is not None and name in parameters:
        return _handed_over(function, name, parameters, place, places)
    told = [one.value for one in place.module.body if isinstance(one, ast.Assign) and _assigns(one, name)]
    return [kind for one in told for kind in _resolve(one, place, places)]


def _assigns(one: ast.Assign, name: str) -> bool:
    return any(isinstance(target, ast.Name) and target.id == name for target in one.targets)


def _handed_over(
    function: ast.FunctionDef, name: str, parameters: list[str], place: Place, places: list[Place]
) -> list[str]:
    """Return what callers give for a parameter: those of the same module, or if there are none all others."""
    parameters = [one for one in parameters if one != "self"]
    at = parameters.index(name)
    calls = [one for one in places if _name(one.call) == function.name and one.function is not function]
    if parameters[0] == "actor":  # others have methods of this name that do something else
        calls = [one for one in calls if one.call.args and ast.unparse(one.call.args[0]) in {"actor", "SYSTEM"}]
    own = [one for one in calls if one.module is place.module]
    found = []
    for caller in own or calls:
        by_name = [one.value for one in caller.call.keywords if one.arg == name]
        given = by_name or caller.call.args[at : at + 1]
        found += [kind for one in given for kind in _resolve(one, caller, places)]
    return found
