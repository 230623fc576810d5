"""Domain aliases by the API."""

from __future__ import annotations

import pytest

from mailcore.services import MailServices
from tests.api.conftest import Api
from tests.builders import OPERATOR, MadeUser, make_user

PATH = "/domainaliases"


@pytest.fixture
def domain(user: MadeUser) -> str:
    return user.address.partition("@")[2]


def test_an_alias_is_made_found_and_taken_away(
    tenant: Api, platform: Api, services: MailServices, user: MadeUser, domain: str
) -> None:
    made = platform.post(PATH, {"alias": f"Bücher.{domain}", "domain": domain, "sess": ""}).body["id"]
    shown = tenant.get(f"{PATH}/{made}").body
    assert (shown["alias"], shown["domain"]) == (f"bücher.{domain}", domain)
    assert tenant.get(f"{PATH}/resolve/b%C3%BCcher.{domain}").body["id"] == made
    listed = tenant.get(f"{PATH}?query=&limit=&page=").body
    assert (listed["total"], [one["id"] for one in listed["results"]]) == (1, [made])
    local = user.address.partition("@")[0]
    assert services.delivery.resolve(f"{local}@bücher.{domain}").recipients[0].user_id == user.user_id
    again = tenant.post(PATH, {"alias": f"bücher.{domain}", "domain": domain})
    assert (again.status, again.body["code"]) == (400, "AliasExists")
    assert tenant.delete(f"{PATH}/{made}").status == 200
    for answer in (
        tenant.get(f"{PATH}/{made}"),
        tenant.delete(f"{PATH}/{made}"),
        tenant.get(f"{PATH}/resolve/{domain}"),
    ):
        assert (answer.status, answer.body["code"]) == (404, "AliasNotFound")


def test_aliases_come_in_pages(tenant: Api, services: MailServices, user: MadeUser, domain: str) -> None:
    for number in range(3):
        services.domains.create_alias(OPERATOR, user.tenant_id, f"a{number}.{domain}", domain)
    first = tenant.get(f"{PATH}?limit=2&query=A").body
    assert (first["total"], len(first["results"])) == (3, 2)
    second = tenant.get(f"{PATH}?limit=2&next={first['nextCursor']}").body
    assert [one["alias"] for one in second["results"]] == [f"a2.{domain}"]
    assert tenant.get(f"{PATH}?query=a1").body["total"] == 1


def test_others_are_not_there(tenant: Api, own: Api, services: MailServices, domain: str) -> None:
    stranger = make_user(services)
    theirs = stranger.address.partition("@")[2]
    made = str(services.domains.create_alias(OPERATOR, stranger.tenant_id, f"alias.{theirs}", theirs).id)
    assert tenant.get(PATH).body["total"] == 0
    for text in (made, "0" * 24, "$ne", f"resolve/alias.{theirs}"):
        answer = tenant.get(f"{PATH}/{text}")
        assert (answer.status, answer.body["code"]) == (404, "AliasNotFound")
    assert tenant.delete(f"{PATH}/{made}").body["code"] == "AliasNotFound"
    assert tenant.post(PATH, {"alias": f"x.{domain}", "domain": theirs}).body["code"] == "DomainNotFound"
    assert tenant.post(PATH, {"alias": theirs, "domain": domain}).body["code"] == "AliasExists"
    assert own.get(PATH).body["code"] == "MissingPrivileges"


@pytest.mark.parametrize("alias", ["", "..", "a b", "-", "x"])
def test_what_is_no_domain_is_refused(tenant: Api, domain: str, alias: str) -> None:
    assert tenant.post(PATH, {"alias": alias, "domain": domain}).body["code"] == "InputValidationError"


def test_there_are_no_chains(tenant: Api, services: MailServices, user: MadeUser, domain: str) -> None:
    services.domains.create_alias(OPERATOR, user.tenant_id, f"a.{domain}", domain)
    answer = tenant.post(PATH, {"alias": f"b.{domain}", "domain": f"a.{domain}"})
    assert (answer.status, answer.body["code"]) == (403, "NotPermitted")
