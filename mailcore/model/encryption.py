"""What a user's mail is encrypted with before it is stored: public keys only, so nobody here can read it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, Final

MAX_KEY_CHARACTERS: Final = 64 * 1024
MAX_CERTIFICATES: Final = 16
MAX_CERTIFICATE_CHARACTERS: Final = 16 * 1024


class Cipher(StrEnum):
    """How the content of an S/MIME message is encrypted (RFC 8551 §2.7)."""

    CBC = "AES-CBC"
    GCM = "AES-GCM"


class KeyTransport(StrEnum):
    """How its key is encrypted for each certificate (RFC 8551 §2.3)."""

    PKCS1 = "PKCS#1 v1.5"
    OAEP = "OAEP"


@dataclass(frozen=True, slots=True)
class Encryption:
    """One user's choice; there is a key or there are certificates, never both.

    Attributes:
        pgp_key: an OpenPGP certificate in ASCII armor (RFC 9580 §6.2); "" for none.
        certificates: for S/MIME, PEM.
        cipher: with certificates.
        key_transport: with certificates that hold an RSA key.
        of_stored: what is delivered is encrypted, wherever it is filed; else only in mailboxes that ask for it.
        of_forwarded: what is sent on is encrypted.
    """

    pgp_key: str = ""
    certificates: tuple[str, ...] = ()
    cipher: Cipher = Cipher.CBC
    key_transport: KeyTransport = KeyTransport.PKCS1
    of_stored: bool = False
    of_forwarded: bool = False

    @property
    def has_keys(self) -> bool:
        """Whether anything can be encrypted."""
        return bool(self.pgp_key or self.certificates)

    @classmethod
    def read(cls, stored: Mapping[str, Any] | None) -> Encryption:
        """Return the choice of a user's document."""
        if not stored:
            return NO_ENCRYPTION
        return cls(
            stored["pgp_key"],
            tuple(stored["certificates"]),
            Cipher(stored["cipher"]),
            KeyTransport(stored["key_transport"]),
            stored["of_stored"],
            stored["of_forwarded"],
        )

    def document(self) -> dict[str, Any]:
        """Return the choice as it is stored."""
        return {
            "pgp_key": self.pgp_key,
            "certificates": list(self.certificates),
            "cipher": self.cipher.value,
            "key_transport": self.key_transport.value,
            "of_stored": self.of_stored,
            "of_forwarded": self.of_forwarded,
        }


CHOICES: Final = frozenset(each.name for each in fields(Encryption))
NO_ENCRYPTION: Final = Encryption()


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """What people are shown of an OpenPGP certificate."""

    name: str
    address: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class CertificateInfo:
    """What people are shown of an S/MIME certificate."""

    subject: str
    serial: str
    fingerprint: str
