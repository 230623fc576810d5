"""`acme_accounts`, `acme_orders`, `acme_challenges`: certificates that an authority issues (RFC 8555)."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from bson import ObjectId
from pymongo import ReturnDocument
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from mailcore.model.ids import TenantId
from mailcore.store.client import Document
from mailcore.store.guard import deadline

_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)
CHALLENGE_KEPT: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class StoredAccount:
    """Our account at an authority: its key as it was sealed, and its URL once registered."""

    sealed_key: bytes
    uri: str | None


@dataclass(frozen=True, slots=True)
class AcmeOrder:
    """Names for which a certificate is wanted, always a valid one."""

    id: ObjectId
    names: tuple[str, ...]
    is_default: bool
    renew_at: datetime
    """When a worker tries next; the past while there is no certificate yet."""
    failures: int = 0
    """In a row."""
    error: str = ""
    tenant_id: TenantId | None = None
    """Whose domain the host is of; None: it is the platform's."""


class Acme:
    """What renewal needs to know."""

    def __init__(self, directory: Database[Document]) -> None:
        self._accounts = directory["acme_accounts"]
        self._orders = directory["acme_orders"]
        self._challenges = directory["acme_challenges"]

    # -- account ----------------------------------------------------------------------------

    def find_account(self, authority_url: str) -> StoredAccount | None:
        """Return our account at an authority, or None."""
        with deadline():
            found = self._accounts.find_one({"_id": str(authority_url)})
        return None if found is None else StoredAccount(bytes(found["key"]), found["uri"])

    def insert_account_once(self, authority_url: str, sealed_key: bytes) -> StoredAccount:
        """Store a new account's key unless there is an account; return the one that is stored."""
        with deadline():
            found = self._accounts.find_one_and_update(
                {"_id": str(authority_url)},
                {"$setOnInsert": {"key": sealed_key, "uri": None}},
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
        assert found is not None  # an upsert that returns what it left
        return StoredAccount(bytes(found["key"]), found["uri"])

    def set_account_uri(self, authority_url: str, uri: str) -> None:
        """Note under which URL the authority knows us."""
        with deadline():
            self._accounts.update_one({"_id": str(authority_url)}, {"$set": {"uri": str(uri)}})

    # -- orders -----------------------------------------------------------------------------

    def put_order(self, names: Sequence[str], *, is_default: bool) -> None:
        """Want a certificate for these names, from now on; a second time tries at once."""
        update = {
            "$set": {"is_default": is_default, "failures": 0, "error": ""},
            "$currentDate": {"renew_at": True},
            "$unset": {"leased_until": ""},
        }
        with deadline():
            self._orders.update_one({"names": [str(name) for name in names]}, update, upsert=True)

    def list_orders(self) -> list[AcmeOrder]:
        """Return every order of the platform."""
        with deadline():
            return [_order(document) for document in self._orders.find({"tenant": None}).sort("_id", 1)]

    def delete_orders(self, name: str) -> int:
        """Want no certificate any more for what includes a name; return how many orders that were."""
        with deadline():
            return self._orders.delete_many({"names": str(name), "tenant": None}).deleted_count

    def claim_due(self, lease_s: int, *, of_tenants: bool = False) -> AcmeOrder | None:
        """Take the order that is due the longest, for so long; None if none is due, by the database's clock.

        Those of the platform and those of tenants wait apart: the many keep nothing from the few.
        """
        due: Document = {
            "tenant": {"$ne": None} if of_tenants else None,
            "$expr": {
                "$and": [
                    {"$lte": ["$renew_at", "$$NOW"]},
                    {"$lt": [{"$ifNull": ["$leased_until", _LONG_AGO]}, "$$NOW"]},
                ]
            },
        }
        lease = [{"$set": {"leased_until": {"$add": ["$$NOW", lease_s * 1000]}}}]
        with deadline():
            found = self._orders.find_one_and_update(
                due, lease, sort=[("renew_at", 1)], return_document=ReturnDocument.AFTER
            )
        return None if found is None else _order(found)

    def settle_order(self, order: AcmeOrder, renew_at: datetime, error: str = "") -> bool:
        """Note how a try ended and when the next is due; without an error it went well. False: it was withdrawn."""
        failures = order.failures + 1 if error else 0
        fields: dict[str, Any] = {"renew_at": renew_at, "error": error[:500], "failures": failures}
        with deadline():
            settled = self._orders.update_one({"_id": order.id}, {"$set": fields, "$unset": {"leased_until": ""}})
        return settled.matched_count == 1

    # -- orders for hosts of tenants' domains -----------------------------------------------------

    def put_host_order(self, tenant_id: TenantId, domain: str, host: str, renew_at: datetime) -> None:
        """Want a certificate for a host of a tenant's domain unless it is wanted already."""
        new = {
            "names": [str(host)],
            "tenant": tenant_id,
            "domain": str(domain),
            "is_default": False,
            "failures": 0,
            "error": "",
            "renew_at": renew_at,
        }
        with deadline(), contextlib.suppress(DuplicateKeyError):
            self._orders.update_one({"_id": _host_order_id(tenant_id, host)}, {"$setOnInsert": new}, upsert=True)

    def list_of_domain(self, tenant_id: TenantId, domain: str) -> list[AcmeOrder]:
        """Return the orders for hosts of a tenant's domain."""
        with deadline():
            return [_order(one) for one in self._orders.find({"tenant": tenant_id, "domain": str(domain)})]

    def delete_host_order(self, tenant_id: TenantId, host: str) -> None:
        """Want no certificate for a host any more."""
        with deadline():
            self._orders.delete_one({"_id": _host_order_id(tenant_id, host), "tenant": tenant_id})

    # -- challenges -------------------------------------------------------------------------

    def put_challenge(self, token: str, answer: str, now: datetime) -> None:
        """Store what the authority will ask for over HTTP (RFC 8555 §8.3)."""
        document = {"_id": str(token), "answer": str(answer), "expires_at": now + CHALLENGE_KEPT}
        with deadline():
            self._challenges.replace_one({"_id": str(token)}, document, upsert=True)

    def find_challenge(self, token: str) -> str | None:
        """Return the answer to a token, or None."""
        with deadline():
            found = self._challenges.find_one({"_id": str(token)})
        return None if found is None else str(found["answer"])


def _host_order_id(tenant_id: TenantId, host: str) -> ObjectId:
    """Return the id that a host's order has, so that of two who want it at once one makes it."""
    return ObjectId(hashlib.sha256(tenant_id.binary + host.encode()).digest()[:12])


def _order(document: Document) -> AcmeOrder:
    return AcmeOrder(
        document["_id"],
        tuple(document["names"]),
        document["is_default"],
        document["renew_at"],
        document["failures"],
        document["error"],
        TenantId(document["tenant"]) if document.get("tenant") is not None else None,
    )
