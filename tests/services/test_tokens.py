"""Tokens: kept by their hash, ended by time, by hand, and by what happens to their user."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from bson import ObjectId

from mailcore.errors import (
    AuthenticationFailed,
    TenantNotFound,
    TokenNotFound,
    UserDisabled,
    UserNotFound,
    ValueInvalid,
)
from mailcore.model.access import CredentialKind, Protocol
from mailcore.model.ids import TenantId, UserId
from mailcore.model.roles import Action, Resource, Role, may
from mailcore.model.secret import Secret
from mailcore.model.tenant import State
from mailcore.model.token import PLATFORM, TokenOwner, TokenScope
from mailcore.services import MailServices
from mailcore.services.accounts.identity import Identity
from mailcore.services.accounts.tokens import owner_of_tenant
from mailcore.services.process.clock import now
from mailcore.store.client import Clients
from tests.builders import OPERATOR, MadeUser, make_services, make_user


@pytest.fixture
def user(services: MailServices) -> MadeUser:
    return make_user(services)


@pytest.fixture
def documents(directory_uri: str) -> Iterator[Any]:
    clients = Clients({})
    yield clients.database(directory_uri)
    clients.close()


def make(services: MailServices, user: MadeUser, **life: Any) -> tuple[ObjectId, Secret]:
    owner = services.tokens.owner_of_user(user.user_id)
    token, value = services.tokens.create(OPERATOR, owner, Role.USER, "Phone", **life)
    return token.id, value


def login(services: MailServices, value: Secret, username: str = "") -> Identity:
    return services.authentication.login_with_token(username, value, Protocol.IMAP, "192.0.2.7")


def test_a_users_token_signs_in(services: MailServices, user: MadeUser) -> None:
    token_id, value = make(services, user)
    local, domain = user.address.split("@")
    services.addresses.create(OPERATOR, user.user_id, f"alias-{local}@{domain}")
    token_id, value = make(services, user)
    for name in ("", user.address, user.address.upper(), f"alias-{local}@{domain}"):
        identity = login(services, value, name)
        assert identity.user_id == user.user_id
        assert (identity.credential.kind, identity.credential.id) == (CredentialKind.TOKEN, token_id)
    for name in (make_user(services).address, "nobody@nowhere.test", "nonsense"):
        with pytest.raises(AuthenticationFailed):
            login(services, value, name)
    for wrong in ("", "f" * 40, value.reveal_text().upper(), value.reveal_text() + "0", "{$ne: 1}"):
        with pytest.raises(AuthenticationFailed):
            login(services, Secret(wrong))


def test_it_is_stored_nowhere(services: MailServices, user: MadeUser, documents: Any) -> None:
    _, value = make(services, user)
    for name in documents.list_collection_names():
        for document in documents[name].find():
            assert value.reveal_text() not in str(document)
            assert bytes.fromhex(value.reveal_text()) not in document.values()


def test_a_revoked_one_ends_its_sessions_only(services: MailServices, user: MadeUser) -> None:
    token_id, value = make(services, user)
    _, other = make(services, user)
    stolen, kept = (services.sessions.open(login(services, one), lambda: None) for one in (value, other))
    services.tokens.revoke(OPERATOR, services.tokens.owner_of_user(user.user_id), token_id)
    services.sessions.poll()
    assert stolen.ended == "This token was revoked or has expired"
    assert kept.ended is None
    with pytest.raises(AuthenticationFailed):
        login(services, value)
    login(services, other)
    stolen.close()
    kept.close()


@pytest.mark.parametrize("life", [{"slides": timedelta(hours=1)}, {"ends_at": now() + timedelta(days=1)}])
def test_a_session_ends_with_the_life_of_its_token(
    services: MailServices, user: MadeUser, documents: Any, life: dict[str, Any]
) -> None:
    token_id, value = make(services, user, **life)
    session = services.sessions.open(login(services, value), lambda: None)
    services.last_uses.flush()
    services.sessions.compare_all()
    assert session.ended is None
    documents["api_tokens"].update_one({"_id": token_id}, {"$set": {"expires_at": now()}})
    services.sessions.compare_all()
    assert session.ended == "This token was revoked or has expired"
    session.close()


def test_a_suspension_shows_though_a_reading_under_way_brought_back_the_old_state(
    services: MailServices, user: MadeUser, directory_uri: str, shard_uris: dict[str, Any]
) -> None:
    other = make_services(directory_uri, shard_uris)
    session = other.sessions.open(login(other, make(services, user)[1]), lambda: None)
    before = dict(other.placement._tenants)
    services.tenants.set_state(OPERATOR, user.tenant_id, State.SUSPENDED)
    look_at = other.sessions._look_at

    def late(changes: Any) -> None:
        other.placement._tenants.update(before)  # read before the change, noted after the poll forgot it
        look_at(changes)

    other.sessions._look_at = late  # type: ignore[method-assign]
    other.sessions.poll()
    assert session.ended is None, "this poll was misled"
    other.sessions._look_at = look_at  # type: ignore[method-assign]
    other.sessions.poll()
    assert session.ended == "This login is disabled"
    other.close()


def test_only_its_owner_revokes_and_lists_it(services: MailServices, user: MadeUser) -> None:
    token_id, _ = make(services, user)
    stranger = make_user(services)
    others = (
        services.tokens.owner_of_user(stranger.user_id),
        owner_of_tenant(user.tenant_id),
        PLATFORM,
        TokenOwner(TokenScope.USER, stranger.tenant_id, user.user_id),
    )
    for owner in others:
        with pytest.raises(TokenNotFound):
            services.tokens.revoke(OPERATOR, owner, token_id)
        assert token_id not in [token.id for token in services.tokens.list_of(owner)]
    mine = services.tokens.list_of(services.tokens.owner_of_user(user.user_id))
    assert [token.id for token in mine] == [token_id]


def test_a_changed_password_and_a_suspension_end_it(services: MailServices, user: MadeUser) -> None:
    _, value = make(services, user)
    session = services.sessions.open(login(services, value), lambda: None)
    services.users.set_password(OPERATOR, user.user_id, Secret("another password"))
    services.sessions.poll()
    assert session.ended is not None
    with pytest.raises(AuthenticationFailed):
        login(services, value)
    session.close()
    _, value = make(services, user)
    services.tenants.set_state(OPERATOR, user.tenant_id, State.SUSPENDED)
    with pytest.raises(UserDisabled):
        login(services, value)


def test_lives(services: MailServices, user: MadeUser, documents: Any) -> None:
    """Sliding life moves with use, up to the hard end."""
    ends_at = now() + timedelta(days=10)
    token_id, value = make(services, user, slides=timedelta(days=14), ends_at=ends_at)
    owner = services.tokens.owner_of_user(user.user_id)
    [token] = services.tokens.list_of(owner)
    assert token.expires_at is not None
    assert abs(token.expires_at - ends_at) < timedelta(seconds=1)
    documents["api_tokens"].update_one({"_id": token_id}, {"$set": {"slides_s": 3600.0}})
    login(services, value)
    services.last_uses.flush()
    [token] = services.tokens.list_of(owner)
    assert token.last_use is not None
    assert token.expires_at == token.last_use.at + timedelta(hours=1)
    documents["api_tokens"].update_one({"_id": token_id}, {"$set": {"expires_at": now()}})
    with pytest.raises(AuthenticationFailed):
        login(services, value)
    assert services.tokens.find(value) is None
    assert services.tokens.list_of(owner) == []


def test_what_is_refused(services: MailServices, user: MadeUser) -> None:
    create = services.tokens.create
    with pytest.raises(ValueInvalid):
        create(OPERATOR, PLATFORM, Role.USER, "x")
    with pytest.raises(ValueInvalid):
        create(OPERATOR, PLATFORM, Role.ROOT, "")
    with pytest.raises(ValueInvalid):
        create(OPERATOR, PLATFORM, Role.ROOT, "x", ends_at=now() - timedelta(1))
    with pytest.raises(ValueInvalid):
        create(OPERATOR, TokenOwner(TokenScope.USER, TenantId(ObjectId()), user.user_id), Role.USER, "x")
    with pytest.raises(TenantNotFound):
        create(OPERATOR, owner_of_tenant(TenantId(ObjectId())), Role.ROOT, "x")
    with pytest.raises(UserNotFound):
        services.tokens.owner_of_user(UserId(ObjectId()))
    for ids in ((None, user.user_id), (user.tenant_id, None), (None, None)):
        with pytest.raises(ValueError):
            TokenOwner(TokenScope.USER, *ids)


def test_roles() -> None:
    """The table as clients of the API know it."""
    assert may(Role.ROOT, Action.DELETE, Resource.USERS, own=False)
    for resource in (Resource.AUDIT, Resource.EXPORT, Resource.IMPORT):
        assert not any(may(Role.ROOT, action, resource, own=True) for action in Action)
    assert not any(may(Role.MANAGER, action, Resource.MESSAGES, own=True) for action in Action)
    assert may(Role.USER, Action.READ, Resource.MESSAGES, own=True)
    assert not any(may(Role.USER, action, resource, own=False) for action in Action for resource in Resource)
    assert may(Role.AUTH, Action.READ, Resource.AUTHENTICATION, own=False)
    assert not may(Role.AUTH, Action.CREATE, Resource.AUTHENTICATION, own=True)
    assert may(Role.TOKEN_AUTH, Action.CREATE, Resource.AUTHENTICATION, own=False)
