"""Forwarded addresses by the API."""

from __future__ import annotations

import pytest

from mailcore.model.limits import Spending
from mailcore.services import MailServices
from tests.api.conftest import Api
from tests.builders import MadeUser, make_user

PATH = "/addresses/forwarded"


@pytest.fixture
def domain(user: MadeUser) -> str:
    return user.address.partition("@")[2]


def test_one_is_made_changed_shown_and_given_up(
    tenant: Api, services: MailServices, user: MadeUser, domain: str
) -> None:
    wanted = {
        "address": f"old@{domain}", "name": "Old", "targets": ["new@else.test", user.address], "forwards": 7,
        "allowWildcard": "", "tags": ["x"], "metaData": {"a": 1}, "internalData": '{"b":2}',
        "autoreply": {"status": "yes", "start": False, "end": "2031-01-01T00:00:00Z", "subject": "Gone", "text": "Bye"},
    }  # fmt: skip
    made = tenant.post(PATH, wanted).body["id"]
    services.usage.spend_of(services.address_listing.get(made).id, Spending.FORWARDS, 7, 2)
    shown = tenant.get(f"{PATH}/{made}?sess=&ip=").body
    assert (shown["address"], shown["targets"]) == (f"old@{domain}", ["new@else.test", user.address])
    assert shown["limits"]["forwards"] == {"allowed": 7, "used": 2, "ttl": 24 * 3600}
    reply = shown["autoreply"]
    assert (reply["status"], reply["start"], reply["end"]) == (True, False, "2031-01-01T00:00:00.000Z")
    assert (shown["tags"], shown["metaData"], shown["internalData"]) == (["x"], {"a": 1}, {"b": 2})
    change = {"forwardedDisabled": True, "autoreply": {"status": False}, "targets": ["other@else.test"], "forwards": 0}
    assert tenant.put(f"{PATH}/{made}", change).status == 200
    shown = tenant.get(f"{PATH}/{made}").body
    assert (shown["forwardedDisabled"], shown["autoreply"]["status"], shown["autoreply"]["text"]) == (
        True,
        False,
        "Bye",
    )
    assert (shown["targets"], shown["limits"]["forwards"]["allowed"], shown["tags"]) == (
        ["other@else.test"],
        2000,
        ["x"],
    )
    assert tenant.get(f"/addresses/resolve/old@{domain}").body["targets"] == ["other@else.test"]
    assert tenant.put(f"{PATH}/{made}", {"address": f"older@{domain}"}).status == 200
    assert services.address_listing.get(f"older@{domain}").display == f"older@{domain}"
    assert tenant.put(f"{PATH}/{made}", {"address": user.address}).body["code"] == "AddressExistsError"
    assert tenant.delete(f"{PATH}/{made}").status == 200
    assert tenant.get(f"{PATH}/{made}").body["code"] == "AddressNotFound"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"targets": []}, "InputValidationError"),
        ({"targets": ["ftp://else.test/hook"]}, "InputValidationError"),
        ({"address": "{taken}"}, "AddressExistsError"),
        ({"address": "x@elsewhere.test"}, "DomainNotFound"),
        ({"address": "*@{domain}"}, "WildcardNotPermitted"),
        ({"targets": ["loop@{domain}"], "address": "loop@{domain}"}, "AddressCycle"),
        ({"autoreply": {"subject": "a\r\nBcc: b"}}, "InputValidationError"),
        ({"autoreply": {"start": "2031-01-02", "end": "2031-01-01"}}, "InputValidationError"),
    ],
)
def test_what_is_none_is_refused(
    tenant: Api, user: MadeUser, domain: str, change: dict[str, object], code: str
) -> None:
    def filled(value: object) -> object:
        if isinstance(value, str):
            return value.format(taken=user.address, domain=domain)
        return [filled(one) for one in value] if isinstance(value, list) else value

    body = {"address": f"old@{domain}", "targets": ["new@else.test"], **{k: filled(v) for k, v in change.items()}}
    assert tenant.post(PATH, body).body["code"] == code


def test_they_belong_to_tenants(
    tenant: Api, own: Api, platform: Api, services: MailServices, user: MadeUser, domain: str
) -> None:
    stranger = make_user(services)
    theirs = stranger.address.partition("@")[2]
    made = platform.post(PATH, {"address": f"old@{theirs}", "targets": ["x@else.test"]}).body["id"]
    assert services.address_listing.get(made).tenant_id == stranger.tenant_id
    for method, body in (("GET", None), ("PUT", {"name": "x"}), ("DELETE", None)):
        absent = tenant.ask(method, f"{PATH}/{'0' * 24}", body)
        answer = tenant.ask(method, f"{PATH}/{made}", body)
        assert (answer.status, answer.raw.replace(made.encode(), b"0" * 24)) == (404, absent.raw)
        assert own.ask(method, f"{PATH}/{made}", body).body["code"] == "MissingPrivileges"
    body = {"address": f"old@{domain}", "targets": ["x@else.test"]}
    assert own.post(PATH, body).body["code"] == "MissingPrivileges"
    assert tenant.post(PATH, {**body, "tenant": str(stranger.tenant_id)}).body["code"] == "TenantNotFound"
    route = str(services.addresses.get(user.address).id)
    assert tenant.get(f"{PATH}/{route}").body["code"] == "AddressNotFound", "a user's is none of these"
    assert (
        platform.post(PATH, {"address": "old@nobodys.test", "targets": ["x@y.test"]}).body["code"] == "DomainNotFound"
    )
