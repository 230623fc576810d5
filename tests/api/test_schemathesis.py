"""The API is asked everything that its own description allows, and more: nothing ends in a fault of the server."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import response_schema_conformance

from mailcore.api import errors as api_errors
from mailcore.api import operations
from mailcore.api.application import Application
from mailcore.api.operation import Operation
from mailcore.services import MailServices
from mailcore.services.accounts.tokens import owner_of_tenant
from tests.api.conftest import token
from tests.api.test_matrix import MAKERS
from tests.builders import make_user
from tests.store.test_delivery import deliver, message

CASES: Final = 2000
SOAK_CASES: Final = 20_000
UNTRIED: Final = frozenset(
    {"revokeToken", "logOutUser", "authenticate", "createUser", "deleteMailbox", "listUsers", "getUpdates"}
)
"""What would end the run itself, by taking the token or filling the tenant, or never ends; others have their tests."""
TRIED: Final = [operation for operation in operations.ALL if operation.name not in UNTRIED]
CHECKS: Final = [not_a_server_error, response_schema_conformance]


@dataclass
class Asked:
    """The described API, a token, and ids that are there, so that not everything ends in 404."""

    schema: Any
    headers: dict[str, str]
    ids: dict[str, str]
    statuses: Counter[int]


@pytest.fixture(scope="module")
def asked(app: Application, services: MailServices) -> Asked:
    user = make_user(services)
    deliver(services, message(b"hello"), user)
    ids = {"user": str(user.user_id)} | {name: make(services, user) for name, make in MAKERS.items()}
    schema = schemathesis.openapi.from_wsgi("/openapi.json", app)
    return Asked(schema, {"X-Access-Token": token(services, owner_of_tenant(user.tenant_id))}, ids, Counter())


def ask(asked: Asked, operation: Operation, count: int, *, at_random: bool = False) -> None:
    """Ask an operation so often, half of it what it takes and half what it does not; half with ids that are there.

    The same cases each time, unless `at_random`.
    """
    described = asked.schema[operation.path][operation.method]
    known = {name: asked.ids[name] for name in operation.path_names if name in asked.ids}
    for mode in GenerationMode:
        for path in (None, known):
            strategy = described.as_strategy(generation_mode=mode, path_parameters=path or None)

            @settings(
                max_examples=max(1, count // 4),
                database=None,
                deadline=None,
                derandomize=not at_random,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=strategy)
            def one(case: Any) -> None:
                response = case.call(headers=asked.headers)
                asked.statuses[response.status_code] += 1
                case.validate_response(response, checks=CHECKS)

            one()


@pytest.mark.parametrize("operation", TRIED, ids=lambda operation: operation.name)
def test_nothing_is_a_fault_of_the_server(asked: Asked, operation: Operation) -> None:
    ask(asked, operation, -(-CASES // len(TRIED)))


def test_it_was_asked_so_often(asked: Asked) -> None:
    """Some of it was done, and some refused: the cases reached the operations."""
    if asked.statuses.total() < CASES * 3 // 4:
        pytest.skip("only some of the operations were asked")
    assert asked.statuses[200] > 100
    assert asked.statuses[400] > 100


def test_a_fault_would_be_seen(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check itself: an error without a row is a fault of the server."""
    monkeypatch.setattr(api_errors, "TABLE", {})
    operation = next(one for one in TRIED if one.name == "getMailbox")
    with pytest.raises(BaseException, match=r"Server error|5\d\d"):
        ask(asked, operation, 40)


@pytest.mark.soak
@pytest.mark.parametrize("operation", TRIED, ids=lambda operation: operation.name)
def test_nothing_is_a_fault_of_the_server_for_long(asked: Asked, operation: Operation) -> None:
    ask(asked, operation, SOAK_CASES // len(TRIED), at_random=True)
