"""Whom a user has written to, by the API."""

from __future__ import annotations

from mailcore.model.outbound import OutboundRecipient
from mailcore.services import MailServices
from mailcore.services.outbound.submission import Sender, Submitted
from tests.api.conftest import Api
from tests.builders import OPERATOR, MadeUser, make_user

PATH = "/users/me/addressregister"


def write(services: MailServices, user: MadeUser, to: str) -> None:
    raw = f"From: {user.address}\r\nTo: {to}\r\nSubject: x\r\n\r\nx\r\n".encode()
    submitted = Submitted(raw, user.address, [OutboundRecipient("x@else.test")], "ESMTPSA")
    services.submission.submit(OPERATOR, Sender(user.user_id, user.tenant_id, user.address), submitted)


def names(own: Api, query: str) -> list[tuple[str, str]]:
    found = own.get(f"{PATH}?query={query}&limit=&sess=").body["results"]
    return [(one["name"], one["address"]) for one in found]


def test_who_was_written_to_is_found_hidden_and_renamed(own: Api, services: MailServices, user: MadeUser) -> None:
    write(services, user, "Ada Lovelace <ada@else.test>, bob@else.test")
    write(services, user, '"Bob, the" <Bob@else.test>')
    write(services, user, "ada@else.test")
    assert names(own, "LOVE") == names(own, "ada%40") == [("Ada Lovelace", "ada@else.test")]
    assert names(own, "") == [("Ada Lovelace", "ada@else.test"), ("Bob, the", "bob@else.test")]
    assert names(own, ".*") == []
    ada = own.get(f"{PATH}?query=ada").body["results"][0]["id"]
    assert own.put(f"{PATH}/{ada}", {"disabled": True, "name": ""}).status == 200
    assert names(own, "ada") == []
    assert own.put(f"{PATH}/{ada}", {"disabled": False, "name": "Countess"}).status == 200
    write(services, user, "Somebody Else <ada@else.test>")
    assert names(own, "countess") == [("Countess", "ada@else.test")]
    assert own.put(f"{PATH}/{'0' * 24}", {"disabled": True}).body["code"] == "AddressNotFound"
    assert own.get(PATH).body["code"] == "InputValidationError"


def test_others_are_not_found(own: Api, tenant: Api, services: MailServices, user: MadeUser) -> None:
    write(services, user, "ada@else.test")
    assert tenant.get(f"/users/{user.user_id}/addressregister?query=ada").body["results"]
    other = make_user(services, tenant=(user.tenant_id, user.address.partition("@")[2]))
    assert tenant.get(f"/users/{other.user_id}/addressregister?query=").body["results"] == []


def test_a_message_to_very_many_is_not_noted(own: Api, services: MailServices, user: MadeUser) -> None:
    write(services, user, ", ".join(f"many{number}@else.test" for number in range(51)))
    assert names(own, "many") == []
