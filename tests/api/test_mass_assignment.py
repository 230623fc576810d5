"""Nothing gets into a document by its name there (attack W3), and no operator into a query (attack W4).

Both walk the table of operations, so that a new one is asked as well. The tenant's documents are compared before and
after, in the directory and on the shards.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final, get_args

import pytest
from bson import ObjectId, encode

from mailcore.api import app as app_module
from mailcore.api import operations
from mailcore.api.fields import InputPart, Meta
from mailcore.api.operation import Operation
from mailcore.model.roles import Role
from mailcore.model.token import PLATFORM
from mailcore.services import MailServices
from tests.api.conftest import Answer, Api, token
from tests.api.test_matrix import BODIES
from tests.api.test_privileges import FOR
from tests.builders import OPERATOR, MadeUser, make_user
from tests.services.test_deleted_users import furnish
from tests.store.test_delivery import deliver, message

CANARY: Final = "assigned-canary"
HEARSAY: Final = (
    "role",
    "hidden",
    "internal",
    "disabled2fa",
    "is_admin",
    "$set",
    "__proto__",
    "constructor",
    "settings.tags",
)
"""Names that others' faults were made of."""
NOT_OF_PEOPLE: Final = frozenset({"events", "api_requests", "sign_in_changes", "auth_log", "trace", "api_tokens"})
"""Collections that note who asked, and change with every request."""
WRITING: Final = [operation for operation in operations.ALL if operation.changes]
WITH_FIELDS: Final = [operation for operation in operations.ALL if operation.takes.model_fields.keys() > {"sess", "ip"}]
OPERATORS: Final[dict[str, Any]] = {
    "gt": {"$gt": ""},
    "where": {"$where": "sleep(1000)"},
    "list": [{"$ne": ""}],
    "prototype": {"__proto__": {"x": 1}},
    "huge": 1 << 70,
    "nan": float("nan"),
}


NUMBERS: Final = {"putSetting": {"value"}}
"""Fields that take any number, so that a huge one is a value like others."""


def documents(services: MailServices) -> Iterator[tuple[str, dict[str, Any]]]:
    shards = services.placement.shards()
    for database in (services.placement.directory.database, *(shard.hot for shard in shards)):
        for name in database.list_collection_names():
            yield from ((name, document) for document in database[name].find())


def names_in(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from names_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from names_in(inner)


@pytest.fixture(scope="module")
def target(services: MailServices) -> MadeUser:
    """Somebody with something in most collections."""
    user = make_user(services)
    furnish(services, user)
    domain = user.address.partition("@")[2]
    services.forwarded_addresses.create(OPERATOR, user.tenant_id, f"old@{domain}", ["x@else.test"])
    services.groups.create(OPERATOR, user.tenant_id, f"all@{domain}", [user.address])
    services.totp.begin(OPERATOR, user.user_id, "Eider", "x")
    services.dkim_keys.create(OPERATOR, user.tenant_id, domain)
    deliver(services, message(b"mail"), user)
    return user


@pytest.fixture(scope="module")
def field_names(services: MailServices, target: MadeUser) -> list[str]:
    """Every name of a field that any document has."""
    found = {name for _, document in documents(services) for name in names_in(document)}
    assert {"auth_version", "shard", "placement_epoch", "quota_bytes", "tenant", "state", "is_shared"} & found
    assert len(found) > 100
    return sorted({*found, *HEARSAY})


def state(services: MailServices, user: MadeUser) -> dict[str, bytes]:
    """The documents of a user's tenant, but for those that note who asked."""
    owners = (user.user_id.binary, user.tenant_id.binary)
    return {
        f"{name} {document['_id']!r}": encode(document)
        for name, document in documents(services)
        if name not in NOT_OF_PEOPLE and any(owner in encode(document) for owner in owners)
    }


def path_of(operation: Operation, user: MadeUser) -> str:
    path = operation.path.replace("{user}", str(user.user_id))
    for name in operation.path_names:
        path = path.replace(f"{{{name}}}", str(ObjectId()) if name not in {"message", "attachment"} else "1")
    return path


_TOKENS: dict[Role, Api] = {}


def asker(platform: Api, services: MailServices, operation: Operation) -> Api:
    """The platform's token, or one of the role that the operation is for."""
    role = FOR.get(operation.needs.resource) if operation.needs is not None else None
    if role is None:
        return platform
    if role not in _TOKENS or _TOKENS[role].app is not platform.app:
        _TOKENS[role] = Api(platform.app, token(services, PLATFORM, role))
    return _TOKENS[role]


def ask(api: Api, operation: Operation, user: MadeUser, body: dict[str, Any]) -> Answer:
    if operation.method in {"GET", "DELETE"}:
        return api.ask(operation.method, path_of(operation, user), query_string=body)
    return api.ask(operation.method, path_of(operation, user), body)


def taken(operation: Operation) -> set[str]:
    """Names that the operation itself has."""
    return {field.alias or name for name, field in operation.takes.model_fields.items()}


def test_no_field_gets_in_by_its_name_in_the_database(
    platform: Api, services: MailServices, target: MadeUser, field_names: list[str]
) -> None:
    """Attack W3: of every operation that writes; in objects within the body as well."""
    before = state(services, target)
    for operation in WRITING:
        foreign = {name: CANARY for name in field_names if name not in taken(operation)}
        if operation.method == "DELETE":  # in a query a dot leads into an object
            foreign = {name: value for name, value in foreign.items() if "." not in name}
        is_loose = operation.takes.model_config.get("extra") != "forbid" or operation.takes_bytes
        body = {} if is_loose else BODIES.get(operation.name, {})
        answer = ask(asker(platform, services, operation), operation, target, {**body, **foreign})
        if is_loose or operation.of_deleted:
            assert answer.status < 500, operation.name
            continue
        assert (answer.status, answer.body.get("code")) == (400, "InputValidationError"), (operation.name, answer.body)
        told = {name.split(".")[0] for name in answer.body["details"]}
        assert {name.split(".")[0] for name in foreign} <= told | taken(operation) | {"body"}, operation.name
        for name, inner in BODIES.get(operation.name, {}).items():
            if isinstance(inner, dict):
                nested = {**BODIES[operation.name], name: {**inner, **foreign}}
                assert ask(asker(platform, services, operation), operation, target, nested).status == 400, (
                    operation.name,
                    name,
                )
    assert state(services, target) == before
    assert CANARY not in repr([document for name, document in documents(services) if name not in NOT_OF_PEOPLE])


def test_fields_that_are_let_through_would_be_seen(
    platform: Api, services: MailServices, target: MadeUser, field_names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control of W3: shapes that pass over what they do not know."""

    def lenient(operation: Operation, given: dict[str, Any]) -> Any:
        known = taken(operation)
        return operation.takes.model_validate({name: value for name, value in given.items() if name in known})

    monkeypatch.setattr(app_module, "check_fields", lenient)
    with pytest.raises(AssertionError):
        test_no_field_gets_in_by_its_name_in_the_database(platform, services, target, field_names)


def scalars(operation: Operation) -> list[str]:
    """Fields that take no object of anybody's making."""
    found = []
    for name, field in operation.takes.model_fields.items():
        kinds = (field.annotation, *get_args(field.annotation))
        is_object = any(isinstance(kind, type) and issubclass(kind, InputPart | dict) for kind in kinds)
        is_meta = get_args(Meta)[1] in field.metadata or any(kind == Meta for kind in kinds)
        if not is_object and not is_meta and "[" not in repr(field.annotation).replace("Annotated[", ""):
            found.append(field.alias or name)
    return found


@pytest.mark.parametrize("kind", OPERATORS)
def test_no_operator_takes_the_place_of_a_value(
    platform: Api, services: MailServices, target: MadeUser, kind: str
) -> None:
    """Attack W4: at every field of every operation, in bodies and in queries."""
    before = state(services, target)
    for operation in WITH_FIELDS:
        names = scalars(operation)
        if operation.changes and operation.method != "DELETE":
            raw = json.dumps(dict.fromkeys(names, OPERATORS[kind]))
            answer = asker(platform, services, operation).ask(
                operation.method, path_of(operation, target), data=raw, content_type="application/json"
            )
            assert answer.status in {400, 404}, (operation.name, answer.status, answer.body)
            if kind != "nan" and answer.body["code"] == "InputValidationError":
                told = {name.split(".")[0] for name in answer.body["details"]}
                assert set(names) <= told | NUMBERS.get(operation.name, set()), (operation.name, set(names) - told)
    assert state(services, target) == before


def test_no_operator_comes_in_by_a_query(platform: Api, services: MailServices, target: MadeUser) -> None:
    """Attack W4: brackets and dots, as other frameworks read them."""
    before = state(services, target)
    for operation in WITH_FIELDS:
        names = scalars(operation)
        spelled = {form: "x" for name in names for form in (f"{name}[$ne]", f"{name}.$gt", f"$where.{name}")}
        asked = asker(platform, services, operation).ask(
            operation.method, path_of(operation, target), query_string=spelled
        )
        assert asked.status in {200, 400, 404}, (operation.name, asked.status)
        if asked.status == 200:
            assert operation.takes.model_config.get("extra") != "forbid", operation.name
    assert state(services, target) == before


def test_values_that_nobody_checks_would_be_seen(
    platform: Api, services: MailServices, target: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control of W4."""
    monkeypatch.setattr(app_module, "check_fields", lambda operation, given: operation.takes.model_construct(**given))
    with pytest.raises(AssertionError):
        test_no_operator_takes_the_place_of_a_value(platform, services, target, "gt")
