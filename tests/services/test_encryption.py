"""Mail that is encrypted before it is stored or sent on: read by GnuPG and OpenSSL, and by nobody without the key."""

from __future__ import annotations

import datetime as dt
import email
import email.policy
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from infra.devstack.endpoints import ShardUris
from mailcore.errors import EncryptionFailed, ValueInvalid
from mailcore.model.encryption import Cipher, KeyTransport
from mailcore.model.filter import Query, RuleAction, RuleContent, of_user
from mailcore.model.flags import DRAFT, FlagSet
from mailcore.model.outbound import OutboundRecipient
from mailcore.services import MailServices
from mailcore.services.content import encryption as service
from mailcore.services.content.encryption import certificate_infos, key_info
from mailcore.services.mailboxes.messages import NewMessage
from mailcore.services.outbound.outbound_content import OutboundContent
from mailcore.services.outbound.submission import Sender, Submitted
from tests.builders import OPERATOR, MadeUser, make_services, make_user
from tests.store.test_delivery import deliver, inbox, message

PLAIN = (
    b"Received: from a by b; Thu, 26 Nov 2026 02:00:00 +0000\r\nFrom: a@else.test\r\nTo: b@example.org\r\n"
    b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nMessage-ID: <1@else.test>\r\nReferences: <0@else.test>\r\n"
    b"MIME-Version: 1.0\r\nContent-Type: text/plain;\r\n charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    b"Das Geheimnis ist s\xc3\xbc\xc3\x9f\r\n"
)
SECRET = b"Geheimnis"


@pytest.fixture(scope="module")
def services(directory_uri: str, shard_uris: dict[str, ShardUris], redis_url: str) -> Iterator[MailServices]:
    connected = make_services(directory_uri, shard_uris, redis_url)
    yield connected
    connected.close()


@pytest.fixture
def user(services: MailServices) -> MadeUser:
    return make_user(services)


@pytest.fixture(scope="module")
def gnupg(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., bytes]]:
    """GnuPG with a key of its own: who the user is."""
    if shutil.which("gpg") is None:
        pytest.skip("gpg is not here")
    home = tmp_path_factory.mktemp("gpg")
    home.chmod(0o700)

    def run(*arguments: str, given: bytes = b"") -> bytes:
        command = ["gpg", "--homedir", str(home), "--batch", "--quiet", *arguments]
        done = subprocess.run(command, input=given, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    run("--passphrase", "", "--quick-generate-key", "Zoe <zoe@example.org>", "ed25519", "cert", "never")
    fingerprint = run("--list-keys", "--with-colons").split(b"fpr:::::::::")[1].split(b":")[0].decode()
    run("--passphrase", "", "--quick-add-key", fingerprint, "cv25519", "encr", "never")
    yield run
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False)


@pytest.fixture(scope="module")
def pgp_key(gnupg: Callable[..., bytes]) -> str:
    return gnupg("--armor", "--export").decode()


def certificate(*, days: int = 10, key: object = None, serial: int = 4711) -> tuple[str, bytes]:
    """A certificate for S/MIME and its private key, PEM."""
    private = key or rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "zoe@example.org")])
    at = dt.datetime.now(dt.UTC)
    begins, ends = sorted((at - dt.timedelta(days=1), at + dt.timedelta(days=days)))
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(serial)
        .public_key(private.public_key()).not_valid_before(begins - dt.timedelta(days=1)).not_valid_after(ends)
        .sign(private, hashes.SHA256())  # type: ignore[attr-defined]
    )  # fmt: skip
    secret = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())  # type: ignore[attr-defined]
    return made.public_bytes(Encoding.PEM).decode(), secret


def set_(services: MailServices, user: MadeUser, **changes: object) -> None:
    services.encryptions.set(OPERATOR, user.user_id, changes)


def decrypted_by_openssl(raw: bytes, pem: str, secret: bytes, folder: Path) -> bytes:
    for name, content in (("mail", raw), ("cert", pem.encode()), ("key", secret)):
        (folder / name).write_bytes(content)
    command = ["openssl", "cms", "-decrypt", "-in", "mail", "-recip", "cert", "-inkey", "key"]
    return subprocess.run(command, cwd=folder, capture_output=True, check=True).stdout


def only(services: MailServices, user: MadeUser) -> bytes:
    (raw,) = inbox(services, user)
    return raw


def test_what_is_delivered_is_openpgp_that_gnupg_reads(
    services: MailServices, user: MadeUser, gnupg: Callable[..., bytes], pgp_key: str
) -> None:
    set_(services, user, pgp_key=pgp_key, of_stored=True)
    assert deliver(services, PLAIN, user) == [None]
    raw = only(services, user)
    assert SECRET not in raw
    parsed = email.message_from_bytes(raw, policy=email.policy.default)
    assert parsed.get_content_type() == "multipart/encrypted"
    assert parsed.get_param("protocol") == "application/pgp-encrypted"
    version, sealed = parsed.iter_parts()
    assert (version.get_content_type(), version.get_content().strip()) == ("application/pgp-encrypted", b"Version: 1")
    inner = gnupg("--decrypt", given=sealed.get_content())
    header, _, body = PLAIN.partition(b"\r\n\r\n")
    assert inner == b"Content-Type: text/plain;\r\n charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + body
    for line in header.split(b"\r\n")[:6]:
        assert raw.count(line) == 1
    assert raw.count(b"MIME-Version:") == 1


def test_nothing_of_it_is_stored_in_the_clear(services: MailServices, user: MadeUser, pgp_key: str) -> None:
    """No index, no preview, no cache of it."""
    set_(services, user, pgp_key=pgp_key, of_stored=True)
    deliver(services, PLAIN, user)
    view = services.mailboxes.open(user.user_id, "INBOX")
    document = services.placement.home(user.user_id).shard.messages.find(user.user_id, [view.message_oid(0)])
    (stored,) = document.values()
    assert SECRET not in repr(stored).encode()
    assert not stored.get("preview")
    text = services.content.texts(user.user_id, [view.message_oid(0)])[view.message_oid(0)]
    assert "Geheimnis" not in text.text


@pytest.mark.parametrize("cipher", Cipher)
@pytest.mark.parametrize("transport", KeyTransport)
def test_what_is_delivered_is_smime_that_openssl_reads(
    services: MailServices, user: MadeUser, tmp_path: Path, cipher: Cipher, transport: KeyTransport
) -> None:
    """For each of several certificates; 5 MB in the thread pool as well."""
    (one, one_key), (other, other_key) = certificate(serial=1), certificate(serial=2)
    set_(services, user, certificates=(one, other), cipher=cipher, key_transport=transport, of_stored=True)
    large = message(os.urandom(5_000_000))
    assert deliver(services, PLAIN, user) == deliver(services, large, user) == [None]
    small, big = inbox(services, user)
    assert SECRET not in small
    kind = b"enveloped-data" if cipher is Cipher.CBC else b"authEnveloped-data"
    assert b"application/pkcs7-mime; smime-type=" + kind in small
    for pem, secret in ((one, one_key), (other, other_key)):
        inner = decrypted_by_openssl(small, pem, secret, tmp_path)
        assert inner.endswith(PLAIN.partition(b"\r\n\r\n")[2])
        assert decrypted_by_openssl(big, pem, secret, tmp_path).endswith(large.partition(b"\r\n\r\n")[2])


def test_who_set_nothing_gets_it_as_it_is_and_at_no_cost(
    services: MailServices, user: MadeUser, monkeypatch: pytest.MonkeyPatch, pgp_key: str
) -> None:
    def never(*_: object) -> bytes:
        raise AssertionError("nothing is to be encrypted")

    monkeypatch.setattr(service, "_encrypted", never)
    assert deliver(services, PLAIN, user) == [None]
    monkeypatch.undo()
    set_(services, user, pgp_key=pgp_key)
    monkeypatch.setattr(service, "_encrypted", never)
    assert deliver(services, PLAIN, user) == [None]
    assert inbox(services, user) == [PLAIN, PLAIN]


def test_a_mailbox_may_ask_for_it_alone(services: MailServices, user: MadeUser, pgp_key: str) -> None:
    box = services.mailboxes.create(user.user_id, OPERATOR, "Vault")
    services.mailboxes.set_options(user.user_id, OPERATOR, "Vault", encrypts=True)
    set_(services, user, pgp_key=pgp_key)
    rule = RuleContent(action=RuleAction(mailbox_id=box))
    deliver(services, PLAIN, user)
    services.filters.create(OPERATOR, of_user(user.user_id), rule)
    deliver(services, PLAIN, user)
    view = services.mailboxes.open(user.user_id, "Vault")
    raw = b"".join(services.content.open(user.user_id, view.message_oid(0)).read())
    assert (view.exists, SECRET in raw, inbox(services, user)) == (1, False, [PLAIN])


def test_rules_see_the_message_before_it_is_encrypted(services: MailServices, user: MadeUser, pgp_key: str) -> None:
    box = services.mailboxes.create(user.user_id, OPERATOR, "Found")
    set_(services, user, pgp_key=pgp_key, of_stored=True)
    content = RuleContent(query=Query(text="Geheimnis"), action=RuleAction(mailbox_id=box))
    services.filters.create(OPERATOR, of_user(user.user_id), content)
    assert deliver(services, PLAIN, user) == [None]
    assert services.mailboxes.open(user.user_id, "Found").exists == 1


def test_what_is_encrypted_already_stays_as_it_is(services: MailServices, user: MadeUser, pgp_key: str) -> None:
    set_(services, user, pgp_key=pgp_key, of_stored=True)
    once = services.encryptions.encrypt(services.users.get(user.user_id).encryption, PLAIN)
    deliver(services, once, user)
    assert only(services, user) == once


def forwarded(services: MailServices, user: MadeUser) -> bytes:
    shard = services.placement.home(user.user_id).shard
    (document,) = shard.hot["outbound"].find({"tenant": user.tenant_id.binary})
    content = OutboundContent(services.offload, services.settings.limits)
    return b"".join(content.open(shard, user.tenant_id, document).read())


def test_what_is_sent_on_is_encrypted_if_wanted(services: MailServices, user: MadeUser, pgp_key: str) -> None:
    services.users.set_settings(OPERATOR, user.user_id, {"targets": ("new@else.test",)})
    set_(services, user, pgp_key=pgp_key, of_forwarded=True)
    assert deliver(services, PLAIN, user) == [None]
    sent = forwarded(services, user)
    assert (SECRET in sent, b"BEGIN PGP MESSAGE" in sent) == (False, True)
    assert only(services, user) == PLAIN


def test_a_key_that_fails_has_mail_tried_again_and_none_stored(
    services: MailServices, user: MadeUser, pgp_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack M14: neither in the clear nor dropped."""
    set_(services, user, pgp_key=pgp_key, of_stored=True)
    broken = replace(services.users.get(user.user_id).encryption, pgp_key="-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nx\n")
    services.placement.directory.user_changes.set_encryption(user.user_id, broken)
    services.placement.forget(user.user_id)
    (error,) = deliver(services, PLAIN, user)
    assert isinstance(error, EncryptionFailed)
    assert inbox(services, user) == []


def test_mail_stored_in_the_clear_when_a_key_fails_would_be_seen(
    services: MailServices, user: MadeUser, pgp_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control."""

    def open_(_: object, raw: bytes) -> bytes:
        return raw

    monkeypatch.setattr(service, "_encrypted", open_)
    with pytest.raises(AssertionError):
        test_a_key_that_fails_has_mail_tried_again_and_none_stored(services, user, pgp_key, monkeypatch)


@pytest.mark.parametrize("what", ["no key", "private", "expired", "elliptic", "small", "both", "too many", "none"])
def test_keys_that_cannot_be_used_are_refused_when_they_are_set(
    services: MailServices, user: MadeUser, gnupg: Callable[..., bytes], pgp_key: str, what: str
) -> None:
    changes: dict[str, object] = {
        "no key": lambda: {"pgp_key": "x"},
        "private": lambda: {"pgp_key": gnupg("--armor", "--export-secret-keys").decode()},
        "expired": lambda: {"certificates": (certificate(days=-2)[0],)},
        "elliptic": lambda: {"certificates": (certificate(key=ec.generate_private_key(ec.SECP256R1()))[0],)},
        "small": lambda: {"certificates": (certificate(key=rsa.generate_private_key(65537, 1024))[0],)},
        "both": lambda: {"pgp_key": pgp_key, "certificates": (certificate()[0],)},
        "too many": lambda: {"certificates": (certificate()[0],) * 17},
        "none": lambda: {"of_stored": True},
    }[what]()
    with pytest.raises(ValueInvalid):
        set_(services, user, **changes)
    assert not services.users.get(user.user_id).encryption.has_keys


def test_people_see_whose_keys_they_are(services: MailServices, user: MadeUser, pgp_key: str) -> None:
    set_(services, user, pgp_key=pgp_key)
    found = key_info(services.users.get(user.user_id).encryption)
    assert found is not None
    assert (found.name, found.address, len(found.fingerprint)) == ("Zoe", "zoe@example.org", 40)
    set_(services, user, pgp_key="", certificates=(certificate()[0],))
    (shown,) = certificate_infos(services.users.get(user.user_id).encryption)
    assert (shown.subject, shown.serial) == ("CN=zoe@example.org", "1267")


def test_what_is_put_into_a_mailbox_is_encrypted_too_but_drafts(
    services: MailServices, user: MadeUser, pgp_key: str
) -> None:
    """By APPEND, by an upload, and the copy of what was sent: one, encrypted, and the other end gets it as it is."""
    set_(services, user, pgp_key=pgp_key, of_stored=True)
    raw = PLAIN.replace(b"From: a@else.test", b"From: " + user.address.encode())
    append = services.messages.append
    append(user.user_id, OPERATOR, "INBOX", [NewMessage(raw)])
    append(user.user_id, OPERATOR, "Drafts", [NewMessage(raw)])
    append(user.user_id, OPERATOR, "INBOX", [NewMessage(raw, FlagSet(DRAFT))])
    sender = Sender(user.user_id, user.tenant_id, user.address)
    submitted = Submitted(raw, user.address, [OutboundRecipient("x@else.test")], "ESMTPSA")
    for _ in range(2):
        services.submission.submit(OPERATOR, sender, submitted)
    assert SECRET in forwarded(services, user)

    def secrets(name: str) -> list[bool]:
        view = services.mailboxes.open(user.user_id, name)
        oids = [view.message_oid(row) for row in range(view.exists)]
        return [SECRET in b"".join(content.read()) for content in services.content.open_many(user.user_id, oids)]

    assert (secrets("INBOX"), secrets("Drafts"), secrets("Sent Mail")) == ([False, True], [True], [False])
