"""Every route with every id, of one's own, a colleague's, a stranger's, nobody's, and none at all (Attack W1).

The table of operations is walked: a new name in a path needs an entry in `MAKERS`, a new operation
with fields that must be there one in `BODIES`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from bson import ObjectId

from mailcore.api import app as app_module
from mailcore.api import operations
from mailcore.api.application import Application
from mailcore.api.operation import Operation
from mailcore.model.access import Protocol
from mailcore.model.filter import RuleContent, of_user
from mailcore.model.ids import UserId
from mailcore.model.outbound import NewOutbound, OutboundRecipient, Reason
from mailcore.model.roles import Role
from mailcore.model.secret import Secret
from mailcore.services import MailServices
from mailcore.services.accounts.tokens import owner_of_tenant
from tests.api.conftest import Answer, Api, token
from tests.builders import OPERATOR, MadeUser, make_tenant, make_user
from tests.store.test_delivery import deliver, message

Maker = Callable[[MailServices, MadeUser], str]


def _mailbox(services: MailServices, user: MadeUser) -> str:
    return str(services.mailboxes.create(user.user_id, OPERATOR, f"Box {ObjectId()}"))


def _message(services: MailServices, user: MadeUser) -> str:
    deliver(services, message(b"x"), user)
    return "1"


def _app_password(services: MailServices, user: MadeUser) -> str:
    return str(services.app_passwords.create(OPERATOR, user.user_id, "Phone")[0].id)


def _event(services: MailServices, user: MadeUser) -> str:
    services.authentication.login(user.address, Secret(user.password.encode()), Protocol.IMAP, "192.0.2.1")
    services.auth_log.flush()
    return services.auth_log.list_of_user(user.user_id)[0].key.hex()


def _filter(services: MailServices, user: MadeUser) -> str:
    return str(services.filters.create(OPERATOR, of_user(user.user_id), RuleContent()).id)


def _file(services: MailServices, user: MadeUser) -> str:
    return str(services.files.add(OPERATOR, user.user_id, b"x", "x", "text/plain"))


def _queued(services: MailServices, user: MadeUser) -> str:
    recipients = (OutboundRecipient("x@example.org"),)
    new = NewOutbound(
        user.user_id, user.tenant_id, user.address, recipients, b"Subject: x\r\n\r\n", Reason.API, ObjectId().binary
    )
    return services.queueing.enqueue(new, OPERATOR)


def _address(services: MailServices, user: MadeUser) -> str:
    domain = user.address.partition("@")[2]
    return str(services.addresses.create(OPERATOR, user.user_id, f"a{ObjectId()}@{domain}").id)


def _correspondent(services: MailServices, user: MadeUser) -> str:
    home = services.placement.home(user.user_id)
    home.shard.correspondents.note(user.user_id, {f"x{ObjectId()}@else.test": "X"}, datetime.now(UTC))
    return str(services.correspondents.find(user.user_id, "else.test", 1)[0].id)


MAKERS: Final[dict[str, Maker]] = {
    "mailbox": _mailbox,
    "message": _message,
    "attachment": lambda *_: "ATT00001",
    "asp": _app_password,
    "address": _address,
    "id": _address,
    "changeRegistered.id": _correspondent,
    "event": _event,
    "filter": _filter,
    "credential": lambda *_: "00" * 32,
    "file": _file,
    "queueId": _queued,
}
"""What stands for a name in a path, of one operation or of all: something of this user."""
OF_ANOTHER: Final = frozenset({"mailbox", "asp", "event", "filter", "file", "queueId", "address", "id"})
"""Names whose ids are unique, so that another's can be asked for as one's own."""
BODIES: Final[dict[str, dict[str, Any]]] = {
    "createUser": {"username": "x@example.org", "password": "long enough words"},
    "createMailbox": {"path": "New"},
    "changeRegistered": {"disabled": True},
    "createAddress": {"address": "new@example.org"},
    "createForwarded": {"address": "old@example.org", "targets": ["new@else.test"]},
    "createDomainAlias": {"alias": "example.net", "domain": "example.org"},
    "createAudit": {"user": "0" * 24, "expires": "2100-01-01T00:00:00Z"},
    "createWebhook": {"type": ["*"], "url": "https://hooks.test/in"},
    "createDkimKey": {"domain": "example.org", "selector": "s1"},
    "addCertificate": {"servername": "mail.example.org"},
    "putSetting": {"value": 1},
    "renameDomain": {"oldDomain": "example.org", "newDomain": "example.net"},
    "updateMessage": {"seen": True},
    "uploadMessage": {"subject": "x"},
    "submitMessage": {"to": [{"address": "x@example.org"}]},
    "forwardMessage": {"addresses": ["x@example.org"]},
    "addFile": {"content": "x"},
    "restoreBetween": {"start": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z"},
    "updateMessages": {"message": "1", "seen": True},
    "applyToSearch": {"action": {"seen": True}},
    "authenticate": {"username": "x@example.org", "password": "x"},
    "preAuthenticate": {"username": "x@example.org"},
    "createFilter": {"query": {}, "action": {"seen": True}},
    "allowDomain": {"domain": "example.org"},
    "blockDomain": {"domain": "example.org"},
    "createAppPassword": {"description": "Phone"},
    "setUpTotp": {"issuer": "Eider"},
    "enableTotp": {"token": "000000"},
    "checkTotp": {"token": "000000", "totpNonce": "0" * 40},
    "beginRegistration": {"description": "Key", "origin": "https://example.org"},
    "finishRegistration": {"challenge": "00", "rawId": "00", "clientDataJSON": "00", "attestationObject": "00"},
    "beginAuthentication": {"origin": "https://example.org"},
    "finishAuthentication": {
        "challenge": "00", "rawId": "00", "clientDataJSON": "00", "authenticatorData": "00", "signature": "00",
    },
}  # fmt: skip
WITH_USER: Final = [operation for operation in operations.ALL if "user" in operation.path_names]
MALFORMED: Final = ("x", "0", "%00", "$ne", "{}", "a" * 300, "..", "%C0%AF", "-1")


@dataclass
class Scene:
    """Two of one tenant, one of another, and tokens."""

    services: MailServices
    user: MadeUser
    colleague: MadeUser
    stranger: MadeUser
    own: Api
    tenant: Api
    ids: dict[tuple[str, str], str] = field(default_factory=dict)

    def id(self, operation: Operation, name: str, user: MadeUser) -> str:
        maker = f"{operation.name}.{name}" if f"{operation.name}.{name}" in MAKERS else name
        key = (maker, str(user.user_id))
        if key not in self.ids:
            self.ids[key] = MAKERS[maker](self.services, user)
        return self.ids[key]


@pytest.fixture(scope="module")
def scene(services: MailServices, app: Application) -> Scene:
    tenant = make_tenant(services)
    user, colleague = make_user(services, tenant=tenant), make_user(services, tenant=tenant)
    owner = services.tokens.owner_of_user(user.user_id)
    own = Api(app, token(services, owner, Role.USER))
    return Scene(
        services, user, colleague, make_user(services), own, Api(app, token(services, owner_of_tenant(user.tenant_id)))
    )


def ask(api: Api, operation: Operation, values: dict[str, str]) -> Answer:
    path = operation.path
    for name in operation.path_names:
        path = path.replace(f"{{{name}}}", values[name])
    needs_body = operation.changes and operation.method != "DELETE"
    return api.ask(operation.method, path, BODIES.get(operation.name, {}) if needs_body else None)


def values(scene: Scene, operation: Operation, **other: str) -> dict[str, str]:
    names = [name for name in operation.path_names if name not in {"user", *other}]
    return {"user": str(scene.user.user_id), **{name: scene.id(operation, name, scene.user) for name in names}, **other}


def test_every_name_and_body_has_an_entry() -> None:
    names = {name for operation in WITH_USER for name in operation.path_names} - {"user"}
    assert names <= MAKERS.keys()
    for operation in operations.ALL:
        if operation.changes and operation.method != "DELETE":
            operation.takes.model_validate(BODIES.get(operation.name, {}))


@pytest.mark.parametrize("operation", WITH_USER, ids=lambda operation: operation.name)
def test_others_do_not_exist(scene: Scene, operation: Operation) -> None:
    """A user's token knows nobody else, a tenant's no other tenant; nobody can tell them from who is not there."""
    nobody = ask(scene.own, operation, values(scene, operation, user=str(ObjectId())))
    code = "AccountNotFound" if operation.of_deleted else "UserNotFound"
    assert (nobody.status, nobody.body["code"]) == (404, code)
    for api, other in ((scene.own, scene.colleague), (scene.own, scene.stranger), (scene.tenant, scene.stranger)):
        answer = ask(api, operation, values(scene, operation, user=str(other.user_id)))
        assert (answer.status, answer.raw) == (404, nobody.raw)
    for text in MALFORMED:
        answer = ask(scene.own, operation, values(scene, operation, user=text))
        assert answer.status in {400, 404, 405, 308}, (text, answer.status)


NAMED: Final = [(operation, name) for operation in WITH_USER for name in operation.path_names if name != "user"]


@pytest.mark.parametrize(("operation", "name"), NAMED, ids=lambda value: getattr(value, "name", value))
def test_ids_of_others_are_not_there(scene: Scene, operation: Operation, name: str) -> None:
    """As one's own: a colleague's or a stranger's id is what an id is that nobody has."""
    if name in OF_ANOTHER:
        absent = ask(scene.own, operation, values(scene, operation, **{name: _absent(name)}))
        assert absent.status == 404, absent.body
        for other in (scene.colleague, scene.stranger):
            answer = ask(scene.own, operation, values(scene, operation, **{name: scene.id(operation, name, other)}))
            assert (answer.status, answer.body["code"]) == (404, absent.body["code"])
    for text in MALFORMED:
        answer = ask(scene.own, operation, values(scene, operation, **{name: text}))
        assert answer.status in {400, 403, 404, 405, 308}, (text, answer.status)


def _absent(name: str) -> str:
    return "0" * 48 if name == "event" else str(ObjectId())


def test_a_path_that_is_not_resolved_in_scope_would_be_seen(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check itself: without the look at the token's scope, strangers are found."""
    monkeypatch.setattr(app_module, "resolve_user", lambda _, text: UserId(ObjectId(text)))
    operation = next(one for one in WITH_USER if one.name == "listMailboxes")
    with pytest.raises(AssertionError):
        test_others_do_not_exist(scene, operation)
