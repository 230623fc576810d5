"""TLS certificates by server name, for every process that speaks TLS."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from bson import ObjectId
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from mailcore.errors import CertificateNotFound, DomainInvalid, ValueInvalid
from mailcore.model.actor import Actor
from mailcore.model.address import domain_name
from mailcore.model.ids import TenantId
from mailcore.services.events.audit import Audit
from mailcore.services.trust.sealing import Sealing
from mailcore.store.directory import Directory
from mailcore.store.directory.certs import StoredCertificate


@dataclass(frozen=True, slots=True)
class Certificate:
    """A chain with its private key, both PEM."""

    id: str
    """Fingerprint: a caller may keep what it built from one."""
    chain_pem: bytes
    key_pem: bytes = field(repr=False)


class Certificates:
    """Stores certificates with sealed keys and finds them by server name."""

    def __init__(self, directory: Directory, sealing: Sealing, audit: Audit) -> None:
        self._directory = directory
        self._sealing = sealing
        self._audit = audit

    def certificate(self, server_name: str | None) -> Certificate | None:
        """Return the certificate for a server name (its own, else a wildcard), else the default, else None."""
        stored = None
        if server_name:
            try:
                name = domain_name(server_name)
            except DomainInvalid:
                name = ""
            parent = name.partition(".")[2]
            stored = self._directory.certs.find([name, f"*.{parent}"] if parent else [name]) if name else None
        stored = stored or self._directory.certs.find_default()
        if stored is None:
            return None
        key = self._sealing.open(_purpose(stored.fingerprint), stored.sealed_key)
        return Certificate(stored.fingerprint, stored.chain_pem, key)

    def add(
        self,
        actor: Actor,
        chain_pem: bytes,
        key_pem: bytes,
        *,
        is_default: bool = False,
        description: str = "",
        tenant_id: TenantId | None = None,
    ) -> datetime:
        """Store a certificate for the names it holds, in place of older ones for any of them; return when it ends.

        `tenant_id`: whose domain its one host is of.

        Raises:
            ValueInvalid: not PEM, without names, or the key is another certificate's.
        """
        try:
            leaf = x509.load_pem_x509_certificates(chain_pem)[0]
            key = load_pem_private_key(key_pem, password=None)
        except (ValueError, TypeError, IndexError) as error:
            raise ValueInvalid("certificate chain and unencrypted private key are needed, both PEM") from error
        spki = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        if key.public_key().public_bytes(*spki) != leaf.public_key().public_bytes(*spki):
            raise ValueInvalid("the private key does not belong to the certificate")
        fingerprint = leaf.fingerprint(hashes.SHA256()).hex()
        stored = StoredCertificate(
            fingerprint=fingerprint,
            server_names=_names(leaf),
            is_default=is_default,
            chain_pem=chain_pem,
            sealed_key=self._sealing.seal(_purpose(fingerprint), key_pem),
            not_after=leaf.not_valid_after_utc,
            description=description,
            tenant_id=tenant_id,
        )
        wanted = {"names": stored.server_names, "fingerprint": fingerprint}
        with self._audit.of_platform(actor, "certificate.added", wanted):
            self._directory.certs.replace(stored)
        return stored.not_after

    def check_names(self, chain_pem: bytes, server_name: str) -> None:
        """Make sure that a certificate is for a server name, A-labels, or a wildcard.

        Raises:
            ValueInvalid: not PEM, or for other names.
        """
        try:
            leaf = x509.load_pem_x509_certificates(chain_pem)[0]
        except (ValueError, IndexError) as error:
            raise ValueInvalid("the certificate is needed as PEM") from error
        names = _names(leaf)
        if not {server_name, f"*.{server_name.partition('.')[2]}"}.intersection(names):
            raise ValueInvalid(f"the certificate is for {', '.join(names)}, not for {server_name}")

    def delete(self, actor: Actor, name: str) -> int:
        """Remove the certificates for a server name, or a wildcard; return how many there were.

        Raises:
            DomainInvalid: not a name that a server can have.
        """
        canonical = f"*.{domain_name(name[2:])}" if name.startswith("*.") else domain_name(name)
        with self._audit.of_platform(actor, "certificate.deleted", {"name": canonical}):
            return self._directory.certs.delete(canonical)

    def get(self, certificate_id: ObjectId) -> StoredCertificate:
        """Return one, its key sealed.

        Raises:
            CertificateNotFound: there is none such.
        """
        found = self._directory.certs.find_id(certificate_id)
        if found is None:
            raise CertificateNotFound(certificate_id)
        return found

    def for_name(self, server_name: str) -> StoredCertificate | None:
        """Return what is shown for a server name: its own, else a wildcard's, its key sealed; None if there is none.

        Raises:
            DomainInvalid: not a name that a server can have.
        """
        name = domain_name(server_name)
        return self._directory.certs.find([name, f"*.{name.partition('.')[2]}"])

    def delete_id(self, actor: Actor, certificate_id: ObjectId) -> None:
        """Remove one certificate.

        Raises:
            CertificateNotFound: there is none such.
        """
        names = self.get(certificate_id).server_names
        with self._audit.of_platform(actor, "certificate.deleted", {"name": " ".join(names)}):
            if not self._directory.certs.delete_id(certificate_id):
                raise CertificateNotFound(certificate_id)

    def list_all(self) -> list[StoredCertificate]:
        """Return every certificate, its key sealed."""
        return self._directory.certs.list_all()


def _purpose(fingerprint: str) -> str:
    return f"cert.key:{fingerprint}"


def _names(leaf: x509.Certificate) -> tuple[str, ...]:
    try:
        extension = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound as error:
        raise ValueInvalid("the certificate has no server names") from error
    names = tuple(sorted({name.lower() for name in extension.value.get_values_for_type(x509.DNSName)}))
    if not names:
        raise ValueInvalid("the certificate has no server names")
    return names
