"""The contract: each operation is there, takes the listed fields and answers with the listed fields.

Read from the shared folder; without it these tests are skipped.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any, Final

import pytest

from mailcore.api import operations
from mailcore.api.documentation import openapi
from mailcore.api.operation import Media, Operation
from tests.corpus import SHARED

TABLE: Final = {(operation.method, operation.path): operation for operation in operations.ALL}
CONTROL: Final = {"accessToken"}
CONTRACT: Final = SHARED / "api" / "contract.json"


@cache
def contract() -> dict[str, Any]:
    """Return the contract; empty where the shared folder is not there."""
    found: dict[str, Any] = json.loads(CONTRACT.read_text()) if CONTRACT.is_file() else {}
    return found


def pairs() -> list[str]:
    return list(contract()) or ["contract not here"]


def operation_of(pair: str) -> Operation:
    if pair not in contract():
        pytest.skip("the contract lies in the shared folder, which is not here")
    method, path = pair.split(" ")
    if pair in MISSING:
        pytest.xfail("not built yet")
    return TABLE[method, path]


UNFINISHED: Final[frozenset[str]] = frozenset()
MISSING: Final = UNFINISHED | {pair for pair in contract() if tuple(pair.split(" ")) not in TABLE}
"""What is yet to be built."""


_UNKNOWN_TO_THE_LOG: Final = frozenset(
    [
        "key",
        "sess",
        "requiredScope",
        "target",
        "asp",
        "aname",
        "temporary",
        "filter",
        "credential",
        "appId",
        "require2fa",
    ]
)
OMITTED: Final = {
    "POST /users/{user}/2fa/webauthn/registration-challenge": frozenset({"icon"}),
    "GET /settings/{key}": frozenset({"error"}),
    "GET /audit/{audit}": frozenset({"deletedTime"}),
    "GET /users/{user}/authlog": _UNKNOWN_TO_THE_LOG,
    "GET /users/{user}/authlog/{event}": _UNKNOWN_TO_THE_LOG,
}
"""Fields that an answer may have, and ours never has: nothing of the kind is kept."""


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = openapi()["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def kinds(schema: dict[str, Any]) -> set[str]:
    """Return the JSON types that a schema allows, null aside."""
    schema = resolved(schema)
    if "anyOf" in schema or "oneOf" in schema:
        return {kind for one in schema.get("anyOf", schema.get("oneOf", [])) for kind in kinds(one)}
    if "const" in schema or "enum" in schema:
        values = [schema["const"]] if "const" in schema else schema["enum"]
        return {_kind_of(value) for value in values}
    found = schema.get("type", "any")
    return {"number" if found == "integer" else found} - {"null"}


def _kind_of(value: object) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, int | float) else "string"


def wanted_kinds(wanted: Any) -> set[str]:
    if isinstance(wanted, list):
        return {"array"}
    if isinstance(wanted, dict):
        return {kind for one in wanted["oneOf"] for kind in wanted_kinds(one)} if "oneOf" in wanted else {"object"}
    return {str(wanted).split(" ", 1)[0]}


def object_of(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the object among what a schema allows."""
    schema = resolved(schema)
    for one in schema.get("anyOf", ()):
        if "object" in kinds(one):
            return object_of(one)
    return schema


def list_of(schema: dict[str, Any]) -> dict[str, Any]:
    schema = resolved(schema)
    for one in schema.get("anyOf", ()):
        if "array" in kinds(one):
            return list_of(one)
    return schema


def compare(where: str, wanted: dict[str, Any], schema: dict[str, Any], faults: list[str], *, needed: bool) -> None:
    """Note what an object of the contract has and ours has not; `needed`: what it always has, ours always has."""
    properties = schema.get("properties", {})
    for starred, kind in wanted.items():
        name = starred.rstrip("*")
        if name in CONTROL:
            continue
        if name not in properties:
            if schema.get("additionalProperties") in (None, False):
                faults.append(f"{where}.{name} is missing")
            continue
        ours = properties[name]
        offered = kinds(ours)
        if "any" not in offered and kind != {} and not wanted_kinds(kind) & offered:
            faults.append(f"{where}.{name}: {kind} is wanted, {offered} offered")
        if starred.endswith("*") and needed and name not in schema.get("required", ()) and "default" not in ours:
            faults.append(f"{where}.{name} must always be there")
        if isinstance(kind, dict) and kind and "oneOf" not in kind:
            compare(f"{where}.{name}", kind, object_of(ours), faults, needed=needed)
        if isinstance(kind, list) and kind and isinstance(kind[0], dict) and "oneOf" not in kind[0]:
            compare(f"{where}.{name}[]", kind[0], object_of(list_of(ours).get("items", {})), faults, needed=needed)


@pytest.mark.parametrize("pair", pairs())
def test_it_takes_what_the_contract_lists(pair: str) -> None:
    operation = operation_of(pair)
    schema = operation.takes.model_json_schema(by_alias=True)
    schema = {**schema, "properties": {**schema.get("properties", {}), **{name: {} for name in operation.path_names}}}
    faults: list[str] = []
    for part in ("path", "query", "body application/json"):
        compare(part, contract()[pair].get(part, {}), schema, faults, needed=False)
    for name in schema.get("required", ()):
        listed = {key for part in ("query", "body application/json") for key in contract()[pair].get(part, {})}
        if f"{name}*" not in listed:
            faults.append(f"{name} is needed here and not by the contract")
    assert not faults, faults


@pytest.mark.parametrize("pair", pairs())
def test_it_gives_what_the_contract_lists(pair: str) -> None:
    operation = operation_of(pair)
    wanted = next((value for key, value in contract()[pair].items() if key.startswith("response 200")), {})
    if operation.media is not Media.JSON:
        assert f"response 200 {operation.media.value}" in contract()[pair]
        return
    faults: list[str] = []
    compare(
        "answer", wanted, resolved(openapi()["components"]["schemas"][operation.gives.__name__]), faults, needed=True
    )
    omitted = OMITTED.get(pair, frozenset())
    faults = [fault for fault in faults if fault.split(" ")[0].rpartition(".")[2] not in omitted]
    assert not faults, faults


def test_every_name_and_route_is_there_once() -> None:
    assert len({operation.name for operation in operations.ALL}) == len(operations.ALL) == len(TABLE)


def test_a_field_that_is_gone_would_be_told() -> None:
    """The check itself: an answer without `unseen` fails."""
    schema = dict(openapi()["components"]["schemas"]["MailboxAnswer"])
    schema["properties"] = {name: value for name, value in schema["properties"].items() if name != "unseen"}
    faults: list[str] = []
    compare("answer", {"unseen*": "number", "path*": "number"}, schema, faults, needed=True)
    assert len(faults) == 2
