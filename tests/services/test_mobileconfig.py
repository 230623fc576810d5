"""Profiles for Apple's devices: what is in them, and who vouches for them; checked by OpenSSL, not by our library."""

from __future__ import annotations

import plistlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from infra.devstack.endpoints import ShardUris
from mailcore.model.access import Scope
from mailcore.model.secret import Secret
from mailcore.services import MailServices
from mailcore.services.trust import mobileconfig as service
from mailcore.services.trust.mobileconfig import account_of
from tests.builders import OPERATOR, make_services

HOST = "mail.profiles.test"
ACCOUNT = account_of("Zoë", "zoë@example.org", "zoë@example.org", Secret("abcdefghijklmnop"), [Scope.ALL])


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def services(directory_uri: str, shard_uris: dict[str, ShardUris], authority: trustme.CA) -> Iterator[MailServices]:
    connected = make_services(directory_uri, shard_uris, EIDER_HOSTNAME=HOST)
    leaf = authority.issue_cert(HOST)
    chain = b"".join(each.bytes() for each in leaf.cert_chain_pems)
    connected.certificates.add(OPERATOR, chain, leaf.private_key_pem.bytes())
    yield connected
    connected.certificates.delete(OPERATOR, HOST)
    connected.close()


def verified(signed: bytes, authority: trustme.CA, folder: Path) -> dict[str, Any]:
    """What OpenSSL says is in it, if the signature is good and its signer is vouched for."""
    (folder / "profile").write_bytes(signed)
    authority.cert_pem.write_to_path(folder / "ca.pem")
    done = subprocess.run(
        ["openssl", "cms", "-verify", "-inform", "DER", "-in", folder / "profile", "-CAfile", folder / "ca.pem",
         "-purpose", "any", "-binary"], capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    found: dict[str, Any] = plistlib.loads(done.stdout)
    return found


def test_a_profile_is_signed_by_the_server_and_sets_up_reading_and_sending(
    services: MailServices, authority: trustme.CA, tmp_path: Path
) -> None:
    found = verified(services.mobile_configs.write(ACCOUNT), authority, tmp_path)
    (mail,) = found["PayloadContent"]
    assert mail["PayloadType"] == "com.apple.mail.managed"
    assert (mail["EmailAddress"], mail["EmailAccountName"]) == ("zoë@example.org", "Zoë")
    assert (mail["IncomingMailServerHostName"], mail["IncomingMailServerPortNumber"]) == (HOST, 993)
    assert (mail["OutgoingMailServerHostName"], mail["OutgoingMailServerPortNumber"]) == (HOST, 465)
    assert mail["IncomingPassword"] == mail["OutgoingPassword"] == "abcdefghijklmnop"
    assert mail["IncomingMailServerUseSSL"] is mail["OutgoingMailServerUseSSL"] is True


def test_the_same_account_replaces_the_profile_before(
    services: MailServices, authority: trustme.CA, tmp_path: Path
) -> None:
    one, again = (verified(services.mobile_configs.write(ACCOUNT), authority, tmp_path) for _ in range(2))
    assert one["PayloadUUID"] == again["PayloadUUID"]
    assert one["PayloadIdentifier"].startswith("test.profiles.mail.")


@pytest.mark.parametrize(
    ("scopes", "kind", "sends"),
    [
        ([Scope.POP3], "EmailTypePOP", False),
        ([Scope.POP3, Scope.IMAP], "EmailTypeIMAP", False),
        ([Scope.POP3, Scope.SMTP], "EmailTypePOP", True),
    ],
)
def test_the_scopes_of_the_password_decide(
    services: MailServices, authority: trustme.CA, tmp_path: Path, scopes: list[Scope], kind: str, sends: bool
) -> None:
    account = account_of("", "a@example.org", "a@example.org", Secret("abcdefghijklmnop"), scopes)
    (mail,) = verified(services.mobile_configs.write(account), authority, tmp_path)["PayloadContent"]
    assert (mail["EmailAccountType"], "OutgoingPassword" in mail) == (kind, sends)


def test_a_profile_that_is_changed_is_not_taken(services: MailServices, authority: trustme.CA, tmp_path: Path) -> None:
    signed = services.mobile_configs.write(ACCOUNT)
    with pytest.raises(AssertionError):
        verified(signed.replace(b"mail.profiles", b"evil.profiles"), authority, tmp_path)


def test_an_unsigned_profile_would_be_seen(
    services: MailServices, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control."""
    monkeypatch.setattr(service, "_signed", lambda content, _: content)
    with pytest.raises(AssertionError):
        verified(services.mobile_configs.write(ACCOUNT), authority, tmp_path)
