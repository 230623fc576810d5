"""Lists of senders' domains, for users that carry a tag: a tenant's own, or the platform's for all tenants."""

from __future__ import annotations

from typing import Annotated, Any, Final

from bson import ObjectId
from pydantic import StringConstraints

from mailcore.api.call import Call
from mailcore.api.fields import Fields, Input, Nothing, Output
from mailcore.api.operation import Operation, Permission
from mailcore.errors import DomainNotFound
from mailcore.model.event import PLATFORM
from mailcore.model.filter import Verdict
from mailcore.model.ids import TenantId
from mailcore.model.roles import Action, Resource


class ListDomain(Input):
    """A sender's domain."""

    domain: Annotated[str, StringConstraints(min_length=1, max_length=255)]


class NewEntry(Output):
    """The id of an entry."""

    id: str


class Entry(Fields):
    """A listed domain."""

    id: str
    domain: str
    action: str


class EntryList(Output):
    """One list, by domain."""

    results: list[Entry]


class Unlisted(Output):
    """What was taken from its list."""

    deleted: str


def allow(call: Call, given: ListDomain) -> dict[str, Any]:
    """Say that mail from a domain is never spam."""
    return _put(call, Verdict.ALLOW, given.domain)


def block(call: Call, given: ListDomain) -> dict[str, Any]:
    """Say that mail from a domain is always spam."""
    return _put(call, Verdict.BLOCK, given.domain)


def list_allowed(call: Call, _: Nothing) -> dict[str, Any]:
    """Return the domains that are never spam; one round trip."""
    return _list(call, Verdict.ALLOW)


def list_blocked(call: Call, _: Nothing) -> dict[str, Any]:
    """Return the domains that always are; one round trip."""
    return _list(call, Verdict.BLOCK)


def unlist(call: Call, _: Nothing) -> dict[str, Any]:
    """Take an entry from its list."""
    text = call.path["domain"]
    if not ObjectId.is_valid(text):
        raise DomainNotFound("there is no such entry")
    call.services.domain_access.delete(call.actor, _tenant(call), ObjectId(text))
    return {"deleted": text}


def _put(call: Call, verdict: Verdict, domain: str) -> dict[str, Any]:
    return {"id": str(call.services.domain_access.put(call.actor, _tenant(call), call.path["tag"], verdict, domain).id)}


def _list(call: Call, verdict: Verdict) -> dict[str, Any]:
    found = call.services.domain_access.list_of(_tenant(call), call.path["tag"], verdict)
    return {"results": [{"id": str(one.id), "domain": one.domain, "action": verdict.value} for one in found]}


def _tenant(call: Call) -> TenantId:
    return call.tenant_id if call.tenant_id is not None else PLATFORM


def _may(action: Action) -> Permission:
    return Permission(Resource.DOMAIN_ACCESS, action)


OPERATIONS: Final = (
    Operation(
        "POST", "/domainaccess/{tag}/allow", "allowDomain", "Never spam from a domain", _may(Action.CREATE),
        ListDomain, NewEntry, allow,
    ),
    Operation(
        "GET", "/domainaccess/{tag}/allow", "listAllowedDomains", "List domains that are never spam",
        _may(Action.READ), Nothing, EntryList, list_allowed, is_list=True,
    ),
    Operation(
        "POST", "/domainaccess/{tag}/block", "blockDomain", "Always spam from a domain", _may(Action.CREATE),
        ListDomain, NewEntry, block,
    ),
    Operation(
        "GET", "/domainaccess/{tag}/block", "listBlockedDomains", "List domains that always are spam",
        _may(Action.READ), Nothing, EntryList, list_blocked, is_list=True,
    ),
    Operation(
        "DELETE", "/domainaccess/{domain}", "unlistDomain", "Take a domain from its list", _may(Action.DELETE),
        Nothing, Unlisted, unlist,
    ),
)  # fmt: skip
