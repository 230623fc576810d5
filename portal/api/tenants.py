"""Organisations, as programs see them."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import Field, StringConstraints
from sqlalchemy import func, select

from mailcore.api.call import Call
from mailcore.api.errors import invalid
from mailcore.api.fields import Fields, Input, Listing, Nothing, Output, Page, instant
from mailcore.api.operation import Operation, Permission
from mailcore.api.paging import cut, position
from mailcore.model.roles import Action, Resource
from portal.accounts import services
from portal.accounts.models import Organisation
from portal.api.calls import operation, organisation_of
from portal.database import session, unit_of_work
from portal.members import services as members
from portal.permissions import MEMBER_ROLES, Role

RoleName = Literal["owner", "admin", "billing", "helpdesk", "auditor"]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class TenantFields(Fields):
    """One tenant."""

    id: str
    name: str
    slug: str
    region: str
    state: str
    plan: str
    second_factor_roles: list[str]
    mail_tenant: str
    """Its id where mail is concerned."""
    is_ready: bool
    """Its mail service is made."""
    created: str | None


class TenantAnswer(TenantFields, Output):
    """One tenant, answered."""


class TenantList(Listing):
    """A page of tenants."""

    results: list[TenantFields]


class ListTenants(Page, Input):
    """Which page."""

    limit: int = Field(20, ge=1, le=250)


class UpdateTenant(Input):
    """What changes."""

    name: Name | None = None
    second_factor_roles: list[RoleName] | None = None


@operation
def list_tenants(call: Call, given: ListTenants) -> dict[str, Any]:
    """Return the tenants that the token sees, by id; a tenant's token sees its own. Two round trips."""
    at = position(given)
    wanted = select(Organisation)
    if call.tenant_id is not None:
        wanted = wanted.where(Organisation.tenant == str(call.tenant_id))
    total = session().scalar(select(func.count()).select_from(wanted.subquery())) or 0
    if at.key is not None:
        key = _key(str(at.key))
        wanted = wanted.where(Organisation.id < key if at.is_backwards else Organisation.id > key)
    order = Organisation.id.desc() if at.is_backwards else Organisation.id
    found = session().scalars(wanted.order_by(order).limit(given.limit + 1)).all()
    items, cursors = cut(found, at, given.limit, lambda one: str(one.id))
    return {"total": total, **cursors, "results": [shown(one) for one in items]}


@operation
def get_tenant(call: Call, _given: Nothing) -> dict[str, Any]:
    """Return one tenant."""
    return shown(organisation_of(call, call.path["tenant"]))


@operation
def update_tenant(call: Call, given: UpdateTenant) -> dict[str, Any]:
    """Change a tenant's name, or which of its members must have a second factor."""
    organisation = organisation_of(call, call.path["tenant"])
    with unit_of_work():
        if given.name is not None:
            services.rename_organisation(call.actor, organisation, given.name)
        if given.second_factor_roles is not None:
            roles = frozenset(map(Role, given.second_factor_roles))
            members.set_second_factor_roles(call.actor, organisation, roles)
    return shown(organisation)


def shown(one: Organisation) -> dict[str, Any]:
    """Return a tenant as it is answered."""
    return {
        "id": str(one.id),
        "name": one.name,
        "slug": one.slug,
        "region": one.region,
        "state": str(one.state),
        "plan": one.plan,
        "secondFactorRoles": [role.value for role in MEMBER_ROLES if role.value in one.second_factor_roles],
        "mailTenant": one.tenant,
        "isReady": one.provisioned_at is not None,
        "created": instant(one.created_at),
    }


def _key(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise invalid({"next": "a cursor that was answered before"}) from None


_READ: Final = Permission(Resource.TENANTS, Action.READ, of_tenant=True)
_UPDATE: Final = Permission(Resource.TENANTS, Action.UPDATE, of_tenant=True)

OPERATIONS: Final = (
    Operation(
        "GET",
        "/tenants",
        "listTenants",
        "List tenants",
        _READ,
        ListTenants,
        TenantList,
        list_tenants,
        is_list=True,
    ),
    Operation(
        "GET",
        "/tenants/{tenant}",
        "getTenant",
        "Get a tenant",
        _READ,
        Nothing,
        TenantAnswer,
        get_tenant,
    ),
    Operation(
        "PUT",
        "/tenants/{tenant}",
        "updateTenant",
        "Change a tenant",
        _UPDATE,
        UpdateTenant,
        TenantAnswer,
        update_tenant,
    ),
)
