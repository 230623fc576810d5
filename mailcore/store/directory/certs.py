"""`certs`: TLS certificates by server name, private keys sealed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from bson import ObjectId
from pymongo.database import Database

from mailcore.store.client import Document
from mailcore.store.guard import deadline


@dataclass(frozen=True, slots=True)
class StoredCertificate:
    """A chain, and its key as it was sealed."""

    id: ObjectId
    server_names: tuple[str, ...]
    """A-labels; a first label "*" stands for any one label."""
    is_default: bool
    chain_pem: bytes
    sealed_key: bytes
    not_after: datetime


class Certs:
    """The platform's certificates; they belong to no tenant."""

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

    def replace(self, certificate: StoredCertificate) -> None:
        """Store a certificate in place of those with any of its names (and of the default, if it is one)."""
        taken: list[dict[str, object]] = [{"server_names": {"$in": list(certificate.server_names)}}]
        if certificate.is_default:
            taken.append({"is_default": True})
        document = {
            "_id": certificate.id,
            "server_names": list(certificate.server_names),
            "is_default": certificate.is_default,
            "chain_pem": certificate.chain_pem,
            "sealed_key": certificate.sealed_key,
            "not_after": certificate.not_after,
        }
        with deadline():
            self._collection.delete_many({"$or": taken})
            self._collection.insert_one(document)


def _certificate(document: Document) -> StoredCertificate:
    return StoredCertificate(
        id=document["_id"],
        server_names=tuple(document["server_names"]),
        is_default=document["is_default"],
        chain_pem=bytes(document["chain_pem"]),
        sealed_key=bytes(document["sealed_key"]),
        not_after=document["not_after"],
    )
