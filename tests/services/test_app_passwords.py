"""App passwords: made, found without slow hashes, taken back, expired, and their last use."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from bson import ObjectId

from mailcore.errors import (
    AppPasswordNotFound,
    AuthenticationFailed,
    TooManyAppPasswords,
    UserNotFound,
    ValueInvalid,
)
from mailcore.model.access import MASTER, CredentialKind, Protocol, Scope
from mailcore.model.app_password import letters_of
from mailcore.model.ids import UserId
from mailcore.model.secret import Secret
from mailcore.services import MailServices
from mailcore.services.accounts import app_passwords, verified_passwords
from mailcore.services.accounts.identity import Identity
from mailcore.services.accounts.passwords import Argon2
from mailcore.services.process.clock import now
from mailcore.store.client import Clients
from tests.builders import OPERATOR, MadeUser, make_user


@pytest.fixture
def user(services: MailServices) -> MadeUser:
    return make_user(services)


@pytest.fixture
def documents(directory_uri: str) -> Iterator[Any]:
    clients = Clients({})
    yield clients.database(directory_uri)
    clients.close()


@pytest.fixture
def no_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever hashes slowly fails."""

    def verify(self: Argon2, encoded: str, password: bytes) -> bool:
        raise AssertionError("hashed")

    monkeypatch.setattr(Argon2, "verify", verify)


def login(services: MailServices, user: MadeUser, password: Secret | str) -> Identity:
    secret = password if isinstance(password, Secret) else Secret(password)
    return services.authentication.login(user.address, secret, Protocol.IMAP, "192.0.2.7")


@pytest.mark.usefixtures("no_hash")
def test_it_signs_in_without_a_slow_hash(services: MailServices, user: MadeUser) -> None:
    made, letters = services.app_passwords.create(OPERATOR, user.user_id, "Phone", [Scope.IMAP])
    text = letters.reveal_text()
    assert letters_of(letters) == text.encode()
    for shown in (text, " ".join(text[first : first + 4] for first in range(0, 16, 4)), text[:8] + "-" + text[8:]):
        identity = login(services, user, shown)
        assert identity.credential.kind is CredentialKind.APP_PASSWORD
        assert identity.credential.id == made.id


def test_fifty_cost_no_more_than_one(services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [services.app_passwords.create(OPERATOR, user.user_id, f"number {number}") for number in range(50)]
    with pytest.raises(TooManyAppPasswords):
        services.app_passwords.create(OPERATOR, user.user_id, "one too many")
    digests = []
    real = app_passwords.CredentialKey.digest
    monkeypatch.setattr(app_passwords.CredentialKey, "digest", lambda self, *of: digests.append(of) or real(self, *of))
    assert login(services, user, made[-1][1]).credential.id == made[-1][0].id
    assert len(digests) == 1
    services.app_passwords.revoke(OPERATOR, user.user_id, made[0][0].id)
    services.app_passwords.create(OPERATOR, user.user_id, "room again")


def test_a_revoked_one_opens_nothing_at_once_though_it_was_remembered(services: MailServices, user: MadeUser) -> None:
    """W9."""
    made, letters = services.app_passwords.create(OPERATOR, user.user_id, "Stolen")
    other, others_letters = services.app_passwords.create(OPERATOR, user.user_id, "Kept")
    login(services, user, letters)
    services.app_passwords.revoke(OPERATOR, user.user_id, made.id)
    with pytest.raises(AuthenticationFailed):
        login(services, user, letters)
    assert login(services, user, others_letters).credential.id == other.id
    with pytest.raises(AppPasswordNotFound):
        services.app_passwords.revoke(OPERATOR, user.user_id, made.id)


def test_a_memory_that_is_not_compared_lets_a_revoked_one_in(
    services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control of W9."""
    made, letters = services.app_passwords.create(OPERATOR, user.user_id, "Stolen")
    login(services, user, letters)
    services.app_passwords.revoke(OPERATOR, user.user_id, made.id)
    monkeypatch.setattr(verified_passwords.Known, "still_good", lambda self, _found: MASTER)
    assert login(services, user, letters).user_id == user.user_id


def test_only_its_own_sessions_end(services: MailServices, user: MadeUser) -> None:
    made, letters = services.app_passwords.create(OPERATOR, user.user_id, "Stolen")
    _, others_letters = services.app_passwords.create(OPERATOR, user.user_id, "Kept")
    woken: list[str] = []
    stolen, kept, master = (
        services.sessions.open(login(services, user, one), lambda: woken.append("woken"))
        for one in (letters, others_letters, user.password)
    )
    services.app_passwords.revoke(OPERATOR, user.user_id, made.id)
    services.sessions.poll()
    assert stolen.ended == "This app password was revoked or has expired"
    assert kept.ended is None
    assert master.ended is None
    assert woken == ["woken"]
    for one in (stolen, kept, master):
        one.close()


def test_it_is_another_users_no_more_than_its_owner_wants(services: MailServices, user: MadeUser) -> None:
    made, letters = services.app_passwords.create(OPERATOR, user.user_id, "Phone")
    other = make_user(services)
    with pytest.raises(AuthenticationFailed):
        login(services, other, letters)
    with pytest.raises(AppPasswordNotFound):
        services.app_passwords.revoke(OPERATOR, other.user_id, made.id)
    assert services.app_passwords.list_of_user(other.user_id) == []


def test_expiry(services: MailServices, user: MadeUser, documents: Any) -> None:
    made, letters = services.app_passwords.create(
        OPERATOR, user.user_id, "Guest", expires_at=now() + timedelta(hours=1)
    )
    session = services.sessions.open(login(services, user, letters), lambda: None)
    documents["users"].update_one(
        {"_id": user.user_id}, {"$set": {"app_passwords.0.expires_at": now() - timedelta(seconds=1)}}
    )
    with pytest.raises(AuthenticationFailed):
        login(services, user, letters)
    services.sessions.compare_all()
    assert session.ended is not None
    session.close()
    assert services.app_passwords.list_of_user(user.user_id) == []
    services.app_passwords.create(OPERATOR, user.user_id, "Next")
    stored = documents["users"].find_one({"_id": user.user_id})["app_passwords"]
    assert [one["description"] for one in stored] == ["Next"]
    assert made.id not in [one["id"] for one in stored]


def test_a_session_ends_when_its_sliding_app_password_expires(
    services: MailServices, user: MadeUser, documents: Any
) -> None:
    _, letters = services.app_passwords.create(OPERATOR, user.user_id, "Once", slides=timedelta(hours=1))
    session = services.sessions.open(login(services, user, letters), lambda: None)
    services.sessions.compare_all()
    assert session.ended is None
    documents["users"].update_one(
        {"_id": user.user_id}, {"$set": {"app_passwords.0.expires_at": now() - timedelta(seconds=1)}}
    )
    services.sessions.compare_all()
    assert session.ended == "This app password was revoked or has expired"
    session.close()


def test_use_is_noted_later_once_a_minute_and_moves_the_expiry(
    services: MailServices, user: MadeUser, documents: Any
) -> None:
    _, letters = services.app_passwords.create(OPERATOR, user.user_id, "Tablet", slides=timedelta(days=7))
    documents["users"].update_one(
        {"_id": user.user_id}, {"$set": {"app_passwords.0.expires_at": now() + timedelta(hours=1)}}
    )
    login(services, user, letters)
    assert services.app_passwords.list_of_user(user.user_id)[0].last_use is None
    services.last_uses.flush()
    noted = services.app_passwords.list_of_user(user.user_id)[0]
    assert noted.last_use is not None
    assert (noted.last_use.protocol, noted.last_use.remote_address) == ("imap", "192.0.2.7")
    assert noted.expires_at == noted.last_use.at + timedelta(days=7)
    login(services, user, letters)
    services.last_uses.flush()
    assert services.app_passwords.list_of_user(user.user_id)[0].last_use == noted.last_use


def test_its_letters_are_stored_nowhere(services: MailServices, user: MadeUser, documents: Any) -> None:
    _, letters = services.app_passwords.create(OPERATOR, user.user_id, "Phone")
    login(services, user, letters)
    services.last_uses.flush()
    for name in documents.list_collection_names():
        for document in documents[name].find():
            assert letters.reveal_text() not in str(document)


def test_what_is_refused(services: MailServices, user: MadeUser) -> None:
    create = services.app_passwords.create
    for arguments in (
        {"description": ""},
        {"description": "x" * 300},
        {"description": "a\x00b"},
        {"description": "x", "scopes": ()},
        {"description": "x", "password": Secret("short")},
        {"description": "x", "password": Secret("ABCDEFGHIJKLMNOP")},
        {"description": "x", "expires_at": now() - timedelta(seconds=1)},
        {"description": "x", "slides": timedelta(0)},
    ):
        with pytest.raises(ValueInvalid):
            create(OPERATOR, user.user_id, **arguments)  # type: ignore[arg-type]
    with pytest.raises(UserNotFound):
        create(OPERATOR, UserId(ObjectId()), "x")
    with pytest.raises(UserNotFound):
        services.app_passwords.list_of_user(UserId(ObjectId()))


def test_letters_made_elsewhere(services: MailServices, user: MadeUser) -> None:
    services.app_passwords.create(OPERATOR, user.user_id, "Brought", password=Secret("abcd efgh ijkl mnop"))
    assert login(services, user, "abcdefghijklmnop").credential.kind is CredentialKind.APP_PASSWORD
