"""Encryption of a user's mail before it is stored or sent on, with public keys of the user's own (decision 18).

OpenPGP by Sequoia (RFC 9580), S/MIME by `smime.py` (RFC 8551). What cannot be encrypted is neither stored in the
clear nor dropped: whoever brings it tries again. The libraries take megabytes; a process imports one when it is used.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parseaddr
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from mailcore.errors import EncryptionFailed, UserNotFound, ValueInvalid
from mailcore.message.encrypted import content_of, is_encrypted, pgp_mime, smime
from mailcore.model.actor import Actor
from mailcore.model.encryption import (
    CHOICES,
    MAX_CERTIFICATE_CHARACTERS,
    MAX_CERTIFICATES,
    MAX_KEY_CHARACTERS,
    CertificateInfo,
    Encryption,
    KeyInfo,
)
from mailcore.model.event import Detail
from mailcore.model.ids import UserId
from mailcore.model.mailbox import MailboxEntry, SpecialUse
from mailcore.model.octets import Octets
from mailcore.services.accounts.sessions import Sessions
from mailcore.services.events.audit import Audit
from mailcore.services.process.clock import now
from mailcore.services.process.offload import Offload
from mailcore.store.directory import Directory
from mailcore.store.placement import Placement

log = logging.getLogger(__name__)

OFFLOAD_BYTES: Final = 64 * 1024
RSA_BITS: Final = range(2048, 8193)
"""Smaller keys protect nothing; larger ones cost a delivery too much."""


class Encryptions:
    """Keeps what users want encrypted with which keys, and encrypts."""

    def __init__(
        self, directory: Directory, placement: Placement, audit: Audit, sessions: Sessions, offload: Offload
    ) -> None:
        self._directory = directory
        self._placement = placement
        self._audit = audit
        self._sessions = sessions
        self._offload = offload

    def set(self, actor: Actor, user_id: UserId, changes: Mapping[str, Any]) -> None:
        """Change some of a user's choice, by their names in `Encryption`; what is stored already stays as it is.

        Raises:
            ValueInvalid: a key that cannot be used, keys of both kinds, or encryption without any.
            UserNotFound: there is no such user.
        """
        unknown = changes.keys() - CHOICES
        if unknown:
            raise ValueInvalid(f"encryption has no {min(unknown)}")
        user = self._directory.users.find(user_id)
        if user is None:
            raise UserNotFound(user_id)
        before = user.encryption
        after = replace(before, **changes)
        if after == before:
            return
        self._check(after)
        with self._audit.of_user(actor, "user.encryption", user_id, _told(after)) as change:
            change.before |= _told(before)
            if self._directory.user_changes.set_encryption(user_id, after) is None:
                raise UserNotFound(user_id)
        self._placement.forget(user_id)
        self._sessions.user_changed(user_id)

    def check(self, changes: Mapping[str, Any]) -> None:
        """Look at what somebody new is to choose.

        Raises:
            ValueInvalid: as `set`.
        """
        self._check(replace(Encryption(), **changes))

    def _check(self, choice: Encryption) -> None:
        if choice.pgp_key and choice.certificates:
            raise ValueInvalid("mail is encrypted by OpenPGP or by S/MIME: take the other key away")
        if not choice.has_keys and (choice.of_stored or choice.of_forwarded):
            raise ValueInvalid("nothing can be encrypted without a key: set pubKey or smimeCerts")
        if choice.has_keys:
            try:
                _encrypted(choice, b"Subject: a try\r\n\r\na try\r\n")
            except EncryptionFailed as error:
                raise ValueInvalid(str(error.details[0])) from error

    @staticmethod
    def applies(choice: Encryption, entry: MailboxEntry) -> bool:
        """Whether what comes into a mailbox is encrypted."""
        wanted = choice.of_stored or entry.encrypts
        return choice.has_keys and wanted and entry.special_use is not SpecialUse.DRAFTS

    def as_stored(self, choice: Encryption, entry: MailboxEntry, raw: Octets) -> Octets:
        """Return a message as it is stored in a mailbox that somebody puts it into; drafts stay readable.

        Raises:
            EncryptionFailed: as `encrypt`.
        """
        if not self.applies(choice, entry):
            return raw
        return self.encrypt(choice, raw if isinstance(raw, bytes) else raw[:])

    def encrypt(self, choice: Encryption, raw: bytes) -> bytes:
        """Return a message encrypted; one that is encrypted already, as it is. Large ones in the thread pool.

        Raises:
            EncryptionFailed: the keys have expired, were revoked, or cannot encrypt.
        """
        if is_encrypted(raw):
            return raw
        if len(raw) < OFFLOAD_BYTES:
            return _encrypted(choice, raw)
        return self._offload.run(lambda: _encrypted(choice, raw))


def key_info(choice: Encryption) -> KeyInfo | None:
    """Return whose OpenPGP key it is, None if there is none."""
    if not choice.pgp_key:
        return None
    key = _certificate(choice.pgp_key)
    name, address = parseaddr(str(key.user_ids[0])) if key.user_ids else ("", "")
    return KeyInfo(name, address, key.fingerprint)


def certificate_infos(choice: Encryption) -> list[CertificateInfo]:
    """Return whose S/MIME certificates they are."""
    return [
        CertificateInfo(one.subject.rfc4514_string(), f"{one.serial_number:x}", one.fingerprint(hashes.SHA256()).hex())
        for one in map(_x509, choice.certificates)
    ]


def _encrypted(choice: Encryption, raw: bytes) -> bytes:
    """Return a message encrypted; raises EncryptionFailed with words for people."""
    if choice.pgp_key:
        return pgp_mime(raw, _by_pgp(choice.pgp_key, content_of(raw)))
    if not choice.certificates:
        raise EncryptionFailed("there is no key to encrypt with")
    from mailcore.services.content.smime import envelope

    return smime(raw, *envelope(content_of(raw), _recipients(choice), choice.cipher, choice.key_transport))


def _by_pgp(armored: str, content: bytes) -> bytes:
    key = _certificate(armored)
    if key.is_revoked:
        raise EncryptionFailed("this OpenPGP key was revoked")
    if key.expiration is not None and key.expiration <= now():
        raise EncryptionFailed(f"this OpenPGP key has expired on {key.expiration:%Y-%m-%d}")
    try:
        return bytes(_sequoia().encrypt(bytes=content, recipients=[key]))
    except Exception as error:  # the binding raises plain exceptions
        raise EncryptionFailed(f"this OpenPGP key cannot encrypt: {error}") from error


def _certificate(armored: str) -> Any:
    if len(armored) > MAX_KEY_CHARACTERS:
        raise EncryptionFailed(f"an OpenPGP key has at most {MAX_KEY_CHARACTERS} characters")
    if "PRIVATE KEY" in armored:
        raise EncryptionFailed("this is a private key, which nobody else should see: export the public one")
    try:
        return _sequoia().Cert.from_bytes(armored.encode())
    except Exception as error:  # the binding raises plain exceptions
        raise EncryptionFailed("this is no OpenPGP public key in ASCII armor") from error


def _sequoia() -> Any:
    """Return the library, which keeps no backtraces of its errors, whatever `RUST_BACKTRACE` says.

    To unwind the stack of a greenlet ends the process by SIGSEGV: its C stack does not begin where a thread's does.
    """
    os.environ["RUST_LIB_BACKTRACE"] = "0"
    import pysequoia

    return pysequoia


def _recipients(choice: Encryption) -> list[x509.Certificate]:
    """Return the certificates, each of which can be used now."""
    if len(choice.certificates) > MAX_CERTIFICATES:
        raise EncryptionFailed(f"at most {MAX_CERTIFICATES} certificates")
    certificates = [_x509(pem) for pem in choice.certificates]
    at = datetime.now(UTC)
    for one in certificates:
        key = one.public_key()
        if not isinstance(key, RSAPublicKey) or key.key_size not in RSA_BITS:
            raise EncryptionFailed(f"a certificate for S/MIME holds an RSA key of {RSA_BITS[0]} to {RSA_BITS[-1]} bits")
        if not one.not_valid_before_utc <= at <= one.not_valid_after_utc:
            raise EncryptionFailed(f"the certificate of {one.subject.rfc4514_string()} is not valid at this time")
    return certificates


def _x509(pem: str) -> x509.Certificate:
    if len(pem) > MAX_CERTIFICATE_CHARACTERS:
        raise EncryptionFailed("a certificate has at most 16384 characters")
    try:
        return x509.load_pem_x509_certificate(pem.encode())
    except ValueError as error:
        raise EncryptionFailed("this is no certificate in PEM") from error


def _told(choice: Encryption) -> dict[str, Detail]:
    """Return a choice as the audit trail tells it: keys by their fingerprints."""
    key = key_info(choice)
    return {
        "keys": [key.fingerprint] if key is not None else [one.fingerprint for one in certificate_infos(choice)],
        "of_stored": choice.of_stored,
        "of_forwarded": choice.of_forwarded,
    }
