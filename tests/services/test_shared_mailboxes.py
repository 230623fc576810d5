"""Shared mailboxes: several read and send, nobody signs in; and what a leaver leaves."""

from __future__ import annotations

import pyotp
import pytest

from mailcore.errors import AuthenticationFailed, MailError, NotPermitted, UserNotFound
from mailcore.model.access import Protocol
from mailcore.model.actor import Actor, ActorKind, Door
from mailcore.model.ids import UserId
from mailcore.model.roles import Role
from mailcore.model.secret import Secret
from mailcore.model.tenant import State
from mailcore.sasl import PasswordOffer
from mailcore.services import MailServices
from mailcore.store.directory.user_changes import UserChanges
from tests.builders import OPERATOR, PASSWORD, MadeUser, make_user
from tests.store.test_delivery import deliver, message


def colleague(services: MailServices, user: MadeUser) -> MadeUser:
    return make_user(services, tenant=(user.tenant_id, user.address.partition("@")[2]))


def acting(user: MadeUser) -> Actor:
    return Actor(ActorKind.USER, Door.IMAP, user.address, on_behalf_of=user.user_id)


def seen_by(services: MailServices, user: MadeUser) -> set[str]:
    visible = services.sharing.visible(user.user_id, acting(user)).tree
    return {entry.name for entry in visible.entries if entry.name.startswith("Shared/") and entry.subscribed}


def made(services: MailServices, user: MadeUser) -> tuple[UserId, str]:
    address = f"info@{user.address.partition('@')[2]}"
    shared = services.shared_mailboxes.create(OPERATOR, user.tenant_id, address, "Info", [user.user_id])
    return shared, address


def test_delegate_reads_and_sends_as_it(services: MailServices) -> None:
    user = make_user(services)
    shared, address = made(services, user)
    assert f"Shared/{address}/INBOX" in seen_by(services, user)
    assert services.identities.foreign(user.user_id, user.address, [address]) == []
    deliver(services, message(b"to all of us"), MadeUser(shared, user.tenant_id, address))
    assert len(services.mailboxes.open(shared, "INBOX", acting(user)).uids) == 1
    assert [one.address for one in services.shared_mailboxes.delegates(shared)] == [user.address]


def test_others_neither_see_it_nor_send_as_it(services: MailServices) -> None:
    user = make_user(services)
    other = colleague(services, user)
    _, address = made(services, user)
    assert seen_by(services, other) == set()
    assert services.identities.foreign(other.user_id, other.address, [address]) == [address]


def test_who_is_no_delegate_any_longer_is_out(services: MailServices) -> None:
    user = make_user(services)
    other = colleague(services, user)
    shared, address = made(services, user)
    services.shared_mailboxes.set_delegates(OPERATOR, shared, [other.user_id])
    assert seen_by(services, user) == set()
    assert services.identities.foreign(user.user_id, user.address, [address]) == [address]
    assert f"Shared/{address}/INBOX" in seen_by(services, other)
    services.shared_mailboxes.set_delegates(OPERATOR, shared, [other.user_id])  # twice is once
    assert services.identities.foreign(other.user_id, other.address, [address]) == []


def test_delegates_are_users_of_the_tenant_who_sign_in(services: MailServices) -> None:
    user = make_user(services)
    shared, _ = made(services, user)
    with pytest.raises(UserNotFound):
        services.shared_mailboxes.set_delegates(OPERATOR, shared, [make_user(services).user_id])
    with pytest.raises(NotPermitted):
        services.shared_mailboxes.set_delegates(OPERATOR, shared, [shared])
    with pytest.raises(UserNotFound):
        services.shared_mailboxes.set_delegates(OPERATOR, user.user_id, [])  # no shared mailbox


def ways_in(services: MailServices, leaver: MadeUser) -> list[str]:
    """Every credential that a user may have, tried; returns those that still open something."""
    services.users.set_state(OPERATOR, leaver.user_id, State.ACTIVE)
    _, app_password = services.app_passwords.create(OPERATOR, leaver.user_id, "Phone")
    temporary = services.temporary_passwords.create(OPERATOR, leaver.user_id)
    owner = services.tokens.owner_of_user(leaver.user_id)
    _, token = services.tokens.create(OPERATOR, owner, Role.USER, "Program")
    enrolment = services.totp.begin(OPERATOR, leaver.user_id, "Eider", "x")
    services.totp.enable(OPERATOR, leaver.user_id, pyotp.TOTP(enrolment.seed.reveal_text()).now())
    services.shared_mailboxes.convert(OPERATOR, leaver.user_id)
    open_ways = []
    for name, password in (("master", Secret(PASSWORD)), ("app", app_password), ("temporary", temporary)):
        for protocol in Protocol:
            try:
                services.authentication.accept(PasswordOffer(leaver.address, password), protocol, "203.0.113.9")
            except MailError:
                continue
            open_ways.append(f"{name} {protocol}")
    try:
        services.bearers.find(token, "203.0.113.9")
    except AuthenticationFailed:
        return open_ways
    return [*open_ways, "token"]


def test_nothing_opens_the_mailbox_of_a_leaver(services: MailServices) -> None:
    leaver = make_user(services)
    assert ways_in(services, leaver) == []
    user = services.users.get(leaver.user_id)
    assert user.is_shared
    assert user.enabled_2fa == ()


def test_control_a_leaver_whose_credentials_stay_gets_in(
    services: MailServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(UserChanges, "make_shared", lambda _, user_id: services.placement.directory.users.find(user_id))
    leaver = make_user(services)
    with pytest.raises((AssertionError, MailError)):
        assert ways_in(services, leaver) == []


def test_leavers_mail_stays_and_mail_goes_on_to_arrive(services: MailServices) -> None:
    leaver = make_user(services)
    heir = colleague(services, leaver)
    deliver(services, message(b"before"), leaver)
    services.shared_mailboxes.convert(OPERATOR, leaver.user_id, [heir.user_id])
    deliver(services, message(b"after"), leaver)
    assert len(services.mailboxes.open(leaver.user_id, "INBOX", acting(heir)).uids) == 2
