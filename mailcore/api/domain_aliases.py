"""Domain aliases: further names of a domain, under which every address of it is found."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from bson import ObjectId

from mailcore.api.call import Call
from mailcore.api.errors import ApiError, invalid
from mailcore.api.fields import Fields, Input, Listing, LooseInput, Nothing, Output, Page, Text255, instant
from mailcore.api.operation import Operation, Permission
from mailcore.api.paging import page_by_id
from mailcore.errors import DomainInvalid, DomainTaken
from mailcore.model.address import display_domain, domain_name
from mailcore.model.roles import Action, Resource
from mailcore.model.tenant import Domain


class ListAliases(Page, LooseInput):
    """Those with `query` in the alias or its domain."""

    query: Text255 | None = None


class CreateAlias(Input):
    """`alias` is a further name of `domain`."""

    alias: Text255
    domain: Text255


class AliasItem(Fields):
    """One alias."""

    id: str
    alias: str
    domain: str


class AliasList(Listing):
    """A page of aliases."""

    query: str
    results: list[AliasItem]


class AliasAnswer(AliasItem, Output):
    """One alias."""

    created: str


class AliasId(Output):
    """The id of an alias."""

    id: str


def list_aliases(call: Call, given: ListAliases) -> dict[str, Any]:
    """Return a page of the aliases that the token sees; two round trips."""
    query = given.query or ""
    find = partial(call.services.address_listing.find_aliases, call.tenant_id, query)
    return {**page_by_id(given, find, _item), "query": query}


def create_alias(call: Call, given: CreateAlias) -> dict[str, Any]:
    """Make a domain of the tenant, new or its own already, a further name of another."""
    alias, domain = _name("alias", given.alias), _name("domain", given.domain)
    tenant_id = call.services.domains.owner_of(domain)
    if tenant_id is None or not call.sees(tenant_id):
        raise ApiError(404, "DomainNotFound", f"{given.domain} is not one of your domains")
    try:
        made = call.services.domains.create_alias(call.actor, tenant_id, alias, domain)
    except DomainTaken:
        raise ApiError(400, "AliasExists", "This domain is an alias already, or another's") from None
    return {"id": str(made.id)}


def get_alias(call: Call, _: Nothing) -> dict[str, Any]:
    """Return one; one round trip."""
    found = _find(call)
    return {**_item(found), "created": instant(found.created_at)}


def resolve_alias(call: Call, _: Nothing) -> dict[str, Any]:
    """Return the id of an alias of a name."""
    try:
        name = domain_name(call.path["alias"])
    except DomainInvalid:
        raise _absent() from None
    found = call.services.address_listing.find_alias_named(name)
    if found is None or not call.sees(found.tenant_id):
        raise _absent()
    return {"id": str(found.id)}


def delete_alias(call: Call, _: Nothing) -> dict[str, Any]:
    """Let a domain stand for itself alone; it stays the tenant's."""
    found = _find(call)
    call.services.domains.delete_alias(call.actor, found.tenant_id, found.name)
    return {}


def _find(call: Call) -> Domain:
    text = call.path["alias"]
    found = call.services.address_listing.find_alias(ObjectId(text)) if ObjectId.is_valid(text) else None
    if found is None or not call.sees(found.tenant_id):
        raise _absent()
    return found


def _absent() -> ApiError:
    return ApiError(404, "AliasNotFound", "This alias does not exist")


def _name(field: str, text: str) -> str:
    try:
        return domain_name(text)
    except DomainInvalid as error:
        raise invalid({field: str(error.details[0]) if error.details else "is no domain"}) from None


def _item(found: Domain) -> dict[str, Any]:
    return {"id": str(found.id), "alias": display_domain(found.name), "domain": display_domain(found.alias_of or "")}


def _may(action: Action) -> Permission:
    return Permission(Resource.DOMAIN_ALIASES, action, of_tenant=True)


_PATH: Final = "/domainaliases"
OPERATIONS: Final = (
    Operation(
        "GET", _PATH, "listDomainAliases", "List domain aliases", _may(Action.READ),
        ListAliases, AliasList, list_aliases, is_list=True,
    ),
    Operation(
        "POST", _PATH, "createDomainAlias", "Make a domain alias", _may(Action.CREATE),
        CreateAlias, AliasId, create_alias,
    ),
    Operation(
        "GET", f"{_PATH}/resolve/{{alias}}", "resolveDomainAlias", "Find a domain alias", _may(Action.READ),
        Nothing, AliasId, resolve_alias,
    ),
    Operation(
        "GET", f"{_PATH}/{{alias}}", "getDomainAlias", "Get a domain alias", _may(Action.READ),
        Nothing, AliasAnswer, get_alias,
    ),
    Operation(
        "DELETE", f"{_PATH}/{{alias}}", "deleteDomainAlias", "Take a domain alias away", _may(Action.DELETE),
        Nothing, Output, delete_alias,
    ),
)  # fmt: skip
