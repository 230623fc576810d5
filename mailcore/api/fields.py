"""What fields of requests and answers are: pydantic types with WildDuck's habits.

An empty string is an unset value; flags come as true, 1, "yes" or "on"; names are in camelCase.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Final, Literal

import orjson
from bson import ObjectId
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    IPvAnyAddress,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

MAX_INTEGER: Final = (1 << 53) - 1
"""Larger ones do not survive JavaScript."""
META_BYTES: Final = 1 << 20
META_DEPTH: Final = 100
"""So that an answer, in which it is a part of a part, can be written."""


def camel(name: str) -> str:
    """Return a name as clients know it: require2fa_enabled is require2faEnabled."""
    first, *others = name.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in others)


class Fields(BaseModel):
    """Names are snake_case here and camelCase outside."""

    model_config = ConfigDict(
        alias_generator=camel,
        frozen=True,
        arbitrary_types_allowed=True,
        ser_json_inf_nan="null",
        defer_build=True,  # a process keeps the checks of those operations alone that somebody asks for
    )


class InputPart(Fields):
    """An object inside of what an operation takes; unknown names are refused, empty strings are unset values."""

    model_config = ConfigDict(extra="forbid")

    keeps_empty: ClassVar[frozenset[str]] = frozenset()
    """Names whose empty string is a value and not an unset one."""

    @model_validator(mode="before")
    @classmethod
    def _drop_unset(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        return {name: value for name, value in given.items() if value != "" or name in cls.keeps_empty}


class Input(InputPart):
    """What an operation takes, from the query or the body.

    `sess` and `ip` tell of the person behind a front end; they go into logs and limits only.
    """

    sess: Annotated[str, StringConstraints(max_length=255)] | None = None
    ip: IPvAnyAddress | None = None


class LooseInput(Input):
    """As `Input`, where clients are known to send more than is looked at."""

    model_config = ConfigDict(extra="ignore")


class Output(Fields):
    """What an operation answers; it also describes the answer to others."""

    success: Literal[True] = True


def _flag(given: Any) -> Any:
    return given.strip().lower() if isinstance(given, str) else given


def _meta(given: Any) -> Any:
    """Return an object, or JSON text of one, as JSON text."""
    if isinstance(given, str):
        try:
            given = orjson.loads(given)
        except orjson.JSONDecodeError as error:
            raise ValueError("must be an object or its JSON text") from error
    if _is_deeper(given, META_DEPTH):
        raise ValueError(f"must have at most {META_DEPTH} objects within one another")
    try:
        text = orjson.dumps(given)
    except TypeError as error:
        raise ValueError("must be an object or its JSON text") from error
    if text[:1] != b"{":
        raise ValueError("must be an object or its JSON text")
    if len(text) > META_BYTES:
        raise ValueError(f"must be at most {META_BYTES} bytes of JSON")
    return text.decode()


def _is_deeper(given: Any, most: int) -> bool:
    """Return whether there are more objects and lists within one another."""
    level = [given] if isinstance(given, dict | list) else []
    for _ in range(most):
        inside = (inner for one in level for inner in (one.values() if isinstance(one, dict) else one))
        level = [inner for inner in inside if isinstance(inner, dict | list)]
    return bool(level)


def _utc(moment: datetime) -> datetime:
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    try:
        utc = aware.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("must be a date") from error
    return utc.replace(microsecond=utc.microsecond // 1000 * 1000)


PresentPassword = Annotated[str, StringConstraints(max_length=1024)]
"""A password that is looked at, wherever it was set; a login looks at its octets."""
Flag = Annotated[bool, BeforeValidator(_flag)]
Oid = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9a-fA-F]{24}$", to_lower=True),
    WithJsonSchema({"type": "string", "pattern": "^[0-9a-f]{24}$"}),
]
Number = Annotated[int, Field(ge=0, le=MAX_INTEGER)]
Moment = Annotated[datetime, AfterValidator(_utc)]
Meta = Annotated[
    str,
    BeforeValidator(_meta),
    WithJsonSchema({"anyOf": [{"type": "object"}, {"type": "string"}]}),
]
"""An application's own data: checked, kept as JSON text, returned as an object."""
Instant = Annotated[
    Moment | Literal[False], WithJsonSchema({"anyOf": [{"type": "string", "format": "date-time"}, {"const": False}]})
]
"""An instant; false where there is none."""
Tags = list[Annotated[str, StringConstraints(max_length=128)]]
AddressText = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
Text255 = Annotated[str, StringConstraints(max_length=255)]
Cursor = Annotated[str, StringConstraints(max_length=1024)]


class Page(Input):
    """A page of a list."""

    limit: Annotated[int, Field(ge=1, le=250)] = 20
    next: Cursor | None = None
    previous: Cursor | None = None
    page: str | int | None = None
    """Clients send it; the cursor knows the page."""


class Nothing(Input):
    """No fields."""


class Listing(Output):
    """A page of an answer; cursors are false at the ends."""

    total: int
    page: int
    previous_cursor: str | Literal[False]
    next_cursor: str | Literal[False]


def object_id(text: str) -> ObjectId:
    """Return the id of an `Oid`."""
    return ObjectId(text)


def instant(moment: datetime | None) -> str | None:
    """Return an instant as JavaScript writes it."""
    if moment is None:
        return None
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def meta_value(text: str) -> Any:
    """Return kept JSON text as the object it is."""
    return orjson.loads(text) if text else {}
