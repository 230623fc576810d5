"""The authority's own key: what it signs is trusted by whoever trusts its root, and by nobody else."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ROOT_LIFE: Final = dt.timedelta(days=3650)
LEAF_LIFE: Final = dt.timedelta(days=90)
BACKDATED: Final = dt.timedelta(minutes=5)
CERTIFIES: Final = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)
NAME: Final = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Eider development authority")])


class Signer:
    """A root that is made once and kept in a folder."""

    def __init__(self, folder: Path) -> None:
        self.root_path = folder / "authority.pem"
        """Its certificate."""
        key_path = folder / "authority.key"
        if not (self.root_path.is_file() and key_path.is_file()):
            _make(key_path, self.root_path)
        key = serialization.load_pem_private_key(key_path.read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey), "the folder's key is of another kind"
        self._key = key
        self._root = x509.load_pem_x509_certificate(self.root_path.read_bytes())

    def sign(self, names: Sequence[str], key: CertificateIssuerPublicKeyTypes) -> bytes:
        """Return the chain (PEM, leaf first) of a certificate for these host names or IP addresses."""
        builder = _lasting(LEAF_LIFE).subject_name(x509.Name([])).issuer_name(self._root.subject).public_key(key)
        builder = builder.add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=True)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
        )
        return _pem(builder.sign(self._key, hashes.SHA256())) + _pem(self._root)


def _make(key_path: Path, root_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _lasting(ROOT_LIFE).subject_name(NAME).issuer_name(NAME).public_key(key.public_key())
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(CERTIFIES, critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with os.fdopen(os.open(key_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(text)
    root_path.write_bytes(_pem(builder.sign(key, hashes.SHA256())))


def _lasting(life: dt.timedelta) -> x509.CertificateBuilder:
    begins_at = dt.datetime.now(dt.UTC) - BACKDATED
    builder = x509.CertificateBuilder().serial_number(x509.random_serial_number())
    return builder.not_valid_before(begins_at).not_valid_after(begins_at + life)


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
