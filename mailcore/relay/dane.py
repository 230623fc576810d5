"""DANE for SMTP: certificates named in DNS that DNSSEC protects (RFC 6698, RFC 7671, RFC 7672)."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.verification import Criticality, ExtensionPolicy, Policy, PolicyBuilder, Store, VerificationError

from mailcore.services.outbound.dns import Found

DANE_TA: Final = 2
DANE_EE: Final = 3


@dataclass(frozen=True, slots=True)
class Tlsa:
    """One record: what is compared, and with what."""

    usage: int
    selector: int
    matching: int
    data: bytes

    @property
    def is_usable(self) -> bool:
        """Whether SMTP has a use for it (RFC 7672 §3.1): trust anchors and end entities, known digests."""
        return self.usage in {DANE_TA, DANE_EE} and self.selector in {0, 1} and self.matching in {0, 1, 2}

    def fits(self, certificate: x509.Certificate) -> bool:
        """Whether a certificate is the one that is meant."""
        if self.selector == 0:
            content = certificate.public_bytes(Encoding.DER)
        else:
            content = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        digest = {1: hashlib.sha256, 2: hashlib.sha512}.get(self.matching)
        return self.data == (content if digest is None else digest(content).digest())


def tlsa_of(found: Found) -> tuple[Tlsa, ...]:
    """Return records as values; only of a validated answer."""
    if not found.is_secure:
        return ()
    return tuple(Tlsa(each.usage, each.selector, each.mtype, bytes(each.cert)) for each in found.records)


def is_proven(records: Sequence[Tlsa], chain: Sequence[bytes], names: Sequence[str]) -> bool:
    """Return whether a server's chain (DER, its own certificate first) is what the records ask for.

    An end entity is compared and nothing else of it counts, neither names nor dates (RFC 7672 §3.1.1). Below a trust
    anchor the chain must hold and the certificate must be for one of `names` (§3.1.2). Records of no use ask for TLS
    alone (§2.2).
    """
    usable = [record for record in records if record.is_usable]
    if not usable:
        return True
    try:
        certificates = [x509.load_der_x509_certificate(each) for each in chain]
    except ValueError:
        return False
    if not certificates:
        return False
    if any(record.usage == DANE_EE and record.fits(certificates[0]) for record in usable):
        return True
    anchors = [each for each in certificates if any(record.usage == DANE_TA and record.fits(each) for record in usable)]
    return any(_holds(certificates, anchor, name) for anchor in anchors for name in names)


def _check_authority(_policy: Policy, _certificate: x509.Certificate, constraints: x509.BasicConstraints) -> None:
    if not constraints.ca:
        raise ValueError("not of an authority")


_OF_AUTHORITY: Final = ExtensionPolicy.permit_all().require_present(
    x509.BasicConstraints, Criticality.AGNOSTIC, _check_authority
)
_OF_SERVER: Final = ExtensionPolicy.permit_all().require_present(
    x509.SubjectAlternativeName, Criticality.AGNOSTIC, None
)
"""Chains below an anchor of somebody's own are seldom by the letter of the web's rules: names and signatures count."""


def _holds(certificates: Sequence[x509.Certificate], anchor: x509.Certificate, name: str) -> bool:
    builder = PolicyBuilder().store(Store([anchor])).extension_policies(ca_policy=_OF_AUTHORITY, ee_policy=_OF_SERVER)
    verifier = builder.build_server_verifier(x509.DNSName(name))
    try:
        verifier.verify(certificates[0], [each for each in certificates[1:] if each != anchor])
    except (VerificationError, ValueError):
        return False
    return True


def chain_of(connection: ssl.SSLSocket) -> list[bytes]:
    """Return the certificates that a server sent, DER, its own first."""
    own = connection.getpeercert(binary_form=True)
    sent = getattr(getattr(connection, "_sslobj", None), "get_unverified_chain", None)  # public from Python 3.13 on
    if sent is None:
        sent = getattr(connection, "get_unverified_chain", None)
    found = [_der(each) for each in (sent() or ())] if sent is not None else []
    return found or ([own] if own else [])


def _der(certificate: object) -> bytes:
    if isinstance(certificate, bytes):
        return certificate
    return ssl.PEM_cert_to_DER_cert(cast("str", certificate.public_bytes()))  # type: ignore[attr-defined]
