"""Addresses by the API: of users, in lists, and whole domains of them."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

import pytest

from mailcore.api.application import Application
from mailcore.errors import AddressNotFound
from mailcore.model.roles import Role
from mailcore.services import MailServices
from mailcore.services.accounts.tokens import owner_of_tenant
from tests.api.conftest import Api, token
from tests.builders import OPERATOR, MadeUser, make_user


@pytest.fixture
def domain(user: MadeUser) -> str:
    return user.address.partition("@")[2]


@pytest.fixture
def path(user: MadeUser) -> str:
    return f"/users/{user.user_id}/addresses"


def reached(services: MailServices, address: str) -> str | None:
    try:
        return str(services.delivery.resolve(address).recipients[0].user_id)
    except AddressNotFound:
        return None


def test_an_address_is_made_changed_shown_and_taken_away(
    tenant: Api, services: MailServices, user: MadeUser, path: str, domain: str
) -> None:
    wanted = {"address": f"Sales.Team@{domain}", "name": "Sales", "tags": ["a", "A", "b"], "metaData": '{"x":1}',
              "internalData": {"y": 2}, "main": "", "allowWildcard": False}  # fmt: skip
    made = tenant.post(path, wanted).body["id"]
    shown = tenant.get(f"{path}/{made}").body
    assert (shown["address"], shown["name"], shown["main"]) == (f"Sales.Team@{domain}", "Sales", False)
    assert (shown["tags"], shown["metaData"], shown["internalData"]) == (["a", "b"], {"x": 1}, {"y": 2})
    assert reached(services, f"salesteam+x@{domain}") == str(user.user_id)
    assert tenant.put(f"{path}/{made}", {"name": "", "tags": ["c"], "main": True}).status == 200
    listed = tenant.get(f"{path}?metaData=yes&internalData=").body["results"]
    assert [(one["name"], one["main"]) for one in listed] == [("", False), ("", True)]
    assert ("metaData" in listed[0], "internalData" in listed[0]) == (True, False)
    assert tenant.get(f"/users/{user.user_id}").body["address"] == f"Sales.Team@{domain}"
    refused = tenant.delete(f"{path}/{made}")
    assert (refused.status, refused.body["code"]) == (400, "NotPermitted")
    assert tenant.delete(f"{path}/{listed[0]['id']}").status == 200
    assert reached(services, user.address) is None
    assert tenant.get(f"{path}/{listed[0]['id']}").body["code"] == "AddressNotFound"


def test_an_address_gets_another_name(tenant: Api, services: MailServices, user: MadeUser, path: str) -> None:
    (main,) = tenant.get(path).body["results"]
    domain = user.address.partition("@")[2]
    assert tenant.put(f"{path}/{main['id']}", {"address": f"Renamed@{domain}"}).status == 200
    assert tenant.get(f"/users/{user.user_id}").body["address"] == f"Renamed@{domain}"
    assert (reached(services, f"renamed@{domain}"), reached(services, user.address)) == (str(user.user_id), None)
    assert tenant.put(f"{path}/{main['id']}", {"address": f"Re.Named@{domain}"}).status == 200, "the same, written anew"
    other = make_user(services, tenant=(user.tenant_id, domain))
    taken = tenant.put(f"{path}/{main['id']}", {"address": other.address})
    assert (taken.status, taken.body["code"]) == (400, "AddressExistsError")
    assert tenant.put(f"{path}/{main['id']}", {"address": f"*@{domain}"}).body["code"] == "ChangeNotAllowed"
    assert tenant.put(f"{path}/{main['id']}", {"main": False}).body["code"] == "InputValidationError"


def test_patterns_must_be_meant(tenant: Api, services: MailServices, user: MadeUser, path: str, domain: str) -> None:
    refused = tenant.post(path, {"address": f"*@{domain}"})
    assert (refused.status, refused.body["code"]) == (400, "WildcardNotPermitted")
    made = tenant.post(path, {"address": f"*@{domain}", "allowWildcard": True}).body["id"]
    assert reached(services, f"anybody@{domain}") == str(user.user_id)
    assert tenant.put(f"{path}/{made}", {"main": True}).body["code"] == "ChangeNotAllowed"
    assert tenant.delete(f"{path}/{made}").status == 200


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("a@elsewhere.test", "DomainNotFound"),
        ("no address", "InputValidationError"),
        ("a+b@{domain}", "InputValidationError"),
        ("{taken}", "AddressExistsError"),
        ({"$ne": ""}, "InputValidationError"),
    ],
)
def test_what_is_no_free_address_is_refused(
    tenant: Api, user: MadeUser, path: str, domain: str, address: Any, code: str
) -> None:
    text = address.format(domain=domain, taken=user.address) if isinstance(address, str) else address
    assert tenant.post(path, {"address": text}).body["code"] == code


# -- a user's own token -------------------------------------------------------------------------

DUTIES: Final = (
    "postmaster",
    "abuse",
    "webmaster",
    "hostmaster",
    "admin",
    "administrator",
    "billing",
    "ceo",
    "anything",
)
"""With the first of them, and three more, authorities of certificates prove whose a domain is (CA/B BR 3.2.2.4.4)."""


def own_of_role(app: Application, services: MailServices, user: MadeUser, role: Role) -> Api:
    return Api(app, token(services, services.tokens.owner_of_user(user.user_id), role))


@pytest.mark.parametrize("role", [Role.USER, Role.WEBMAIL, Role.MANAGER, Role.ROOT])
def test_nobody_gives_itself_an_address(
    app: Application, services: MailServices, user: MadeUser, tenant: Api, domain: str, path: str, role: Role
) -> None:
    own = own_of_role(app, services, user, role)
    alias = tenant.post(path, {"address": f"alias@{domain}"}).body["id"]
    for local in DUTIES:
        wanted = {"address": f"{local}@{domain}"}
        answers = [own.post("/users/me/addresses", wanted | more) for more in ({}, {"main": True})]
        answers.append(own.put(f"/users/me/addresses/{alias}", wanted))
        answers.append(own.put(f"/users/me/addresses/{alias}", wanted | {"main": True, "name": "X"}))
        answers.append(own.post("/addresses/forwarded", wanted | {"targets": ["x@else.test"]}))
        assert {(one.status, one.body["code"]) for one in answers} == {(403, "MissingPrivileges")}, local
    answer = own.post("/users/me/addresses", {"address": f"*@{domain}", "allowWildcard": True})
    assert (answer.status, answer.body["code"]) == (403, "MissingPrivileges")
    assert own.put("/addresses/renameDomain", {"oldDomain": domain, "newDomain": domain}).status == 403
    given = [one.display for one in services.addresses.list_of_user(user.user_id)]
    assert given == [user.address, f"alias@{domain}"]


@pytest.mark.parametrize("door", ["mailcore.api.addresses._check_same", "mailcore.api.app.check_permission"])
def test_a_door_without_its_check_would_be_seen(
    app: Application, services: MailServices, user: MadeUser, tenant: Api, domain: str, path: str, door: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Control."""
    monkeypatch.setattr(door, lambda *_: None)
    with pytest.raises((AssertionError, KeyError)):
        test_nobody_gives_itself_an_address(app, services, user, tenant, domain, path, Role.USER)


@pytest.mark.parametrize("role", [Role.WEBMAIL, Role.MANAGER])
def test_who_acts_for_users_gives_addresses(
    app: Application, services: MailServices, user: MadeUser, path: str, domain: str, role: Role
) -> None:
    api = Api(app, token(services, owner_of_tenant(user.tenant_id), role))
    made = api.post(path, {"address": f"sales@{domain}"})
    assert made.status == 200
    assert api.put(f"{path}/{made.body['id']}", {"address": f"info@{domain}"}).status == 200


def test_a_user_looks_after_the_addresses_it_was_given(own: Api, tenant: Api, path: str, domain: str) -> None:
    made = tenant.post(path, {"address": f"ann.sales@{domain}", "name": "Sales"}).body["id"]
    mine = f"/users/me/addresses/{made}"
    assert own.put(mine, {"name": "Myself", "main": True}).status == 200
    assert own.put(mine, {"address": f"Ann.Sales@{domain}", "name": "Ann"}).status == 200, "the same, written otherwise"
    shown = own.get(mine).body
    assert (shown["address"], shown["name"], shown["main"]) == (f"Ann.Sales@{domain}", "Ann", True)
    assert ("tags" in shown, "internalData" in shown) == (False, False)
    for body in ({"tags": ["a"]}, {"internalData": {}}):
        answer = own.put(mine, body)
        assert (answer.status, answer.body["code"]) == (403, "MissingPrivileges"), body
    assert own.put(mine, {"address": f"*@{domain}"}).body["code"] == "ChangeNotAllowed"
    assert own.put(mine, {"address": "no address"}).body["code"] == "InputValidationError"
    (first,) = [one["id"] for one in own.get("/users/me/addresses").body["results"] if one["id"] != made]
    assert own.delete(f"/users/me/addresses/{first}").status == 200
    assert own.get("/addresses").body["code"] == "MissingPrivileges"


def test_all_addresses_are_listed_in_pages(tenant: Api, services: MailServices, user: MadeUser, domain: str) -> None:
    path = f"/users/{user.user_id}/addresses"
    for number in range(4):
        tenant.post(path, {"address": f"list{number}@{domain}", "tags": ["even" if number % 2 == 0 else "odd", "All"]})
    forwarded = {"address": f"old@{domain}", "targets": ["new@else.test"], "tags": ["all"]}
    assert tenant.post("/addresses/forwarded", forwarded).status == 200
    services.groups.create(OPERATOR, user.tenant_id, f"group@{domain}")
    first = tenant.get("/addresses?limit=4&query=&page=&next=&previous=").body
    assert (first["total"], len(first["results"]), first["previousCursor"]) == (6, 4, False)
    second = tenant.get(f"/addresses?limit=4&next={first['nextCursor']}").body
    assert [one["forwarded"] for one in second["results"]] == [False, True]
    back = tenant.get(f"/addresses?limit=4&previous={second['previousCursor']}").body
    assert [one["id"] for one in back["results"]] == [one["id"] for one in first["results"]]
    assert tenant.get("/addresses?query=LIST").body["total"] == 4
    assert tenant.get("/addresses?tags=odd,nothing").body["total"] == 2
    assert tenant.get("/addresses?requiredTags=ALL,even").body["total"] == 2
    (found,) = tenant.get("/addresses?forward=else.test&metaData=1").body["results"]
    assert (found["user"], found["targets"], found["metaData"]) == (False, ["new@else.test"], {})
    assert tenant.get("/addresses?query=.*").body["total"] == 0
    assert tenant.get("/addresses?next=WzEsMV0").body["code"] == "InputValidationError"


def test_a_tenant_sees_its_own_alone(tenant: Api, platform: Api, services: MailServices, user: MadeUser) -> None:
    stranger = make_user(services)
    assert stranger.address not in tenant.get("/addresses?limit=250").raw.decode()
    assert platform.get(f"/addresses?query={stranger.address}").body["total"] == 1
    for text in (stranger.address, str(services.addresses.get(stranger.address).id)):
        assert tenant.get(f"/addresses/resolve/{text}").body["code"] == "AddressNotFound"
        assert platform.get(f"/addresses/resolve/{text}").body["user"] == str(stranger.user_id)


def test_addresses_of_the_deleted_are_reserved_and_not_listed(
    tenant: Api, user: MadeUser, services: MailServices, domain: str
) -> None:
    tenant.delete(f"/users/{user.user_id}")
    assert tenant.get("/addresses").body["total"] == 0
    body = {"username": user.address, "password": "long enough words"}
    assert tenant.post("/users", body).body["code"] == "AddressExistsError"
    tenant.post(f"/users/{user.user_id}/restore", {})
    assert tenant.get("/addresses").body["total"] == 1


def test_an_address_is_resolved_by_itself_and_by_what_covers_it(
    tenant: Api, own: Api, user: MadeUser, path: str, domain: str
) -> None:
    made = tenant.post(path, {"address": f"info*@{domain}", "allowWildcard": True, "name": "Info"}).body["id"]
    assert tenant.get(f"/addresses/resolve/{quote(f'info-2@{domain}')}").body["code"] == "AddressNotFound"
    found = tenant.get(f"/addresses/resolve/{quote(f'info-2@{domain}')}?allowWildcard=true").body
    assert (found["id"], found["name"], found["user"]) == (made, "Info", str(user.user_id))
    assert own.get(f"/addresses/resolve/{user.address}").body["user"] == str(user.user_id)


def test_a_users_token_resolves_its_own_alone(
    own: Api, tenant: Api, services: MailServices, user: MadeUser, domain: str
) -> None:
    colleague = make_user(services, tenant=(user.tenant_id, domain))
    forwarded = tenant.post("/addresses/forwarded", {"address": f"f@{domain}", "targets": ["x@else.test"]}).body["id"]
    for text in (colleague.address, forwarded):
        assert own.get(f"/addresses/resolve/{text}").body["code"] == "AddressNotFound"


def test_a_domain_moves_with_its_users_groups_and_aliases(
    tenant: Api, services: MailServices, user: MadeUser, domain: str, path: str
) -> None:
    new = f"new.{domain}"
    services.domains.create(OPERATOR, user.tenant_id, new)
    services.domains.create_alias(OPERATOR, user.tenant_id, f"alias.{domain}", domain)
    tenant.post(path, {"address": f"*end@{domain}", "allowWildcard": True})
    services.groups.create(OPERATOR, user.tenant_id, f"all@{domain}", [user.address, "x@else.test"])
    taken = make_user(services, tenant=(user.tenant_id, new))
    local = user.address.partition("@")[0]
    tenant.put(f"{path}/{tenant.get(path).body['results'][0]['id']}", {"address": taken.address.replace(new, domain)})
    refused = tenant.put("/addresses/renameDomain", {"oldDomain": domain, "newDomain": new})
    assert refused.body["code"] == "AddressExistsError"
    assert services.addresses.find(f"x.end@{domain}") is None
    tenant.put(f"{path}/{tenant.get(path).body['results'][0]['id']}", {"address": user.address})
    done = tenant.put("/addresses/renameDomain", {"oldDomain": domain.upper(), "newDomain": new, "sess": ""}).body
    assert {name: done[name] for name in done if name != "success"} == {
        "modifiedAddresses": 3, "modifiedUsers": 1, "modifiedDkim": 0, "modifiedAliases": 1,
    }  # fmt: skip
    assert tenant.get(f"/users/{user.user_id}").body["address"] == f"{local}@{new}"
    assert (reached(services, f"{local}@{new}"), reached(services, f"an.end@{new}")) == (str(user.user_id),) * 2
    assert services.groups.get(user.tenant_id, f"all@{new}").members == (f"{local}@{new}", "x@else.test")
    assert reached(services, f"{local}@alias.{domain}") == str(user.user_id)
    assert tenant.put("/addresses/renameDomain", {"oldDomain": domain, "newDomain": new}).body["modifiedAddresses"] == 0


def test_domains_of_others_are_not_moved(tenant: Api, services: MailServices, user: MadeUser, domain: str) -> None:
    theirs = make_user(services).address.partition("@")[2]
    for old, new in ((theirs, domain), (domain, theirs), (domain, "unheard.test")):
        answer = tenant.put("/addresses/renameDomain", {"oldDomain": old, "newDomain": new})
        assert (answer.status, answer.body["code"]) == (404, "DomainNotFound")
    assert tenant.put("/addresses/renameDomain", {"oldDomain": "..", "newDomain": domain}).status == 400


def test_a_webmails_token_lists_and_a_downloaders_does_not(
    app: Application, services: MailServices, user: MadeUser
) -> None:
    for role, status in ((Role.WEBMAIL, 200), (Role.DOWNLOADER, 403)):
        api = Api(app, token(services, owner_of_tenant(user.tenant_id), role))
        assert api.get("/addresses").status == status
