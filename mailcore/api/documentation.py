"""The API describes itself: OpenAPI 3.1 at /openapi.json, made from the table, and a page to read at /docs."""

from __future__ import annotations

import html
from functools import cache
from importlib.metadata import version
from typing import Any, Final

import orjson
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from werkzeug.wrappers import Request, Response

from mailcore.api import operations
from mailcore.api.application import Application
from mailcore.api.operation import Media, Operation

REFERENCE: Final = "#/components/schemas/{model}"
FAULTS: Final = {
    400: "The input does not fit; `details` says what is right for each field",
    403: "No good token, or one that may not do this",
    404: "No such thing for this token",
    503: "Not now; `Retry-After` says when to try again",
}
STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}"
    "code,pre{font:14px/1.4 ui-monospace,monospace}h2{margin-top:3rem}summary{cursor:pointer;padding:.35rem 0}"
    "b{display:inline-block;min-width:4.5rem}table{border-collapse:collapse;width:100%;margin:.5rem 0 1.5rem}"
    "td,th{text-align:left;padding:.25rem .75rem .25rem 0;vertical-align:top;border-top:1px solid #8884}"
)


def register(app: Application, table: tuple[Operation, ...]) -> None:
    """Add both routes; they need no token and tell no secret."""

    def description(_request: Request, _path: dict[str, str]) -> Response:
        return Response(_description(table), mimetype=Media.JSON.value)

    def page(_request: Request, _path: dict[str, str]) -> Response:
        answer = Response(_page(table), mimetype="text/html")
        answer.headers["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'"
        return answer

    app.add("GET", "/openapi.json", "openapi", description)
    app.add("GET", "/docs", "docs", page)


@cache
def openapi(table: tuple[Operation, ...] = operations.ALL) -> dict[str, Any]:
    """Return the description as an object (OpenAPI 3.1, §4.8)."""
    models: dict[type[BaseModel], None] = {}
    for operation in table:
        models[operation.takes] = models[operation.gives] = None
    _, schemas = models_json_schema([(model, "validation") for model in models], by_alias=True, ref_template=REFERENCE)
    defined: dict[str, Any] = schemas.get("$defs", {})
    paths: dict[str, dict[str, Any]] = {}
    for operation in table:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, defined)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Eider", "version": version("eider"), "summary": "Mail for organisations"},
        "paths": paths,
        "components": {
            "schemas": {**defined, "Error": _ERROR, "Plan": _PLAN},
            "securitySchemes": {
                "token": {"type": "apiKey", "in": "header", "name": "X-Access-Token"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
    }


_ERROR: Final = {
    "type": "object",
    "required": ["error", "code"],
    "properties": {
        "error": {"type": "string"},
        "code": {"type": "string"},
        "details": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}


_PLAN: Final = {
    "type": "object",
    "description": "What a dry run would have changed, in order",
    "required": ["success", "dryRun", "plan"],
    "properties": {
        "success": {"const": True},
        "dryRun": {"const": True},
        "plan": {
            "type": "array",
            "items": {"type": "object", "required": ["change"], "properties": {"change": {"type": "string"}}},
        },
    },
}


def _operation(operation: Operation, defined: dict[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": (operation.run.__doc__ or "").strip(),
        "tags": [operation.tag],
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in operation.path_names
        ],
        "responses": {
            "200": {"description": "Done", "content": {operation.media.value: _answer(operation)}},
            **_FAULTS,
        },
        "security": [] if operation.needs is None else [{"token": []}, {"bearer": []}],
    }
    if operation.changes and operation.method != "DELETE":
        content = {"application/json": {"schema": {"$ref": REFERENCE.format(model=operation.takes.__name__)}}}
        if operation.takes_bytes:
            content[Media.BYTES.value] = {"schema": {"type": "string", "format": "binary"}}
        described["requestBody"] = {"content": content}
    else:
        schema = defined[operation.takes.__name__]
        described["parameters"] += [
            {"name": name, "in": "query", "required": name in schema.get("required", ()), "schema": field}
            for name, field in schema.get("properties", {}).items()
        ]
    if operation.changes:
        described["parameters"] += _OF_WRITES
    return described


def _answer(operation: Operation) -> dict[str, Any]:
    if operation.media is Media.JSON:
        answer = {"$ref": REFERENCE.format(model=operation.gives.__name__)}
        return {
            "schema": {"anyOf": [answer, {"$ref": REFERENCE.format(model="Plan")}]} if operation.changes else answer
        }
    return {"schema": {"type": "string"}}


_FAULTS: Final = {
    str(status): {
        "description": text,
        "content": {"application/json": {"schema": {"$ref": REFERENCE.format(model="Error")}}},
    }
    for status, text in FAULTS.items()
}
_OF_WRITES: Final = [
    {
        "name": "dry_run", "in": "query", "schema": {"type": "boolean", "default": False},
        "description": "Check everything, change nothing, and answer with the plan",
    },
    {
        "name": "Idempotency-Key", "in": "header", "schema": {"type": "string", "maxLength": 255},
        "description": "The same request under the same key is done once",
    },
]  # fmt: skip


@cache
def _description(table: tuple[Operation, ...]) -> bytes:
    return orjson.dumps(openapi(table), option=orjson.OPT_INDENT_2)


@cache
def _page(table: tuple[Operation, ...]) -> bytes:
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        f"<title>Eider API</title><style>{STYLE}</style><h1>Eider API</h1>",
        "<p>Send a token as <code>X-Access-Token</code>. For programs: <a href=openapi.json>openapi.json</a>.</p>",
    ]
    groups: dict[str, list[Operation]] = {}
    for operation in table:
        groups.setdefault(operation.tag, []).append(operation)
    for tag, members in groups.items():
        parts.append(f"<h2>{html.escape(tag.replace('_', ' ').capitalize())}</h2>")
        parts.extend(_section(operation, openapi(table)) for operation in members)
    return "".join(parts).encode()


def _section(operation: Operation, described_all: dict[str, Any]) -> str:
    described = described_all["paths"][operation.path][operation.method.lower()]
    schema = described_all["components"]["schemas"][operation.takes.__name__]
    rows = "".join(
        f"<tr><td><code>{html.escape(name)}</code><td>{html.escape(_kind(field))}<td>"
        f"{'needed' if name in schema.get('required', ()) else html.escape(str(field.get('default', '') or ''))}"
        for name, field in schema.get("properties", {}).items()
    )
    table = f"<table><tr><th>Field<th>Type<th>Default{rows}</table>" if rows else ""
    return (
        f"<details><summary><b>{operation.method}</b> <code>{html.escape(operation.path)}</code> "
        f"{html.escape(operation.summary)}</summary><p>{html.escape(described['description'].splitlines()[0])}</p>"
        f"{table}</details>"
    )


def _kind(field: dict[str, Any]) -> str:
    if "anyOf" in field:
        return " or ".join(_kind(one) for one in field["anyOf"] if one.get("type") != "null")
    if "$ref" in field:
        return str(field["$ref"]).rpartition("/")[2]
    if field.get("type") == "array":
        return f"list of {_kind(field.get('items', {}))}"
    return str(field.get("format") or field.get("type") or "value")
