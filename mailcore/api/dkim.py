"""DKIM keys of domains; no answer shows a private half (RFC 6376)."""

from __future__ import annotations

import base64
import hashlib
from functools import partial
from typing import Annotated, Any, Final

from bson import ObjectId
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from pydantic import StringConstraints

from mailcore.api.call import Call
from mailcore.api.errors import ApiError, invalid
from mailcore.api.fields import Fields, Input, Listing, LooseInput, Nothing, Output, Page, Text255, instant
from mailcore.api.operation import Operation, Permission
from mailcore.api.paging import page_by_id
from mailcore.errors import DkimKeyNotFound, DomainInvalid
from mailcore.model.address import display_domain, domain_name
from mailcore.model.dkim import DkimAlgorithm, DkimKey, DkimKeyState
from mailcore.model.ids import TenantId
from mailcore.model.roles import Action, Resource
from mailcore.model.secret import Secret

KeyText = Annotated[str, StringConstraints(max_length=16 * 1024)]


class ListKeys(Page, LooseInput):
    """Those with `query` in their domain or description."""

    query: Text255 | None = None


class CreateKey(Input):
    """A key for a domain: one that is given signs at once, one that is made here as soon as DNS shows it."""

    domain: Text255
    selector: Text255
    private_key: KeyText | None = None
    description: Text255 | None = None


class KeyItem(Fields):
    """One key in a list."""

    id: str
    domain: str
    selector: str
    description: str
    fingerprint: str
    created: str


class KeyList(Listing):
    """A page of keys."""

    query: str
    results: list[KeyItem]


class DnsTxt(Fields):
    """The TXT record that publishes a key."""

    name: str
    value: str


class KeyAnswer(KeyItem, Output):
    """One key, and what is to be put into DNS."""

    public_key: str
    dns_txt: DnsTxt
    signs: bool
    """Whether it signs already."""


class KeyId(Output):
    """The id of a key."""

    id: str


def list_keys(call: Call, given: ListKeys) -> dict[str, Any]:
    """Return a page of the keys that the token sees; two round trips."""
    query = given.query or ""
    find = partial(call.services.dkim_keys.search, call.tenant_id, query)
    return {**page_by_id(given, find, _item), "query": query}


def create_key(call: Call, given: CreateKey) -> dict[str, Any]:
    """Make or take over a key of a proven domain; a given one takes the place of that which signs now."""
    tenant_id = _owner(call, given.domain)
    key = call.services.dkim_keys.create(
        call.actor,
        tenant_id,
        given.domain,
        selector=given.selector.lower(),
        private_key=Secret(given.private_key.encode()) if given.private_key is not None else None,
        description=given.description or "",
        is_active=given.private_key is not None,
    )
    return _answer(key)


def get_key(call: Call, _: Nothing) -> dict[str, Any]:
    """Return one; one round trip."""
    return _answer(_find(call))


def resolve_key(call: Call, _: Nothing) -> dict[str, Any]:
    """Return the id of the key that signs for a domain, else of the one that will.

    Raises:
        DkimKeyNotFound: no key, or no such domain.
    """
    try:
        name = domain_name(call.path["domain"])
    except DomainInvalid:
        raise DkimKeyNotFound(call.path["domain"]) from None
    tenant_id = call.services.domains.owner_of(name)
    if tenant_id is None or not call.sees(tenant_id):
        raise DkimKeyNotFound(name)
    keys = call.services.dkim_keys.list_of(tenant_id, name)
    for state in (DkimKeyState.ACTIVE, DkimKeyState.PENDING):
        for key in reversed(keys):
            if key.state is state:
                return {"id": str(key.id)}
    raise DkimKeyNotFound(name)


def delete_key(call: Call, _: Nothing) -> dict[str, Any]:
    """Remove a key: nothing is signed with it any more."""
    found = _find(call)
    call.services.dkim_keys.delete(call.actor, found.tenant_id, found.id)
    return {}


def _owner(call: Call, domain: str) -> TenantId:
    try:
        name = domain_name(domain)
    except DomainInvalid as error:
        raise invalid({"domain": str(error.details[0]) if error.details else "is no domain"}) from None
    tenant_id = call.services.domains.owner_of(name)
    if tenant_id is None or not call.sees(tenant_id):
        raise ApiError(404, "DomainNotFound", f"{domain} is not one of your domains")
    return tenant_id


def _find(call: Call) -> DkimKey:
    text = call.path["dkim"]
    found = call.services.dkim_keys.find_id(ObjectId(text)) if ObjectId.is_valid(text) else None
    if found is None or not call.sees(found.tenant_id):
        raise DkimKeyNotFound(text)
    return found


def _item(key: DkimKey) -> dict[str, Any]:
    return {
        "id": str(key.id),
        "domain": display_domain(key.domain),
        "selector": key.selector,
        "description": key.description,
        "fingerprint": hashlib.sha256(base64.b64decode(key.public_key)).hexdigest(),
        "created": instant(key.created_at),
    }


def _answer(key: DkimKey) -> dict[str, Any]:
    return {
        **_item(key),
        "publicKey": _pem(key),
        "dnsTxt": {"name": key.record_name, "value": key.record_value},
        "signs": key.state is DkimKeyState.ACTIVE,
    }


def _pem(key: DkimKey) -> str:
    raw = base64.b64decode(key.public_key)
    if key.algorithm is DkimAlgorithm.ED25519:  # published as its 32 bytes (RFC 8463 §4)
        public = Ed25519PublicKey.from_public_bytes(raw)
        return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return load_der_public_key(raw).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def _may(action: Action) -> Permission:
    return Permission(Resource.DKIM, action, of_tenant=True)


_PATH: Final = "/dkim"
OPERATIONS: Final = (
    Operation(
        "GET", _PATH, "listDkimKeys", "List DKIM keys", _may(Action.READ), ListKeys, KeyList, list_keys, is_list=True,
    ),
    Operation(
        "POST", _PATH, "createDkimKey", "Make or bring a DKIM key", _may(Action.CREATE),
        CreateKey, KeyAnswer, create_key,
    ),
    Operation(
        "GET", f"{_PATH}/resolve/{{domain}}", "resolveDkimKey", "Find the DKIM key of a domain", _may(Action.READ),
        Nothing, KeyId, resolve_key,
    ),
    Operation(
        "GET", f"{_PATH}/{{dkim}}", "getDkimKey", "Get a DKIM key", _may(Action.READ), Nothing, KeyAnswer, get_key,
    ),
    Operation(
        "DELETE", f"{_PATH}/{{dkim}}", "deleteDkimKey", "Delete a DKIM key", _may(Action.DELETE),
        Nothing, Output, delete_key,
    ),
)  # fmt: skip
