"""Renaming: another main address, and the old one goes on to work."""

from __future__ import annotations

import pytest

from mailcore.errors import AddressTaken, DomainNotFound, NotPermitted, StoreUnavailable
from mailcore.model.access import Protocol
from mailcore.model.ids import UserId
from mailcore.model.secret import Secret
from mailcore.sasl import PasswordOffer
from mailcore.services import MailServices
from mailcore.store.directory.user_changes import UserChanges
from tests.builders import OPERATOR, PASSWORD, make_user
from tests.store.test_delivery import deliver, message


def domain_of(address: str) -> str:
    return address.partition("@")[2]


def signs_in(services: MailServices, address: str) -> UserId:
    offer = PasswordOffer(address, Secret(PASSWORD))
    return services.authentication.accept(offer, Protocol.IMAP, "203.0.113.9").user_id


def test_old_address_goes_on_to_receive_and_to_sign_in(services: MailServices) -> None:
    user = make_user(services)
    new = f"ada.lovelace@{domain_of(user.address)}"
    assert services.renaming.rename(OPERATOR, user.user_id, new) == new
    assert services.users.get(user.user_id).address == new
    assert {one.display for one in services.addresses.list_of_user(user.user_id)} == {user.address, new}
    assert signs_in(services, user.address) == signs_in(services, new) == user.user_id
    deliver(services, message(b"to the old name"), user)
    assert services.addresses.get(user.address).user_id == user.user_id


def test_alias_becomes_the_main_address(services: MailServices) -> None:
    user = make_user(services)
    alias = f"a.lovelace@{domain_of(user.address)}"
    services.addresses.create(OPERATOR, user.user_id, alias)
    services.renaming.rename(OPERATOR, user.user_id, alias)
    assert services.users.get(user.user_id).address == alias
    assert len(services.addresses.list_of_user(user.user_id)) == 2
    with pytest.raises(NotPermitted):
        services.addresses.delete(OPERATOR, user.user_id, alias)  # it is the main one now
    services.addresses.delete(OPERATOR, user.user_id, user.address)


def test_address_of_another_or_of_a_foreign_domain_is_refused(services: MailServices) -> None:
    user = make_user(services)
    other = make_user(services, tenant=(user.tenant_id, domain_of(user.address)))
    stranger = make_user(services)
    with pytest.raises(AddressTaken):
        services.renaming.rename(OPERATOR, user.user_id, other.address)
    with pytest.raises(DomainNotFound):
        services.renaming.rename(OPERATOR, user.user_id, f"new@{domain_of(stranger.address)}")
    with pytest.raises(NotPermitted):
        services.renaming.rename(OPERATOR, user.user_id, f"*@{domain_of(user.address)}")
    assert services.users.get(user.user_id).address == user.address


def test_a_second_call_ends_what_a_failure_left_half_done(
    services: MailServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = make_user(services)
    new = f"new@{domain_of(user.address)}"

    def away(*_: object) -> None:
        raise StoreUnavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr(UserChanges, "set_address", away)
        with pytest.raises(StoreUnavailable):
            services.renaming.rename(OPERATOR, user.user_id, new)
    assert services.users.get(user.user_id).address == user.address
    assert services.renaming.rename(OPERATOR, user.user_id, new) == new
    assert services.users.get(user.user_id).address == new
