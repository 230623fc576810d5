"""Addresses without a user: their mail goes on to others."""

from __future__ import annotations

from typing import Annotated, Any, Final

from bson import ObjectId
from pydantic import StringConstraints

from mailcore.api.addresses import NewAddress, address_data, address_id, shown_data
from mailcore.api.call import Call
from mailcore.api.errors import ApiError, invalid
from mailcore.api.fields import (
    AddressText,
    Fields,
    Flag,
    Input,
    InputPart,
    Instant,
    Meta,
    Nothing,
    Number,
    Oid,
    Output,
    Tags,
    instant,
)
from mailcore.api.operation import Operation, Permission
from mailcore.errors import AddressInvalid, AddressNotFound, UserNotFound
from mailcore.model.address import Address
from mailcore.model.address_data import NO_DATA
from mailcore.model.ids import TenantId
from mailcore.model.limits import Spending
from mailcore.model.roles import Action, Resource
from mailcore.model.routing import ForwardedAddress, ForwardedAutoreply

DAY_S: Final = 24 * 3600
Text = Annotated[str, StringConstraints(max_length=128 * 1024)]


class AutoreplyFields(InputPart):
    """What is answered; `start` and `end` are false where there is none."""

    keeps_empty = frozenset({"name", "subject", "text", "html"})

    status: Flag = True
    start: Instant | None = None
    end: Instant | None = None
    name: Annotated[str, StringConstraints(max_length=128)] | None = None
    subject: Annotated[str, StringConstraints(max_length=2048)] | None = None
    text: Text | None = None
    html: Text | None = None


class CreateForwarded(Input):
    """A new one; `forwards` is how many messages a day, 0 as many as the platform allows."""

    address: AddressText
    name: Annotated[str, StringConstraints(max_length=128)] | None = None
    targets: list[AddressText] | None = None
    forwards: Number = 0
    allow_wildcard: Flag = False
    autoreply: AutoreplyFields | None = None
    tags: Tags | None = None
    meta_data: Meta | None = None
    internal_data: Meta | None = None
    tenant: Oid | None = None
    """Whose it is; a tenant's token knows, and so does the domain."""


class UpdateForwarded(Input):
    """What is to change; what is left out stays."""

    keeps_empty = frozenset({"name"})

    address: AddressText | None = None
    name: Annotated[str, StringConstraints(max_length=128)] | None = None
    targets: list[AddressText] | None = None
    forwards: Number | None = None
    autoreply: AutoreplyFields | None = None
    tags: Tags | None = None
    meta_data: Meta | None = None
    internal_data: Meta | None = None
    forwarded_disabled: Flag | None = None


class ForwardsUsed(Fields):
    """Messages a day."""

    allowed: int
    used: int
    ttl: int | bool


class ForwardedLimits(Fields):
    """What it may, and does."""

    forwards: ForwardsUsed


class AutoreplyShown(Fields):
    """What is answered, and when."""

    status: bool
    start: str | bool
    end: str | bool
    name: str
    subject: str
    text: str
    html: str


class ForwardedAnswer(Output):
    """One of them."""

    id: str
    address: str
    name: str
    targets: list[str]
    limits: ForwardedLimits
    autoreply: AutoreplyShown
    created: str
    tags: list[str]
    meta_data: dict[str, Any]
    internal_data: dict[str, Any]
    forwarded_disabled: bool


class ResolveAddress(Input):
    """Whether what a pattern covers is found as well."""

    allow_wildcard: Flag = False


class ResolvedAddress(Output):
    """A user's address, or one whose mail goes on."""

    id: str
    address: str
    user: str | None = None
    name: str
    targets: list[str] | None = None
    limits: ForwardedLimits | None = None
    autoreply: AutoreplyShown | None = None
    created: str
    tags: tuple[str, ...] = ()
    meta_data: dict[str, Any]
    internal_data: dict[str, Any] | None = None
    forwarded_disabled: bool | None = None


def create_forwarded(call: Call, given: CreateForwarded) -> dict[str, Any]:
    """Make one."""
    tenant_id = tenant_of(call, given.address, given.tenant)
    made = call.services.forwarded_addresses.create(
        call.actor,
        tenant_id,
        given.address,
        given.targets or (),
        name=given.name or "",
        forwards_per_day=given.forwards,
        autoreply=_autoreply(given.autoreply, ForwardedAutoreply()) if given.autoreply is not None else None,
        allow_wildcard=given.allow_wildcard,
        data=NO_DATA.changed(address_data(call, given)),
    )
    return {"id": str(made.id)}


def get_forwarded(call: Call, _: Nothing) -> dict[str, Any]:
    """Return one; two round trips, one of them to Redis."""
    return _fields(call, _find(call, "address"))


def update_forwarded(call: Call, given: UpdateForwarded) -> dict[str, Any]:
    """Change one."""
    before = _find(call, "id")
    reply = given.autoreply
    call.services.forwarded_addresses.update(
        call.actor,
        before.tenant_id,
        before.display,
        new_address=given.address,
        targets=given.targets,
        name=given.name,
        forwards_per_day=given.forwards,
        autoreply=_autoreply(reply, before.autoreply or ForwardedAutoreply()) if reply is not None else None,
        is_disabled=given.forwarded_disabled,
        data=address_data(call, given),
    )
    return {}


def delete_forwarded(call: Call, _: Nothing) -> dict[str, Any]:
    """Give one up."""
    found = _find(call, "address")
    call.services.forwarded_addresses.delete(call.actor, found.tenant_id, found.display)
    return {}


def resolve_address(call: Call, given: ResolveAddress) -> dict[str, Any]:
    """Return what an address, or the id of one, is."""
    text = call.path["address"]
    found = call.services.address_listing.get(text, by_wildcard=given.allow_wildcard)
    if not call.sees(found.tenant_id):
        raise AddressNotFound(text)
    if isinstance(found, ForwardedAddress):
        if call.token_user is not None:
            raise AddressNotFound(text)
        return _fields(call, found)
    if call.token_user not in {None, found.user_id}:
        raise AddressNotFound(text)
    try:
        call.services.placement.home(found.user_id)
    except UserNotFound:  # it was deleted, and its addresses are kept for it
        raise AddressNotFound(text) from None
    shown = {
        "id": str(found.id),
        "address": found.display,
        "user": str(found.user_id),
        "name": found.name,
        "created": instant(found.created_at),
        "tags": list(found.data.tags),
        **shown_data(found.data, meta=True, internal=True),
    }
    return {name: value for name, value in shown.items() if name not in call.grants.hidden_fields}


def tenant_of(call: Call, address: str, named: str | None) -> TenantId:
    """Return for whom an address is made: the token's tenant, the one named, or whose its domain is.

    Raises:
        ApiError: nobody has the domain, or the token does not see the tenant.
    """
    if call.tenant_id is not None:
        if named not in {None, str(call.tenant_id)}:
            raise ApiError(404, "TenantNotFound", "This tenant does not exist")
        return call.tenant_id
    if named is not None:
        return TenantId(ObjectId(named))
    local, _, domain = address.rpartition("@")
    try:
        name = Address.parse(f"{local.strip('*') or 'x'}@{domain}").domain
    except AddressInvalid as error:
        raise invalid({"address": str(error.details[0]) if error.details else "is no address"}) from None
    owner = call.services.domains.owner_of(name)
    if owner is None:
        raise ApiError(404, "DomainNotFound", f"No tenant has the domain {name}: name the tenant")
    return owner


def _find(call: Call, name: str) -> ForwardedAddress:
    found = call.services.address_listing.get(str(address_id(call.path[name])))
    if not isinstance(found, ForwardedAddress) or not call.sees(found.tenant_id):
        raise AddressNotFound(call.path[name])
    return found


def _autoreply(given: AutoreplyFields, before: ForwardedAutoreply) -> ForwardedAutoreply:
    """Return the autoreply with what is given in place of what it was."""

    def kept(value: str | None, known: str) -> str:
        return known if value is None else value

    return ForwardedAutoreply(
        is_on=given.status,
        start=before.start if given.start is None else given.start or None,
        end=before.end if given.end is None else given.end or None,
        name=kept(given.name, before.name),
        subject=kept(given.subject, before.subject),
        text=kept(given.text, before.text),
        html=kept(given.html, before.html),
    )


def _fields(call: Call, found: ForwardedAddress) -> dict[str, Any]:
    reply = found.autoreply or ForwardedAutoreply(is_on=False)
    used = call.services.usage.counted(found.id, Spending.FORWARDS)
    allowed = found.forwards_per_day or call.services.settings.limits.user.forwards_per_day
    return {
        "id": str(found.id),
        "address": found.display,
        "name": found.name,
        "targets": list(found.targets),
        "limits": {"forwards": {"allowed": allowed, "used": used, "ttl": DAY_S if used else False}},
        "autoreply": {
            "status": reply.is_on,
            "start": instant(reply.start) or False,
            "end": instant(reply.end) or False,
            "name": reply.name,
            "subject": reply.subject,
            "text": reply.text,
            "html": reply.html,
        },
        "created": instant(found.created_at),
        "tags": list(found.data.tags),
        **shown_data(found.data, meta=True, internal=True),
        "forwardedDisabled": found.is_disabled,
    }


def _may(action: Action) -> Permission:
    return Permission(Resource.ADDRESSES, action, of_tenant=True)


_PATH: Final = "/addresses/forwarded"
OPERATIONS: Final = (
    Operation(
        "POST", _PATH, "createForwarded", "Make an address whose mail goes on", _may(Action.CREATE),
        CreateForwarded, NewAddress, create_forwarded,
    ),
    Operation(
        "GET", f"{_PATH}/{{address}}", "getForwarded", "Get a forwarded address", _may(Action.READ),
        Nothing, ForwardedAnswer, get_forwarded,
    ),
    Operation(
        "PUT", f"{_PATH}/{{id}}", "updateForwarded", "Change a forwarded address", _may(Action.UPDATE),
        UpdateForwarded, Output, update_forwarded,
    ),
    Operation(
        "DELETE", f"{_PATH}/{{address}}", "deleteForwarded", "Give a forwarded address up", _may(Action.DELETE),
        Nothing, Output, delete_forwarded,
    ),
    Operation(
        "GET", "/addresses/resolve/{address}", "resolveAddress", "Find what an address is",
        Permission(Resource.ADDRESSES, Action.READ, own_without_user=True), ResolveAddress, ResolvedAddress,
        resolve_address,
    ),
)  # fmt: skip
