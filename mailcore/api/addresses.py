"""Addresses of a user, and lists of all addresses that a token sees."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from bson import ObjectId
from pydantic import StringConstraints

from mailcore.api.call import Call
from mailcore.api.errors import ApiError, invalid
from mailcore.api.fields import (
    AddressText,
    Fields,
    Flag,
    Input,
    Listing,
    LooseInput,
    Meta,
    Nothing,
    Output,
    Page,
    Tags,
    Text255,
    instant,
    meta_value,
)
from mailcore.api.operation import Operation, Permission
from mailcore.api.paging import cursor_id, cut, position
from mailcore.errors import AddressInvalid, AddressNotFound, DomainInvalid, NotPermitted
from mailcore.model.address import Address, domain_name
from mailcore.model.address_data import NO_DATA, AddressData, AddressFilter
from mailcore.model.roles import Action, Resource
from mailcore.model.tenant import AddressRoute
from mailcore.model.wildcard import is_wildcard

Words = Annotated[str, StringConstraints(max_length=1024)]


class ShownData(Input):
    """Which of the applications' own data are shown."""

    meta_data: Flag = False
    internal_data: Flag = False


class CreateAddress(Input):
    """One more address of a user; a pattern only where `allowWildcard` says that it is meant."""

    address: AddressText
    name: Annotated[str, StringConstraints(max_length=128)] | None = None
    main: Flag = False
    allow_wildcard: Flag = False
    tags: Tags | None = None
    meta_data: Meta | None = None
    internal_data: Meta | None = None


class UpdateAddress(Input):
    """What is to change; what is left out stays. An address is the main one until another is."""

    keeps_empty = frozenset({"name"})

    name: Annotated[str, StringConstraints(max_length=128)] | None = None
    address: AddressText | None = None
    main: Flag | None = None
    tags: Tags | None = None
    meta_data: Meta | None = None
    internal_data: Meta | None = None


class AddressItem(Fields):
    """One address of a user."""

    id: str
    name: str
    address: str
    main: bool
    created: str
    tags: tuple[str, ...] = ()
    meta_data: dict[str, Any] | None = None
    internal_data: dict[str, Any] | None = None


class AddressAnswer(AddressItem, Output):
    """One address of a user."""


class AddressesOfUser(Output):
    """All addresses of a user in the order of creation."""

    results: list[AddressItem]


class NewAddress(Output):
    """The id of an address."""

    id: str


class ListAddresses(Page, LooseInput):
    """Which addresses, and what of them."""

    query: Text255 | None = None
    forward: Text255 | None = None
    tags: Words | None = None
    required_tags: Words | None = None
    meta_data: Flag = False
    internal_data: Flag = False


class ListedAddress(Fields):
    """One address of a list: a user's, or one whose mail goes on."""

    id: str
    name: str
    address: str
    user: str | Literal[False]
    forwarded: bool
    forwarded_disabled: bool
    targets: list[str] | None = None
    tags: list[str]
    meta_data: dict[str, Any] | None = None
    internal_data: dict[str, Any] | None = None


class AddressList(Listing):
    """A page of addresses."""

    query: str
    results: list[ListedAddress]


class RenameDomain(Input):
    """Both domains belong to one tenant."""

    old_domain: Text255
    new_domain: Text255


class DomainRenamed(Output):
    """How much was changed."""

    modified_addresses: int
    modified_users: int
    modified_dkim: int
    modified_aliases: int


def list_of_user(call: Call, given: ShownData) -> dict[str, Any]:
    """Return a user's addresses and wildcards; two round trips."""
    main = _main(call)
    routes = call.services.addresses.list_of_user(call.owner)
    return {
        "results": [_item(call, route, main, meta=given.meta_data, internal=given.internal_data) for route in routes]
    }


def get_address(call: Call, _: Nothing) -> dict[str, Any]:
    """Return one; two round trips."""
    route = call.services.address_changes.get(call.owner, address_id(call.path["address"]))
    return _item(call, route, _main(call), meta=True, internal=True)


def create_address(call: Call, given: CreateAddress) -> dict[str, Any]:
    """Give a user one more address; nobody does so for itself."""
    data = NO_DATA.changed(address_data(call, given))
    if given.main and is_wildcard(given.address):
        raise NotPermitted("a wildcard cannot be the main address")
    route = _half_made(call, given) or call.services.addresses.create(
        call.actor, call.owner, given.address, allow_wildcard=given.allow_wildcard, name=given.name or "", data=data
    )
    if given.main:
        call.services.address_changes.update(call.actor, call.owner, route.id, makes_main=True)
    return {"id": str(route.id)}


def _half_made(call: Call, given: CreateAddress) -> AddressRoute | None:
    """Return the address if it is the user's and to be the main one: a try before this may have ended in between."""
    if not given.main:
        return None
    try:
        route = call.services.addresses.find(given.address)
    except AddressInvalid:
        return None  # told by who creates it
    return route if route is not None and route.user_id == call.owner else None


def update_address(call: Call, given: UpdateAddress) -> dict[str, Any]:
    """Change an address; a user's own token writes it otherwise, and makes no other of it."""
    if given.main is False:
        raise invalid({"main": "make another address the main one instead"})
    if given.address is not None and call.token_user is not None:
        _check_same(call, given.address)
    data = address_data(call, given)
    try:
        call.services.address_changes.update(
            call.actor,
            call.owner,
            address_id(call.path["id"]),
            address=given.address,
            name=given.name,
            data=data,
            makes_main=bool(given.main),
        )
    except NotPermitted as error:
        raise ApiError(400, "ChangeNotAllowed", str(error)) from None
    return {}


def delete_address(call: Call, _: Nothing) -> dict[str, Any]:
    """Take an address from a user."""
    route = call.services.address_changes.get(call.owner, address_id(call.path["address"]))
    try:
        call.services.addresses.delete(call.actor, call.owner, route.display)
    except NotPermitted as error:
        raise ApiError(400, "NotPermitted", str(error)) from None
    return {}


def list_addresses(call: Call, given: ListAddresses) -> dict[str, Any]:
    """Return a page of the addresses that the token sees; two round trips."""
    wanted = AddressFilter(
        call.tenant_id, given.query or "", given.forward or "", words(given.tags), words(given.required_tags)
    )
    at = position(given)
    edge = cursor_id(at.key) if at.key is not None else None
    found, total = call.services.address_listing.find(
        wanted, after=None if at.is_backwards else edge, before=edge if at.is_backwards else None, limit=given.limit + 1
    )
    page, cursors = cut(found, at, given.limit, lambda one: str(one.id))
    results = []
    for one in page:
        is_user = isinstance(one, AddressRoute)
        item: dict[str, Any] = {
            "id": str(one.id),
            "name": one.name,
            "address": one.display,
            "user": str(one.user_id) if isinstance(one, AddressRoute) else False,
            "forwarded": not is_user,
            "forwardedDisabled": not isinstance(one, AddressRoute) and one.is_disabled,
            "tags": list(one.data.tags),
        }
        if not isinstance(one, AddressRoute):
            item["targets"] = list(one.targets)
        results.append(item | shown_data(one.data, given.meta_data, given.internal_data))
    return {"total": total, **cursors, "query": given.query or "", "results": results}


def rename_domain(call: Call, given: RenameDomain) -> dict[str, Any]:
    """Move all addresses of a domain to another; DKIM keys stay, for their records name the domain."""
    try:
        old, new = domain_name(given.old_domain), domain_name(given.new_domain)
    except DomainInvalid as error:
        raise invalid({"oldDomain": str(error.details[0]) if error.details else "is no domain"}) from None
    tenant_id = call.services.domains.owner_of(old)
    if tenant_id is None or not call.sees(tenant_id):
        raise ApiError(404, "DomainNotFound", f"{given.old_domain} is not one of your domains")
    done = call.services.address_changes.rename_domain(call.actor, tenant_id, old, new)
    return {
        "modifiedAddresses": done.addresses,
        "modifiedUsers": done.users,
        "modifiedDkim": 0,
        "modifiedAliases": done.aliases,
    }


# -- for other resources ------------------------------------------------------------------------


def address_id(text: str) -> ObjectId:
    """Return the id of an address in a path.

    Raises:
        AddressNotFound: it is none.
    """
    if not ObjectId.is_valid(text):
        raise AddressNotFound(text)
    return ObjectId(text)


def address_data(call: Call, given: Any) -> dict[str, Any]:
    """Return what is to be kept with an address, of a request that has `tags`, `meta_data` and `internal_data`.

    Raises:
        ApiError: the token's role does not see some of it.
    """
    found = {"tags": given.tags, "meta_data": given.meta_data, "internal_data": given.internal_data}
    changes = {name: value for name, value in found.items() if value is not None}
    call.check_hidden(_NAMES[name] for name in changes)
    return {name: tuple(value) if name == "tags" else value for name, value in changes.items()}


_NAMES: Final = {"tags": "tags", "meta_data": "metaData", "internal_data": "internalData"}


def shown_data(data: AddressData, meta: bool, internal: bool) -> dict[str, Any]:
    """Return the applications' data that are asked for."""
    found: dict[str, Any] = {"metaData": meta_value(data.meta_data)} if meta else {}
    return found | ({"internalData": meta_value(data.internal_data)} if internal else {})


def words(text: str | None) -> tuple[str, ...]:
    """Return what stands between commas."""
    return tuple(word for word in re.split(r"\s*,\s*", text or "") if word)


def _main(call: Call) -> str:
    return Address.parse(call.services.users.get(call.owner).address).canonical


def _item(call: Call, route: AddressRoute, main: str, *, meta: bool, internal: bool) -> dict[str, Any]:
    found = {
        "id": str(route.id),
        "name": route.name,
        "address": route.display,
        "main": route.canonical == main,
        "created": instant(route.created_at),
        "tags": list(route.data.tags),
        **shown_data(route.data, meta, internal),
    }
    return {name: value for name, value in found.items() if name not in call.grants.hidden_fields}


def _check_same(call: Call, text: str) -> None:
    route = call.services.address_changes.get(call.owner, address_id(call.path["id"]))
    try:
        is_same = Address.parse(text).canonical == route.canonical
    except AddressInvalid:
        return  # told by who changes it
    if not is_same:
        raise ApiError(403, "MissingPrivileges", "This token may not take other addresses")


def _may(action: Action, *, of_tenant: bool = False) -> Permission:
    return Permission(Resource.ADDRESSES, action, of_tenant)


_PATH: Final = "/users/{user}/addresses"
OPERATIONS: Final = (
    Operation(
        "GET", "/addresses", "listAddresses", "List addresses", Permission(Resource.ADDRESS_LISTING, Action.READ),
        ListAddresses, AddressList, list_addresses, is_list=True,
    ),
    Operation(
        "PUT", "/addresses/renameDomain", "renameDomain", "Move addresses to another domain",
        _may(Action.UPDATE, of_tenant=True), RenameDomain, DomainRenamed, rename_domain,
    ),
    Operation(
        "GET", _PATH, "listAddressesOfUser", "List a user's addresses", _may(Action.READ),
        ShownData, AddressesOfUser, list_of_user, is_list=True,
    ),
    Operation(
        "POST", _PATH, "createAddress", "Give a user an address", _may(Action.CREATE, of_tenant=True),
        CreateAddress, NewAddress, create_address,
    ),
    Operation(
        "GET", f"{_PATH}/{{address}}", "getAddress", "Get an address", _may(Action.READ),
        Nothing, AddressAnswer, get_address,
    ),
    Operation(
        "PUT", f"{_PATH}/{{id}}", "updateAddress", "Change an address", _may(Action.UPDATE),
        UpdateAddress, Output, update_address,
    ),
    Operation(
        "DELETE", f"{_PATH}/{{address}}", "deleteAddress", "Take an address away", _may(Action.DELETE),
        Nothing, Output, delete_address,
    ),
)  # fmt: skip
