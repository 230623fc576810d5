"""Parameters of calls, read from their form and checked against the SDK's own typed classes.

A name that the SDK does not know fails, at any depth, and so does a value of another type: what passes here is what
the real server would have understood.
"""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any, ForwardRef, Literal, NotRequired, Union, get_args, get_origin
from urllib.parse import parse_qsl

import typing_extensions
from stripe._request_options import RequestOptions

from infra.devstack.outside.stripe.faults import ApiFault

_KEY = re.compile(r"\[([^\]]*)\]")
_NOT_REQUIRED = (NotRequired, typing_extensions.NotRequired)
_NO_FIELDS = frozenset(RequestOptions.__annotations__)
"""What the SDK keeps for itself in the same classes: keys, retries, headers."""


class _NoFit(Exception):
    """The value is not of this type."""


def read_form(text: str) -> dict[str, Any]:
    """Return nested values of a form or query: `items[0][price]=x` is a list of one mapping."""
    root: dict[str, Any] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        head, _, rest = name.partition("[")
        path = [head, *_KEY.findall("[" + rest if rest else "")]
        at: dict[str, Any] = root
        for key in path[:-1]:
            at = at.setdefault(key, {})
        last = path[-1] or str(len(at))
        at[last] = value
    return {name: _lists(value) for name, value in root.items()}


def check(given: Mapping[str, Any], shape: type) -> dict[str, Any]:
    """Return the parameters with their types.

    Raises:
        ApiFault: a name is unknown, one is missing, or a value is of another type.
    """
    return _mapping(given, shape, "")


@cache
def fields_of(shape: type) -> dict[str, tuple[bool, Any]]:
    """Return name -> (is it needed, its type) of a class of parameters."""
    names: dict[str, Any] = {}
    module = sys.modules[shape.__module__]
    for name, annotation in shape.__annotations__.items():
        if name in _NO_FIELDS:
            continue
        resolved = _resolved(annotation, module)
        optional = get_origin(resolved) in _NOT_REQUIRED
        names[name] = (not optional, _resolved(get_args(resolved)[0], module) if optional else resolved)
    return names


def _resolved(annotation: Any, module: types.ModuleType) -> Any:
    """Return the type that a piece of text in the SDK means there."""
    if isinstance(annotation, ForwardRef):
        annotation = annotation.__forward_arg__
    if isinstance(annotation, str):
        return eval(annotation, dict(vars(module)))  # noqa: S307  the SDK's own words
    return annotation


def _mapping(given: Any, shape: type, path: str) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise _NoFit
    known = fields_of(shape)
    for name in given:
        if name not in known:
            raise ApiFault(f"Received unknown parameter: {path}{name}", code="parameter_unknown", param=f"{path}{name}")
    for name, (is_needed, _) in known.items():
        if is_needed and name not in given:
            raise ApiFault(f"Missing required param: {path}{name}.", code="parameter_missing", param=f"{path}{name}")
    return {name: _field(value, known[name][1], shape, f"{path}{name}") for name, value in given.items()}


def _field(value: Any, kind: Any, shape: type, path: str) -> Any:
    try:
        return _value(value, kind, sys.modules[shape.__module__], path)
    except _NoFit:
        raise ApiFault(f"Invalid value for {path}: {value!r}", code="parameter_invalid", param=path) from None


def _value(value: Any, kind: Any, module: types.ModuleType, path: str) -> Any:
    kind = _resolved(kind, module)
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _any_of(value, get_args(kind), module, path)
    if origin is Literal:
        return _one_of(value, get_args(kind))
    if origin is list:
        if not isinstance(value, list):
            raise _NoFit
        return [_value(each, get_args(kind)[0], module, f"{path}[{at}]") for at, each in enumerate(value)]
    if origin is dict or kind is dict:
        if not isinstance(value, dict):
            raise _NoFit
        return value
    if isinstance(kind, type) and hasattr(kind, "__annotations__") and typing_extensions.is_typeddict(kind):
        return _mapping(value, kind, f"{path}.")
    return _scalar(value, kind)


def _any_of(value: Any, kinds: tuple[Any, ...], module: types.ModuleType, path: str) -> Any:
    for kind in sorted(kinds, key=lambda each: each is str):  # text takes everything: last
        try:
            return _value(value, kind, module, path)
        except _NoFit:
            continue
    raise _NoFit


def _one_of(value: Any, allowed: tuple[Any, ...]) -> Any:
    for each in allowed:
        if value == each or (isinstance(each, bool) and value == str(each).lower()):
            return each
    raise _NoFit


def _scalar(value: Any, kind: Any) -> Any:
    if not isinstance(value, str):
        raise _NoFit
    if kind is bool and value in ("true", "false"):
        return value == "true"
    if kind is int and re.fullmatch(r"-?[0-9]{1,18}", value):
        return int(value)
    if kind in (Decimal, float):
        try:
            return Decimal(value)
        except InvalidOperation:
            raise _NoFit from None
    if kind is str:
        return value
    raise _NoFit


def _lists(value: Any) -> Any:
    """Turn mappings whose names are 0, 1, 2 ... into lists, within too."""
    if not isinstance(value, dict):
        return value
    inner = {name: _lists(each) for name, each in value.items()}
    if inner and list(inner) == [str(number) for number in range(len(inner))]:
        return list(inner.values())
    return inner
