"""Users out to a file and in again: all of a user but what signs in; a file that is not whole makes nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import bson
import pytest

from infra.devstack.endpoints import Endpoints, ShardUris
from mailcore.api.app import create_app
from mailcore.api.application import Application
from mailcore.errors import UserNotFound
from mailcore.model import data_file
from mailcore.model.actor import Actor, ActorKind, Door
from mailcore.model.filter import Query, RuleAction, RuleContent, of_user
from mailcore.model.flags import FLAGGED, SEEN, FlagSet
from mailcore.model.ids import UserId
from mailcore.model.roles import Role
from mailcore.model.token import PLATFORM
from mailcore.services import MailServices
from mailcore.services.accounts.tokens import owner_of_tenant
from mailcore.services.keeping import data_import
from mailcore.services.mailboxes.messages import NewMessage
from tests.api.conftest import Answer, Api, token
from tests.builders import OPERATOR, MadeUser, make_services, make_tenant

LARGE = b"Subject: large\r\n\r\n" + b"x" * 78 + b"\r\n" + bytes(range(1, 9)) * 400_000
ODD = b"Subject: odd\r\nX: \xff\xfe\r\n\r\nFrom here\r\n.\r\n\x00"


@pytest.fixture(scope="module")
def there(stack: Endpoints, fresh_uri: Callable[[str, str], str]) -> Iterator[MailServices]:
    """Another installation: with its own directory, shard and keys of tenants."""
    uris = stack.mongo.shards["a"]
    shard = ShardUris(fresh_uri(uris.hot, "data_hot"), fresh_uri(uris.cold, "data_cold"))
    connected = make_services(fresh_uri(stack.mongo.directory, "data_directory"), {"a": shard})
    connected.placement.directory.ensure_indexes()
    yield connected
    connected.close()


@pytest.fixture
def here(app: Application, services: MailServices) -> Api:
    return Api(app, token(services, PLATFORM, Role.EXPORT))


@pytest.fixture
def other(there: MailServices) -> Api:
    return Api(create_app(there), token(there, PLATFORM, Role.EXPORT))


def fill(services: MailServices, user: MadeUser) -> None:
    """With whatever a user can have that goes along."""
    user_id = user.user_id
    domain = user.address.partition("@")[2]
    plans = services.mailboxes.create(user_id, OPERATOR, "Plans/2026")
    services.addresses.create(OPERATOR, user_id, f"second-{user.address.partition('@')[0]}@{domain}", name="Two")
    action = RuleAction(seen=True, mailbox_id=plans)
    services.filters.create(OPERATOR, of_user(user_id), RuleContent(Query(subject="plan"), action, "Plans"))
    services.users.set_settings(OPERATOR, user_id, {"language": "de", "tags": ("vip",), "spam_level": 70})
    itself = Actor(ActorKind.USER, Door.API, user.address, user_id)
    services.users.set_settings(itself, user_id, {"targets": ("waits@else.test", "confirmed@else.test")})
    waits = RuleContent(Query(subject="waits"), RuleAction(targets=("waits@else.test",), mailbox_id=plans), "Waits")
    services.filters.create(itself, of_user(user_id), waits)
    services.targets.vouch(OPERATOR, user_id, ["confirmed@else.test"])
    messages = [
        NewMessage(LARGE, FlagSet(SEEN | FLAGGED, ("$Forwarded", "Work")), 1_700_000_000),
        NewMessage(ODD, FlagSet(), 1_600_000_000),
    ]
    services.messages.append(user_id, OPERATOR, "INBOX", messages)
    services.messages.append(user_id, OPERATOR, "Plans/2026", [NewMessage(b"Subject: plan\r\n\r\n", FlagSet(SEEN), 1)])


def state(services: MailServices, user_id: UserId) -> dict[str, Any]:
    """Everything of a user that is to be the same, ids aside."""
    user = services.users.get(user_id)
    tree = services.mailboxes.tree(user_id)
    names = {entry.id: entry.name for entry in tree.entries}
    found: dict[str, Any] = {
        "name": user.name,
        "settings": user.settings,
        "confirmed": user.onward.confirmed,
        "addresses": sorted((one.display, one.name) for one in services.addresses.list_of_user(user_id)),
        "mailboxes": sorted((entry.name, entry.special_use, entry.subscribed) for entry in tree.entries),
        "filters": [],
        "messages": [],
    }
    for rule in services.filters.list_of(of_user(user_id)).rules:
        target = rule.content.action.mailbox_id
        said = (rule.content.name, rule.content.query, rule.content.action.seen, rule.content.asks)
        found["filters"].append((*said, names[target]))  # type: ignore[index]
    for entry in tree.entries:
        view = services.mailboxes.open(user_id, entry.name)
        for row in range(view.exists):
            raw = b"".join(services.content.open(user_id, bytes(view.message_oid(row))).read())
            flags = sorted(view.flag_names(int(view.flags[row])))
            found["messages"].append((entry.name, raw, flags, int(view.internal_dates[row])))
    return found


def export(api: Api, user: MadeUser) -> bytes:
    answer = api.post("/data/export", {"users": [str(user.user_id)], "tags": [], "sess": "", "ip": ""})
    assert answer.status == 200, answer.body
    return answer.raw


def bring(api: Api, data: bytes) -> Answer:
    return api.ask("POST", "/data/import", data=data, content_type="application/octet-stream")


def with_domain(there: MailServices, user: MadeUser) -> None:
    tenant_id, _ = make_tenant(there)
    domain = user.address.partition("@")[2]
    there.domains.create(OPERATOR, tenant_id, domain)


def test_a_user_is_the_same_after_a_round_trip(
    here: Api, other: Api, services: MailServices, there: MailServices, user: MadeUser
) -> None:
    fill(services, user)
    data = export(here, user)
    for secret in (user.password.encode(), b"$argon2"):
        assert secret not in data
    with_domain(there, user)
    first = bring(other, data)
    assert (first.status, first.body["failed"], first.body["existing"]) == (200, 0, 0)
    assert first.body["imported"] == first.body["entries"] > 10
    route = there.addresses.get(user.address)
    assert state(there, route.user_id) == state(services, user.user_id)
    again = bring(other, data)
    assert (again.body["imported"], again.body["existing"]) == (0, first.body["entries"])
    assert state(there, route.user_id) == state(services, user.user_id)


def test_a_message_that_is_left_out_would_be_seen(
    here: Api,
    other: Api,
    services: MailServices,
    there: MailServices,
    user: MadeUser,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Negative control."""
    monkeypatch.setattr(data_import.DataImport, "_append", lambda *_: None)
    with pytest.raises(AssertionError):
        test_a_user_is_the_same_after_a_round_trip(here, other, services, there, user)


def broken(data: bytes) -> dict[str, bytes]:
    end = bson.encode({"type": "end", "records": 0, "sha256": hashlib.sha256(b"").digest()})
    changed = bytearray(data)
    changed[len(data) // 2] ^= 1
    return {
        "nothing": b"",
        "text": b"From x\r\nhello" * 100,
        "foreign": bson.encode({"wildduck_data_export": True, "version": 1}) + end,
        "newer": bson.encode({"type": data_file.HEADER, "version": 99}) + end,
        "cut in a record": data[: len(data) * 2 // 3],
        "cut between records": data[: len(data) - len(end)],
        "cut by one": data[:-1],
        "changed": bytes(changed),
        "longer": data + b"\x00",
        "negative": b"\xff\xff\xff\xff" + data,
    }


def test_what_is_not_whole_makes_nothing(
    here: Api, other: Api, services: MailServices, there: MailServices, user: MadeUser
) -> None:
    fill(services, user)
    data = export(here, user)
    with_domain(there, user)
    for name, file in broken(data).items():
        answer = bring(other, file)
        assert (answer.status, answer.body["code"]) == (400, "InputValidationError"), name
        assert there.addresses.find(user.address) is None, name


def test_who_cannot_be_made_whole_is_not_made(
    here: Api, other: Api, services: MailServices, there: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(services, user)
    data = export(here, user)
    assert bring(other, data).body["imported"] == 0, "the domain is not there"
    with_domain(there, user)
    made: list[UserId] = []
    create = there.users.create

    def noting(*arguments: Any, **options: Any) -> UserId:
        made.append(create(*arguments, **options))
        return made[0]

    def failing(*_: object) -> None:
        raise UserNotFound("in the middle")

    monkeypatch.setattr(type(there.users), "create", lambda _, *arguments, **options: noting(*arguments, **options))
    monkeypatch.setattr(data_import.DataImport, "_append", failing)
    answer = bring(other, data)
    assert (answer.body["failed"], answer.body["imported"]) == (answer.body["entries"], 0)
    with pytest.raises(UserNotFound):
        there.users.get(made[0])


def test_only_the_platforms_own_token_for_it_does_this(
    app: Application, platform: Api, tenant: Api, own: Api, services: MailServices, user: MadeUser
) -> None:
    of_tenant = Api(app, token(services, owner_of_tenant(user.tenant_id), Role.EXPORT))
    for api in (platform, tenant, own, of_tenant):
        assert api.post("/data/export", {"users": [str(user.user_id)]}).body["code"] == "MissingPrivileges"
        assert bring(api, b"").body["code"] == "MissingPrivileges"


def test_users_are_found_by_tag_and_absent_ones_told(here: Api, services: MailServices, user: MadeUser) -> None:
    tag = f"export-{user.user_id}"
    services.users.set_settings(OPERATOR, user.user_id, {"tags": (tag,)})
    raw = here.post("/data/export", {"tags": [tag]}).raw
    assert [one["address"] for one in data_file.read(raw) if one["type"] == "user"] == [user.address]
    absent = here.post("/data/export", {"users": ["0" * 24]})
    assert (absent.status, absent.body["code"]) == (404, "UserNotFound")
    empty = here.post("/data/export", {}).raw
    assert data_file.checked(empty) == 0
