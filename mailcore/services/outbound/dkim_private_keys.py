"""Private keys of DKIM: made here, or brought along and checked; in the forms that the signer reads."""

from __future__ import annotations

import base64
import binascii
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from mailcore.errors import ValueInvalid
from mailcore.model.dkim import DkimAlgorithm
from mailcore.model.secret import Secret

RSA_BITS = 2048
"""RFC 8301 §3.2: at least 1024, and 2048 advised; larger ones do not fit into one string of a TXT record."""
LARGEST_RSA_BITS = 4096
ED25519_BYTES = 32


class KeyPair(NamedTuple):
    """A key as the signer reads it, and the value of its `p=` tag."""

    algorithm: DkimAlgorithm
    private_key: Secret
    public_key: str


def new_key(algorithm: DkimAlgorithm) -> KeyPair:
    """Make a key; RSA takes a tenth of a second and more."""
    if algorithm is DkimAlgorithm.RSA:
        return _rsa(rsa.generate_private_key(65537, RSA_BITS))
    return _ed25519(ed25519.Ed25519PrivateKey.generate())


def read_key(text: Secret) -> KeyPair:
    """Read a key that was made elsewhere: PEM of RSA or Ed25519, or the base64 of 32 bytes for Ed25519.

    Raises:
        ValueInvalid: none of these, or RSA of less than 2048 or more than 4096 bits.
    """
    raw = text.reveal().strip()
    if b"-----BEGIN" not in raw:
        try:
            seed = base64.b64decode(raw, validate=True)
        except (binascii.Error, ValueError):
            seed = b""
        if len(seed) != ED25519_BYTES:
            raise ValueInvalid("a private key is PEM, or 32 bytes of Ed25519 in base64")
        return _ed25519(ed25519.Ed25519PrivateKey.from_private_bytes(seed))
    try:
        key = load_pem_private_key(raw, password=None)
    except (ValueError, TypeError) as error:
        raise ValueInvalid("the private key is no PEM that can be read without a password") from error
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return _ed25519(key)
    if not isinstance(key, rsa.RSAPrivateKey) or not RSA_BITS <= key.key_size <= LARGEST_RSA_BITS:
        raise ValueInvalid(f"a private key is Ed25519, or RSA of {RSA_BITS} to {LARGEST_RSA_BITS} bits")
    return _rsa(key)


def _rsa(key: rsa.RSAPrivateKey) -> KeyPair:
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return KeyPair(DkimAlgorithm.RSA, Secret(pem), base64.b64encode(public).decode())


def _ed25519(key: ed25519.Ed25519PrivateKey) -> KeyPair:
    seed = base64.b64encode(key.private_bytes_raw())
    return KeyPair(DkimAlgorithm.ED25519, Secret(seed), base64.b64encode(key.public_key().public_bytes_raw()).decode())
