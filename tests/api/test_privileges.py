"""Who may do what by the API: ids of tenants (attack W1), roles against operations, and ways around both (attack W2).

The table of operations is walked: an id in a path without a user needs an entry in `MAKERS`, what a user's own token
may do without one a line in `OF_USERS`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from bson import ObjectId

from mailcore.api import app as app_module
from mailcore.api import operations
from mailcore.api.app import create_app
from mailcore.api.application import Application
from mailcore.api.call import Call
from mailcore.api.fields import Nothing, Output
from mailcore.api.operation import Media, Operation, Permission
from mailcore.model.filter import Verdict
from mailcore.model.ids import TenantId
from mailcore.model.roles import ROLES, Action, Resource, Role
from mailcore.model.roles import may as grants
from mailcore.model.token import PLATFORM
from mailcore.services import MailServices
from mailcore.services.accounts.tokens import owner_of_tenant
from tests.api.conftest import Answer, Api, token
from tests.api.test_matrix import BODIES, MALFORMED
from tests.api.test_matrix import MAKERS as OF_A_USER
from tests.builders import OPERATOR, MadeUser, make_user

Maker = Callable[[MailServices, MadeUser], str]
Tokens = tuple[dict[Role, Api], MadeUser]


def _domain(user: MadeUser) -> str:
    return user.address.partition("@")[2]


def _forwarded(services: MailServices, user: MadeUser) -> str:
    address = f"f{ObjectId()}@{_domain(user)}"
    return str(services.forwarded_addresses.create(OPERATOR, user.tenant_id, address, ["x@else.test"]).id)


def _alias(services: MailServices, user: MadeUser) -> str:
    name = f"a{ObjectId()}.{_domain(user)}"
    return str(services.domains.create_alias(OPERATOR, user.tenant_id, name, _domain(user)).id)


def _alias_name(services: MailServices, user: MadeUser) -> str:
    name = f"a{ObjectId()}.{_domain(user)}"
    return services.domains.create_alias(OPERATOR, user.tenant_id, name, _domain(user)).name


def _listed(services: MailServices, user: MadeUser) -> str:
    return str(services.domain_access.put(OPERATOR, user.tenant_id, "vip", Verdict.BLOCK, f"x{ObjectId()}.test").id)


def _dkim_key(services: MailServices, user: MadeUser) -> str:
    return str(services.dkim_keys.create(OPERATOR, user.tenant_id, _domain(user)).id)


def _signed_domain(services: MailServices, user: MadeUser) -> str:
    _dkim_key(services, user)
    return _domain(user)


def _webhook(services: MailServices, user: MadeUser) -> str:
    return str(services.webhooks.create(OPERATOR, user.tenant_id, None, ["*"], "https://hook.test/")[0].id)


def _audit(services: MailServices, user: MadeUser) -> str:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    return str(services.audits.create(OPERATOR, user.user_id, None, None, tomorrow))


MAKERS: Final[dict[str, Maker]] = {
    "getForwarded": _forwarded,
    "updateForwarded": _forwarded,
    "deleteForwarded": _forwarded,
    "resolveAddress": lambda _, user: user.address,
    "resolveUser": lambda _, user: user.address,
    "getDomainAlias": _alias,
    "deleteDomainAlias": _alias,
    "resolveDomainAlias": _alias_name,
    "unlistDomain": _listed,
    "deleteWebhook": _webhook,
    "getAudit": _audit,
    "exportAudit": _audit,
    "getDkimKey": _dkim_key,
    "deleteDkimKey": _dkim_key,
    "resolveDkimKey": _signed_domain,
}
"""What stands for the id in the path of an operation without a user: something of this user's tenant."""
OF_PLATFORM: Final = frozenset({Resource.CERTS, Resource.SETTINGS, Resource.EXPORT, Resource.IMPORT})
"""What belongs to nobody but the platform: no token of a tenant may, whatever its role."""
FOR: Final = {Resource.AUDIT: Role.AUDIT, Resource.EXPORT: Role.EXPORT, Resource.IMPORT: Role.EXPORT}
"""What root may not: the role of a token that is made for it."""
NO_IDS: Final = frozenset({"tag"})
"""Names in paths that everybody chooses, and that mean something within one's own tenant only."""
OF_USERS: Final = frozenset(
    {"resolveUser", "resolveAddress", "authenticate", "preAuthenticate", "revokeToken", "checkToken", "listWebhooks"}
)
"""Operations without a user in the path that a user's own token may ask for."""
BEFORE_CHANGE: Final = frozenset(
    {"getUser", "updateUser", "authenticate", "preAuthenticate", "revokeToken", "checkToken"}
)
"""What a token may that is for the choice of another password; changes of a user only with one."""
OF_OTHER_ROLES: Final = {
    "listUsers": {Role.ROOT, Role.MANAGER},
    "createUser": {Role.ROOT, Role.MANAGER},
    "deleteUser": {Role.ROOT, Role.MANAGER},
    "listMessages": {Role.ROOT, Role.WEBMAIL, Role.USER, Role.DOWNLOADER},
    "createMailbox": {Role.ROOT, Role.WEBMAIL, Role.USER},
    "authenticate": {Role.ROOT, Role.MANAGER, Role.WEBMAIL, Role.USER, Role.AUTH, Role.TOKEN_AUTH},
    "createDomainAlias": {Role.ROOT, Role.MANAGER},
    "submitMessage": {Role.ROOT, Role.WEBMAIL, Role.USER},
}
"""Spelled out, so that a change of the table of roles is seen."""
BY_NAME: Final = {operation.name: operation for operation in operations.ALL}
WITHOUT_USER: Final = [operation for operation in operations.ALL if "user" not in operation.path_names]
WITH_ID: Final = [
    operation
    for operation in WITHOUT_USER
    if set(operation.path_names) - NO_IDS and not (operation.needs and operation.needs.resource in OF_PLATFORM)
]


def ask(api: Api, operation: Operation, values: dict[str, str], **options: Any) -> Answer:
    path = operation.path
    for name in operation.path_names:
        path = path.replace(f"{{{name}}}", values[name])
    needs_body = operation.changes and operation.method != "DELETE"
    return api.ask(operation.method, path, BODIES.get(operation.name, {}) if needs_body else None, **options)


def test_every_id_without_a_user_has_an_entry() -> None:
    assert {operation.name for operation in WITH_ID} == MAKERS.keys()


@pytest.mark.parametrize("operation", WITH_ID, ids=lambda operation: operation.name)
def test_ids_of_another_tenant_are_not_there(
    tenant: Api, own: Api, services: MailServices, user: MadeUser, operation: Operation
) -> None:
    """Nobody can tell another tenant's from what is not there; malformed ones are refused."""
    stranger = make_user(services)
    assert operation.needs is not None
    if operation.needs.resource in FOR:
        tenant = Api(tenant.app, token(services, owner_of_tenant(user.tenant_id), FOR[operation.needs.resource]))
    (name,) = set(operation.path_names) - NO_IDS
    theirs = MAKERS[operation.name](services, stranger)
    nobodys = str(ObjectId()) if ObjectId.is_valid(theirs) else f"nobody.{ObjectId()}.test"
    absent = ask(tenant, operation, {name: nobodys})
    assert absent.status == 404
    answer = ask(tenant, operation, {name: theirs})
    assert (answer.status, answer.body) == (404, absent.body)
    for text in MALFORMED:
        assert ask(tenant, operation, {name: text}).status in {400, 403, 404, 405, 308}, text
    asked = ask(own, operation, {name: theirs})
    assert (asked.status, asked.body["code"]) == ((404, absent.body["code"]) if operation.name in OF_USERS else
                                                  (403, "MissingPrivileges"))  # fmt: skip


def test_a_token_that_sees_every_tenant_would_be_seen(
    tenant: Api, own: Api, services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control of W1 for ids of tenants."""
    monkeypatch.setattr("mailcore.api.call.Call.sees", lambda *_: True)
    with pytest.raises(AssertionError):
        test_ids_of_another_tenant_are_not_there(tenant, own, services, user, BY_NAME["getForwarded"])


# -- roles --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def by_role(app: Application, services: MailServices) -> Tokens:
    """A token of each role: a user's own for the role of users, its tenant's for all others."""
    user = make_user(services)
    owners = {role: owner_of_tenant(TenantId(user.tenant_id)) for role in Role}
    owners[Role.USER] = services.tokens.owner_of_user(user.user_id)
    return {role: Api(app, token(services, owner, role)) for role, owner in owners.items()}, user


def values_of(services: MailServices, operation: Operation, user: MadeUser) -> dict[str, str]:
    """Things that exist, so that only the role is in the way."""
    values = {"user": str(user.user_id), "tag": "vip"}
    for name in set(operation.path_names) - values.keys():
        if operation.needs is not None and operation.needs.resource in OF_PLATFORM:
            values[name] = str(ObjectId())
            continue
        maker = OF_A_USER.get(f"{operation.name}.{name}") or OF_A_USER.get(name)
        maker = MAKERS.get(operation.name) or maker
        assert maker is not None
        if maker not in _MADE:
            _MADE[maker] = maker(services, user)
        values[name] = _MADE[maker]
    return values


_MADE: dict[Maker, str] = {}
"""Of the one user of `by_role`; everything is dry."""


def may(operation: Operation, role: Role) -> bool:
    """As the table of roles is read by people: capitals for anybody's, small letters for one's own."""
    assert operation.needs is not None
    if operation.needs.resource in OF_PLATFORM:
        return False
    cell = ROLES[role].cells.get(operation.needs.resource, "")
    letter = operation.needs.action.value
    own = "user" in operation.path_names or operation.needs.own_without_user
    own = own and role is Role.USER and not operation.needs.of_tenant
    return letter.upper() in cell or (letter in cell and own)


def test_what_a_users_own_token_may_without_a_user_says_so() -> None:
    """Attack W2: an operation that does not say so, as each new one, answers about anybody and is refused."""
    assert {one.name for one in WITHOUT_USER if one.needs is not None and one.needs.own_without_user} == OF_USERS


def test_an_operation_that_says_nothing_is_not_a_users(services: MailServices, by_role: Tokens) -> None:
    tokens, _ = by_role
    told = _unsaid(services, tokens[Role.USER])
    assert (told.status, told.body["code"]) == (403, "MissingPrivileges")


def test_a_token_that_is_for_another_password_does_nothing_else(services: MailServices, by_role: Tokens) -> None:
    """W15: neither mail is read with it nor anything made that outlives it, like an app password."""
    tokens, user = by_role
    owner = services.tokens.owner_of_user(user.user_id)
    _, value = services.tokens.create(OPERATOR, owner, Role.USER, "x", change_first=True)
    mine = Api(tokens[Role.USER].app, value.reveal_text())
    let_in = set()
    for operation in operations.ALL:
        if operation.needs is None or not may(operation, Role.USER) or operation.of_deleted:
            continue
        answer = ask(mine, operation, values_of(services, operation, user), query_string={"dry_run": "true"})
        if (answer.status, answer.body.get("code")) != (403, "PasswordChangeNeeded"):
            let_in.add(operation.name)
    assert let_in | {"updateUser"} == BEFORE_CHANGE
    assert {one.name for one in operations.ALL if one.needs and one.needs.before_change} == BEFORE_CHANGE


def test_a_permission_that_does_not_look_at_what_a_token_is_for_would_be_seen(
    services: MailServices, by_role: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control of W15."""
    monkeypatch.setattr(Call, "must_change_first", False)
    monkeypatch.setattr(operations, "ALL", [BY_NAME["listMailboxes"], BY_NAME["createAppPassword"]])
    with pytest.raises(AssertionError):
        test_a_token_that_is_for_another_password_does_nothing_else(services, by_role)


def test_a_permission_that_takes_every_such_operation_for_the_users_own_would_be_seen(
    services: MailServices, by_role: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control of W2."""

    def lenient(call: Call, needs: Permission) -> None:
        assert grants(call.role, needs.action, needs.resource, own=True)

    monkeypatch.setattr(app_module, "check_permission", lenient)
    tokens, _ = by_role
    assert _unsaid(services, tokens[Role.USER]).status == 200


def _unsaid(services: MailServices, own: Api) -> Answer:
    """Ask with a user's token for something new, about nobody, that the role of users may read of its own."""
    needs = Permission(Resource.USERS, Action.READ)
    new = Operation("GET", "/new", "new", "", needs, Nothing, Output, lambda *_: {})
    return Api(create_app(services, [new]), own.token).get("/new")


@pytest.mark.parametrize(
    "operation", [one for one in operations.ALL if one.needs is not None], ids=lambda one: one.name
)
def test_a_role_may_do_what_its_row_says_and_nothing_else(
    services: MailServices, by_role: Tokens, operation: Operation
) -> None:
    """Attack W2: dry, so that whoever may changes nothing; nothing of a deleted user's is there."""
    tokens, user = by_role
    values = values_of(services, operation, user)
    let_in = set()
    for role, api in tokens.items():
        if operation.media is Media.EVENTS and may(operation, role):
            let_in.add(role)  # would be listened to for ever
            continue
        answer = ask(api, operation, values, query_string={"dry_run": "true"})
        refused = answer.status == 403 and answer.body.get("code") == "MissingPrivileges"
        is_absent = operation.of_deleted and answer.body.get("code") == "AccountNotFound"
        if not refused and not is_absent:
            let_in.add(role)
        assert is_absent or refused is not may(operation, role), (role, answer.status, answer.body)
    if operation.name in OF_OTHER_ROLES:
        assert let_in == OF_OTHER_ROLES[operation.name]
    if "user" not in operation.path_names:
        assert (Role.USER in let_in) is (operation.name in OF_USERS)


def test_permissions_that_nobody_looks_at_would_be_seen(
    services: MailServices, by_role: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control of W2."""
    monkeypatch.setattr(app_module, "check_permission", lambda *_: None)
    with pytest.raises(AssertionError):
        test_a_role_may_do_what_its_row_says_and_nothing_else(services, by_role, BY_NAME["listUsers"])


# -- ways around --------------------------------------------------------------------------------

DETOURS: Final = {
    "a slash at its end": lambda path: f"{path}/",
    "a second slash": lambda path: f"/{path}",
    "capitals": lambda path: path.upper() if path.upper() != path else f"{path}X",
    "a slash encoded twice": lambda path: path.replace("/", "%252f"),
    "a dot": lambda path: f"{path}/.",
    "up and down": lambda path: f"/health/..{path}",
    "a parameter": lambda path: f"{path};x=1",
    "a suffix": lambda path: f"{path}.json",
}


@pytest.mark.parametrize("detour", DETOURS)
def test_no_other_spelling_of_a_path_leads_to_it(platform: Api, detour: str) -> None:
    """Of every operation, with a token that may do everything: what is spelled otherwise is not there."""
    for operation in operations.ALL:
        path = operation.path
        for name in operation.path_names:
            path = path.replace(f"{{{name}}}", str(ObjectId()))
        answer = platform.ask(operation.method, DETOURS[detour](path))
        ends_in_id = operation.path.endswith("}")
        assert answer.status in ({400, 403, 404, 405} if ends_in_id else {404, 405}), (operation.path, answer.status)


@pytest.mark.parametrize("header", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"])
def test_a_method_is_what_it_is(tenant: Api, user: MadeUser, header: str) -> None:
    """Nothing turns a question into a change: not a header, not a field."""
    path = f"/users/{user.user_id}"
    for method in ("DELETE", "PUT"):
        assert tenant.get(path, headers={header: method}).body["address"] == user.address
        assert tenant.get(f"{path}?_method={method}").body["code"] == "InputValidationError"
        assert tenant.ask("POST", path, {"_method": method}, headers={header: method}).status == 405
    assert tenant.get(path).status == 200


def test_a_router_that_is_lenient_would_be_seen(services: MailServices, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control."""
    lenient = create_app(services)
    lenient.url_map.strict_slashes = False
    for rule in lenient.url_map.iter_rules():
        rule.strict_slashes = False
    lenient.url_map.update()
    api = Api(lenient, token(services, PLATFORM))
    with pytest.raises(AssertionError):
        test_no_other_spelling_of_a_path_leads_to_it(api, "a slash at its end")
