"""`certs`: TLS certificates by server name, private keys sealed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from bson import ObjectId
from pymongo.database import Database

from mailcore.model.ids import TenantId
from mailcore.store.client import Document
from mailcore.store.guard import deadline


@dataclass(frozen=True, slots=True)
class StoredCertificate:
    """A chain, and its key as it was sealed."""

    fingerprint: str
    """SHA-256 of the certificate, hexadecimal."""
    server_names: tuple[str, ...]
    """A-labels; a first label "*" stands for any one label."""
    is_default: bool
    chain_pem: bytes
    sealed_key: bytes
    not_after: datetime
    description: str = ""
    tenant_id: TenantId | None = None
    """Whose domain the host is of; None: it is the platform's."""
    id: ObjectId = field(default_factory=ObjectId, compare=False)
    """As it is stored: it stays the same when the names get another certificate."""


class Certs:
    """The platform's certificates, and those for hosts of tenants' domains."""

    def __init__(self, directory: Database[Document]) -> None:
        self._collection = directory["certs"]

    def find(self, names: Sequence[str]) -> StoredCertificate | None:
        """Return the certificate for the first of `names` that has one, or None."""
        with deadline():
            found = list(self._collection.find({"server_names": {"$in": [str(name) for name in names]}}))
        by_name = {name: document for document in found for name in document["server_names"]}
        return next((_certificate(by_name[name]) for name in names if name in by_name), None)

    def find_default(self) -> StoredCertificate | None:
        """Return the certificate for clients that name no server or an unknown one, or None."""
        with deadline():
            document = self._collection.find_one({"is_default": True}, sort=[("_id", -1)])
        return None if document is None else _certificate(document)

    def find_id(self, certificate_id: ObjectId) -> StoredCertificate | None:
        """Return one by its id, or None."""
        with deadline():
            document = self._collection.find_one({"_id": ObjectId(certificate_id)})
        return None if document is None else _certificate(document)

    def delete_id(self, certificate_id: ObjectId) -> bool:
        """Remove one; False if there is none."""
        with deadline():
            return self._collection.delete_one({"_id": ObjectId(certificate_id)}).deleted_count == 1

    def replace(self, certificate: StoredCertificate) -> None:
        """Store a certificate; those it replaces lose its names, and the default's place if it takes that.

        A certificate for the same names is replaced in place: no moment is without one.
        """
        names = list(certificate.server_names)
        document = {
            "server_names": names,
            "is_default": certificate.is_default,
            "fingerprint": certificate.fingerprint,
            "chain_pem": certificate.chain_pem,
            "sealed_key": certificate.sealed_key,
            "not_after": certificate.not_after,
            "description": certificate.description,
            "tenant": certificate.tenant_id,
        }
        with deadline():
            if self._collection.replace_one({"server_names": names}, document).matched_count == 0:
                self._collection.update_many({"server_names": {"$in": names}}, {"$pullAll": {"server_names": names}})
                self._collection.insert_one(document)
                self._collection.delete_many({"server_names": [], "is_default": False})
            if certificate.is_default:
                self._collection.update_many(
                    {"is_default": True, "fingerprint": {"$ne": certificate.fingerprint}},
                    {"$set": {"is_default": False}},
                )

    def list_all(self) -> list[StoredCertificate]:
        """Return the platform's certificates in order of arrival."""
        with deadline():
            return [_certificate(document) for document in self._collection.find({"tenant": None}).sort("_id", 1)]

    def ends(self, names: Sequence[str]) -> dict[str, datetime]:
        """Return until when those of these names are served that have a certificate, their own or a wildcard."""
        wildcards = {name: f"*.{name.partition('.')[2]}" for name in names}
        wanted = {"server_names": {"$in": [*map(str, names), *wildcards.values()]}}
        with deadline():
            found = list(self._collection.find(wanted, {"server_names": 1, "not_after": 1}))
        by_name = {name: document["not_after"] for document in found for name in document["server_names"]}
        return {
            name: by_name.get(name) or by_name[wildcard]
            for name, wildcard in wildcards.items()
            if name in by_name or wildcard in by_name
        }

    def delete_of_hosts(self, tenant_id: TenantId, hosts: Sequence[str]) -> None:
        """Remove a tenant's certificates for hosts."""
        with deadline():
            self._collection.delete_many({"tenant": tenant_id, "server_names": {"$in": [str(host) for host in hosts]}})

    def delete(self, name: str) -> int:
        """Remove the certificates that hold a name; return how many there were."""
        with deadline():
            return self._collection.delete_many({"server_names": str(name)}).deleted_count


def _certificate(document: Document) -> StoredCertificate:
    return StoredCertificate(
        fingerprint=document["fingerprint"],
        server_names=tuple(document["server_names"]),
        is_default=document["is_default"],
        chain_pem=bytes(document["chain_pem"]),
        sealed_key=bytes(document["sealed_key"]),
        not_after=document["not_after"],
        description=document.get("description", ""),
        tenant_id=TenantId(document["tenant"]) if document.get("tenant") is not None else None,
        id=document["_id"],
    )
