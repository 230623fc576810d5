"""What a new password may be: not one of the last, not one that was stolen elsewhere; temporary ones."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from bson import ObjectId

from infra.devstack.outside.leaked_passwords import RangeService
from mailcore.errors import (
    AuthenticationFailed,
    PasswordLeaked,
    PasswordNotYetValid,
    PasswordReused,
    PasswordUnsuitable,
    UserNotFound,
    ValueInvalid,
)
from mailcore.model.access import CredentialKind, Protocol
from mailcore.model.ids import UserId
from mailcore.model.secret import Secret
from mailcore.services import MailServices
from mailcore.services.accounts import leaked_passwords
from mailcore.services.accounts.leaked_passwords import LeakedPasswords
from mailcore.services.accounts.passwords import Argon2
from mailcore.services.process.clock import now
from mailcore.services.wiring import connect
from mailcore.settings import MailSettings, SettingsInvalid
from mailcore.store.client import Clients
from mailcore.store.directory.user_changes import HISTORY
from tests.builders import OPERATOR, MadeUser, make_services, make_settings, make_user


@pytest.fixture
def user(services: MailServices) -> MadeUser:
    return make_user(services)


def login(services: MailServices, user: MadeUser, password: Secret | str, protocol: Protocol = Protocol.PORTAL) -> Any:
    secret = password if isinstance(password, Secret) else Secret(password)
    return services.authentication.login(user.address, secret, protocol, "2001:db8:9::1")


def test_the_last_passwords_cannot_be_had_again(services: MailServices, user: MadeUser) -> None:
    change = services.users.set_password
    used = [user.password, *(f"password number {number}" for number in range(HISTORY))]
    for password in used[1:]:
        change(OPERATOR, user.user_id, Secret(password))
        with pytest.raises(PasswordReused):
            change(OPERATOR, user.user_id, Secret(password))
    with pytest.raises(PasswordReused):
        change(OPERATOR, user.user_id, Secret(user.password))
    assert login(services, user, used[-1]).user_id == user.user_id
    change(OPERATOR, user.user_id, Secret("one more password"))
    change(OPERATOR, user.user_id, Secret(user.password))


def test_of_passwords_chosen_at_once_none_is_forgotten(
    services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have seen the same former ones; the one that lasted a moment only is a former one all the same."""
    together = threading.Barrier(2)
    hash_new = services.users._passwords.hash_new

    def meeting(password: Secret, *, allow_leaked: bool = False) -> str:
        made = hash_new(password, allow_leaked=allow_leaked)
        together.wait(30)
        return made

    chosen = ["password number one", "password number two"]
    with monkeypatch.context() as patch, ThreadPoolExecutor(2) as threads:
        patch.setattr(services.users._passwords, "hash_new", meeting)
        list(threads.map(lambda text: services.users.set_password(OPERATOR, user.user_id, Secret(text)), chosen))
    for password in (*chosen, user.password):
        with pytest.raises(PasswordReused):
            services.users.set_password(OPERATOR, user.user_id, Secret(password))


@pytest.mark.parametrize("password", ["short", "x" * 1025, b"\xff" * 20, "with a NUL\x00"])
def test_what_can_be_no_password_is_compared_with_no_former_one(
    services: MailServices, user: MadeUser, password: str | bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A megabyte is not hashed six times to be refused then."""
    monkeypatch.setattr(Argon2, "verify", lambda *_: pytest.fail("hashed"))
    with pytest.raises(PasswordUnsuitable):
        services.users.set_password(OPERATOR, user.user_id, Secret(password))


def test_former_hashes_are_not_read_by_logins(services: MailServices, user: MadeUser, directory_uri: str) -> None:
    services.users.set_password(OPERATOR, user.user_id, Secret("another password"))
    with pytest.raises(AuthenticationFailed):
        login(services, user, user.password)


def test_a_stolen_password_is_refused_and_never_sent(directory_uri: str, shard_uris: dict[str, Any]) -> None:
    make_services(directory_uri, shard_uris).close()
    with RangeService("correct horse battery", "Tr0ub4dor&3") as service:
        services = connect(make_settings(directory_uri, EIDER_LEAKED_PASSWORDS_URL=service.url))
        user = make_user(services, password="never seen before")
        assert len(service.asked) == 1
        for stolen in ("correct horse battery", "Tr0ub4dor&3"):
            with pytest.raises(PasswordLeaked):
                services.users.set_password(OPERATOR, user.user_id, Secret(stolen))
        services.users.set_password(OPERATOR, user.user_id, Secret("correct horse battery"), allow_leaked=True)
        assert all(len(path) == len("/range/12345") for path in service.asked)
        service.status = 503
        services.users.set_password(OPERATOR, user.user_id, Secret("Tr0ub4dor&3"))
        services.close()


def test_without_the_comparison_a_stolen_one_would_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control, and padding counts for nothing."""
    with RangeService("stolen one") as service:
        assert LeakedPasswords(service.url).has(Secret("stolen one"))
        assert not LeakedPasswords(service.url).has(Secret("another"))
        monkeypatch.setattr(leaked_passwords, "_counts", lambda _line, _suffix: False)
        assert not LeakedPasswords(service.url).has(Secret("stolen one"))
    assert not leaked_passwords._counts("F" * 35 + ":0", "F" * 35)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nx",
        b"HTTP/1.1 200 OK\r\n" * 300,
    ],
)
def test_a_service_that_talks_nonsense_keeps_nobody_out(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            accepted, _ = listening.accept()
            with accepted:
                accepted.recv(4096)
                accepted.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        assert not LeakedPasswords(f"http://127.0.0.1:{listening.getsockname()[1]}").has(Secret("stolen one"))
        thread.join()


def test_a_service_that_is_away_keeps_nobody_out() -> None:
    assert not LeakedPasswords("http://127.0.0.1:1").has(Secret("stolen one"))
    assert not LeakedPasswords(None).has(Secret("stolen one"))
    with pytest.raises(SettingsInvalid):
        MailSettings.from_environment({"MONGO_URI": "mongodb://h/d", "EIDER_LEAKED_PASSWORDS_URL": "file:///etc"})


# -- temporary passwords ------------------------------------------------------------------------


@pytest.fixture
def documents(directory_uri: str) -> Iterator[Any]:
    clients = Clients({})
    yield clients.database(directory_uri)
    clients.close()


def test_a_temporary_password_lives_beside_the_master_one(
    services: MailServices, user: MadeUser, documents: Any
) -> None:
    first = services.temporary_passwords.create(OPERATOR, user.user_id)
    second = services.temporary_passwords.create(OPERATOR, user.user_id)
    with pytest.raises(AuthenticationFailed):
        login(services, user, first)
    assert login(services, user, second).credential.kind is CredentialKind.TEMPORARY
    assert login(services, user, user.password).credential.kind is CredentialKind.MASTER
    documents["users"].update_one(
        {"_id": user.user_id}, {"$set": {"temporary_password.expires_at": now() - timedelta(seconds=1)}}
    )
    with pytest.raises(AuthenticationFailed):
        login(services, user, second)
    for collection in ("users", "sign_in_changes"):
        for document in documents[collection].find():
            assert second.reveal_text() not in str(document)


def test_before_its_time(services: MailServices, user: MadeUser) -> None:
    later = services.temporary_passwords.create(OPERATOR, user.user_id, now() + timedelta(hours=2))
    with pytest.raises(PasswordNotYetValid):
        login(services, user, later)
    with pytest.raises(ValueInvalid):
        services.temporary_passwords.create(OPERATOR, user.user_id, now() + timedelta(days=400))
    with pytest.raises(UserNotFound):
        services.temporary_passwords.create(OPERATOR, UserId(ObjectId()))
