"""Reading a request: path, query and body as one map of fields, and what an operation makes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any, Final

import orjson
from pydantic import ValidationError
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Request

from mailcore.api.errors import ApiError, invalid
from mailcore.api.fields import Input
from mailcore.api.large_bodies import is_large, large_json, received
from mailcore.api.operation import Operation

JSON: Final = "application/json"
FORMS: Final = frozenset({"application/x-www-form-urlencoded", "multipart/form-data"})
FIELDS_BYTES: Final = 100 << 20
"""Largest body of fields: attachments come in them, in base64."""
FORM_BYTES: Final = 1 << 20
"""Largest form: what is larger comes as JSON."""
CONTROL: Final = frozenset({"accessToken", "dry_run"})
"""Names in the query that are the API's own."""
MAX_DEPTH: Final = 4


def read_fields(request: Request, operation: Operation, pause: Callable[[], None]) -> dict[str, Any]:
    """Return the fields of a request; those of the query count before those of the body.

    `pause` lets others run while a large body comes.

    Raises:
        ApiError: the body is no JSON object, too large, or compressed.
    """
    given: dict[str, Any] = {}
    if operation.changes and request.content_length != 0:
        if request.headers.get("Content-Encoding", "identity").strip().lower() not in {"", "identity"}:
            raise ApiError(415, "UnsupportedContentEncoding", "Send the body as it is: without Content-Encoding")
        given.update(_body(request, operation, pause))
    given.update(_nested(request.args.items(multi=True), CONTROL))
    return given


def check_fields(operation: Operation, given: dict[str, Any]) -> Input:
    """Return the fields as the operation takes them.

    Raises:
        ApiError: some do not fit; every one is told.
    """
    try:
        return operation.takes.model_validate(given)
    except ValidationError as error:
        raise invalid({_name(found["loc"]): _text(found) for found in error.errors(include_url=False)}) from None


def is_fields(request: Request) -> bool:
    """Whether the body is made of fields rather than of data."""
    return request.mimetype in FORMS or request.mimetype == JSON or not request.mimetype


def _body(request: Request, operation: Operation, pause: Callable[[], None]) -> dict[str, Any]:
    if operation.takes_bytes and not is_fields(request):
        return {}
    if (request.content_length or 0) > FIELDS_BYTES:
        raise ApiError(413, "MessageTooLarge", f"A request has at most {FIELDS_BYTES} bytes")
    if request.mimetype in FORMS:
        return _nested(_form(request).items(multi=True), frozenset())
    try:
        found = large_json(request, FIELDS_BYTES, pause) if is_large(request) else _json(request)
    except orjson.JSONDecodeError as error:
        raise ApiError(400, "InputValidationError", f"The body is not JSON: {error.msg}") from None
    if not isinstance(found, dict):
        raise ApiError(400, "InputValidationError", "The body must be a JSON object")
    return found


def _form(request: Request) -> MultiDict[str, str]:
    """Return the fields of a form; files in it are none.

    Raises:
        ApiError: it is too large, whether its length was said or not.
        RequestEntityTooLarge: a part of it is.
    """
    raw = b"".join(received(request.stream, FORM_BYTES))
    parser = request.make_form_data_parser()
    return parser.parse(BytesIO(raw), request.mimetype, len(raw), request.mimetype_params)[1]


def _json(request: Request) -> Any:
    raw = request.get_data(cache=False)
    return orjson.loads(raw) if raw.strip() else {}


def _nested(pairs: Iterable[tuple[str, str]], ignored: frozenset[str]) -> dict[str, Any]:
    """Return pairs as a tree: `or.query=x` is {"or": {"query": "x"}}, a repeated name a list."""
    tree: dict[str, Any] = {}
    for name, value in pairs:
        if name in ignored:
            continue
        *above, last = name.split(".", MAX_DEPTH)
        place = tree
        for part in above:
            below = place.setdefault(part, {})
            if not isinstance(below, dict):
                raise ApiError(400, "InputValidationError", f"{name}: {part} is a value already")
            place = below
        last = last.removesuffix("[]")
        if last in place:
            known = place[last]
            place[last] = [*known, value] if isinstance(known, list) else [known, value]
        else:
            place[last] = [value] if name.endswith("[]") else value
    return tree


def _name(location: tuple[str | int, ...]) -> str:
    return ".".join(str(part) for part in location) or "body"


def _text(found: Any) -> str:
    return str(found["msg"]).removeprefix("Value error, ")
