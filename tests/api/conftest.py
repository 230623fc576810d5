"""The API of this test process, a tenant with a user, and clients with tokens of every scope."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from werkzeug.test import Client

from infra.devstack.endpoints import ShardUris
from mailcore.api import operations
from mailcore.api.app import create_app
from mailcore.api.application import Application
from mailcore.api.operation import Media
from mailcore.model.roles import Role
from mailcore.model.token import PLATFORM, TokenOwner
from mailcore.services import MailServices
from mailcore.services.accounts.tokens import owner_of_tenant
from tests.builders import OPERATOR, MadeUser, make_services, make_user

BY_NAME = {operation.name: operation for operation in operations.ALL}


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    body: dict[str, Any]
    headers: Mapping[str, str]
    raw: bytes


@dataclass(frozen=True)
class Api:
    """A client with a token; every good answer is held against its description."""

    app: Application
    token: str | None

    def ask(self, method: str, path: str, body: object = None, **options: Any) -> Answer:
        client = Client(self.app)
        headers = dict(options.pop("headers", {}))
        if self.token is not None:
            headers.setdefault("X-Access-Token", self.token)
        if body is not None:
            options["data"] = orjson.dumps(body)
            options["content_type"] = "application/json"
        got = client.open(path, method=method, headers=headers, **options)
        found = got.get_json(silent=True) if got.mimetype == Media.JSON.value else None
        if got.status_code == 200 and isinstance(found, dict):
            self._check(method, path, found)
        return Answer(got.status_code, found or {}, dict(got.headers), got.get_data())

    def get(self, path: str, **options: Any) -> Answer:
        return self.ask("GET", path, **options)

    def post(self, path: str, body: object, **options: Any) -> Answer:
        return self.ask("POST", path, body, **options)

    def put(self, path: str, body: object, **options: Any) -> Answer:
        return self.ask("PUT", path, body, **options)

    def delete(self, path: str, **options: Any) -> Answer:
        return self.ask("DELETE", path, **options)

    def _check(self, method: str, path: str, found: dict[str, Any]) -> None:
        adapter = self.app.url_map.bind("localhost")
        name, _ = adapter.match(path.partition("?")[0], method=method)
        operation = BY_NAME.get(name)
        if operation is None or "plan" in found:
            return
        extra = found.keys() - {field.alias or name for name, field in operation.gives.model_fields.items()}
        assert not extra, f"{name} answers with {extra}, which its description lacks"
        operation.gives.model_validate(found)


@pytest.fixture(scope="session")
def services(directory_uri: str, shard_uris: dict[str, ShardUris], redis_url: str) -> Iterator[MailServices]:
    made = make_services(directory_uri, shard_uris, redis_url)
    made.placement.directory.ensure_indexes()
    yield made
    made.close()


@pytest.fixture(scope="session")
def app(services: MailServices) -> Application:
    return create_app(services)


def token(services: MailServices, owner: TokenOwner, role: Role = Role.ROOT) -> str:
    return services.tokens.create(OPERATOR, owner, role, "test")[1].reveal_text()


@pytest.fixture(scope="session")
def platform(app: Application, services: MailServices) -> Api:
    """The API with a platform token."""
    return Api(app, token(services, PLATFORM))


@pytest.fixture
def user(services: MailServices) -> MadeUser:
    return make_user(services)


@pytest.fixture
def tenant(app: Application, services: MailServices, user: MadeUser) -> Api:
    """The API with a token of the user's tenant."""
    return Api(app, token(services, owner_of_tenant(user.tenant_id)))


@pytest.fixture
def own(app: Application, services: MailServices, user: MadeUser) -> Api:
    """The API with a token of the user itself."""
    return Api(app, token(services, services.tokens.owner_of_user(user.user_id), Role.USER))
