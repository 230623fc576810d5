"""CMS that hides content for certificates (RFC 5652 §6, RFC 5083): the ciphers of RFC 8551 §2.7, RSA in both its forms.

The structures are those of pyasn1-modules, the cryptography that of `cryptography`.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.ciphers import Cipher as BlockCipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import Encoding
from pyasn1.codec.der.decoder import decode
from pyasn1.codec.der.encoder import encode
from pyasn1.type import univ
from pyasn1_modules import rfc4055, rfc5083, rfc5084, rfc5280, rfc5652

from mailcore.model.encryption import Cipher, KeyTransport

ENVELOPED: Final = "enveloped-data"
AUTH_ENVELOPED: Final = "authEnveloped-data"
KEY_BYTES: Final = 32
TAG_BYTES: Final = 16
_DATA: Final = univ.ObjectIdentifier("1.2.840.113549.1.7.1")
_AES256_CBC: Final = univ.ObjectIdentifier("2.16.840.1.101.3.4.1.42")
_AES256_GCM: Final = univ.ObjectIdentifier("2.16.840.1.101.3.4.1.46")
_RSA: Final = univ.ObjectIdentifier("1.2.840.113549.1.1.1")


def envelope(
    content: bytes, certificates: Sequence[x509.Certificate], cipher: Cipher, transport: KeyTransport
) -> tuple[bytes, str]:
    """Return content that only who has the key of one of these certificates, all RSA, can read; DER, and what it is."""
    key = secrets.token_bytes(KEY_BYTES)
    recipients = rfc5652.RecipientInfos()
    for number, certificate in enumerate(certificates):
        recipients[number]["ktri"] = _recipient(certificate, key, transport)
    if cipher is Cipher.GCM:
        return _authenticated(content, key, recipients), AUTH_ENVELOPED
    iv = secrets.token_bytes(16)
    padder, encryptor = PKCS7(128).padder(), BlockCipher(AES256(key), CBC(iv)).encryptor()
    hidden = encryptor.update(padder.update(content) + padder.finalize()) + encryptor.finalize()
    enveloped = rfc5652.EnvelopedData()
    enveloped["version"] = 0
    enveloped["recipientInfos"] = recipients
    _fill(enveloped["encryptedContentInfo"], _AES256_CBC, univ.OctetString(iv), hidden)
    return _wrapped(rfc5652.id_envelopedData, enveloped), ENVELOPED


def _authenticated(content: bytes, key: bytes, recipients: Any) -> bytes:
    nonce = secrets.token_bytes(12)
    hidden = AESGCM(key).encrypt(nonce, content, None)
    parameters = rfc5084.GCMParameters()
    parameters["aes-nonce"] = nonce
    parameters["aes-ICVlen"] = TAG_BYTES
    enveloped = rfc5083.AuthEnvelopedData()
    enveloped["version"] = 0
    enveloped["recipientInfos"] = recipients
    _fill(enveloped["authEncryptedContentInfo"], _AES256_GCM, parameters, hidden[:-TAG_BYTES])
    enveloped["mac"] = hidden[-TAG_BYTES:]
    return _wrapped(rfc5083.id_ct_authEnvelopedData, enveloped)


def _fill(info: Any, algorithm: univ.ObjectIdentifier, parameters: Any, hidden: bytes) -> None:
    info["contentType"] = _DATA
    info["contentEncryptionAlgorithm"]["algorithm"] = algorithm
    info["contentEncryptionAlgorithm"]["parameters"] = univ.Any(encode(parameters))
    info["encryptedContent"] = hidden


def _recipient(certificate: x509.Certificate, key: bytes, transport: KeyTransport) -> Any:
    """Return the key of the content as one certificate's owner gets it (RFC 5652 §6.2.1)."""
    public = certificate.public_key()
    assert isinstance(public, RSAPublicKey)
    found = rfc5652.KeyTransRecipientInfo()
    found["version"] = 0
    parsed, _ = decode(certificate.public_bytes(Encoding.DER), asn1Spec=rfc5280.Certificate())
    named = found["rid"]["issuerAndSerialNumber"]
    named["issuer"] = parsed["tbsCertificate"]["issuer"]
    named["serialNumber"] = certificate.serial_number
    algorithm = found["keyEncryptionAlgorithm"]
    if transport is KeyTransport.OAEP:
        algorithm["algorithm"] = rfc4055.id_RSAES_OAEP
        algorithm["parameters"] = univ.Any(encode(rfc4055.rSAES_OAEP_SHA256_Params))
        sha256 = hashes.SHA256()
        sealed = public.encrypt(key, padding.OAEP(padding.MGF1(sha256), sha256, None))
    else:
        algorithm["algorithm"] = _RSA
        algorithm["parameters"] = univ.Any(encode(univ.Null("")))
        sealed = public.encrypt(key, padding.PKCS1v15())
    found["encryptedKey"] = sealed
    return found


def _wrapped(kind: Any, content: Any) -> bytes:
    info = rfc5652.ContentInfo()
    info["contentType"] = kind
    info["content"] = univ.Any(encode(content))
    return bytes(encode(info))
