"""How a smarthost lies in the document of the tenant or user that sends through it."""

from __future__ import annotations

from typing import Any

from mailcore.model.tenant import StoredSmarthost
from mailcore.store.client import Document


def smarthost_update(smarthost: StoredSmarthost | None) -> dict[str, Any]:
    """Return the update that sets it, or takes it away."""
    if smarthost is None:
        return {"$unset": {"smarthost": ""}}
    fields: dict[str, Any] = {
        "host": smarthost.host,
        "port": smarthost.port,
        "is_tls": smarthost.is_tls,
        "username": smarthost.username,
    }
    if smarthost.sealed_password is not None:
        fields["password"] = smarthost.sealed_password
    return {"$set": {"smarthost": fields}}


def read_smarthost(document: Document) -> StoredSmarthost | None:
    """Return the smarthost of a document of `tenants` or `users`."""
    fields = document.get("smarthost")
    if fields is None:
        return None
    sealed = fields.get("password")
    return StoredSmarthost(
        fields["host"], fields["port"], fields["is_tls"], fields["username"], None if sealed is None else bytes(sealed)
    )
