"""Members of an organisation, as programs see them."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import StringConstraints

from mailcore.api.call import Call
from mailcore.api.errors import ApiError
from mailcore.api.fields import Fields, Input, Output, instant
from mailcore.api.operation import Operation, Permission
from mailcore.model.roles import Action, Resource
from portal.accounts.models import Membership
from portal.api.calls import identity, operation, organisation_of
from portal.api.tenants import RoleName
from portal.languages import LANGUAGES
from portal.members import queries, services
from portal.permissions import Role


def acting_as(call: Call) -> Role:
    """Return as what a token changes members; admins make those of an organisation, which make no owners therefore."""
    return Role.OWNER if call.tenant_id is None else Role.ADMIN


class MemberFields(Fields):
    """One member."""

    id: str
    name: str
    address: str
    role: str
    has_second_factor: bool
    created: str | None


class MemberAnswer(MemberFields, Output):
    """One member, answered."""


class MemberList(Output):
    """Every member, and who is invited."""

    results: list[MemberFields]
    invited: list[dict[str, Any]]


class ListMembers(Input):
    """Of which tenant; a tenant's token need not say."""

    tenant: str | None = None


class InviteMember(ListMembers):
    """Whom to invite, to be what."""

    address: Annotated[str, StringConstraints(min_length=3, max_length=320)]
    role: RoleName
    language: Literal["en", "de"] = "en"


class UpdateMember(ListMembers):
    """Another role."""

    role: RoleName


@operation
def list_members(call: Call, given: ListMembers) -> dict[str, Any]:
    """Return a tenant's members by name, and who is invited; four round trips."""
    organisation = organisation_of(call, given.tenant)
    return {
        "results": [shown(one) for one in queries.list_members(organisation)],
        "invited": [
            {"id": str(one.id), "address": one.email, "role": str(one.role), "until": instant(one.expires_at)}
            for one in queries.list_invitations(organisation)
        ],
    }


@operation
def get_member(call: Call, given: ListMembers) -> dict[str, Any]:
    """Return one member."""
    return shown(_membership(call, given))


@operation
def invite_member(call: Call, given: InviteMember) -> dict[str, Any]:
    """Invite somebody: they get a mail with a link, and are a member once they accept."""
    assert given.language in LANGUAGES
    organisation = organisation_of(call, given.tenant)
    services.invite(
        call.services, call.actor, organisation, acting_as(call), given.address, Role(given.role), given.language
    )
    return {}


@operation
def update_member(call: Call, given: UpdateMember) -> dict[str, Any]:
    """Give a member another role; their sessions end."""
    membership = _membership(call, given)
    organisation = organisation_of(call, given.tenant)
    services.change_role(call.actor, organisation, acting_as(call), membership.member_id, Role(given.role))
    return {}


@operation
def remove_member(call: Call, given: ListMembers) -> dict[str, Any]:
    """Remove a member from the tenant, and sign them out."""
    membership = _membership(call, given)
    services.remove(call.actor, organisation_of(call, given.tenant), acting_as(call), membership.member_id)
    return {}


def shown(one: Membership) -> dict[str, Any]:
    """Return a member as it is answered."""
    return {
        "id": str(one.member_id),
        "name": one.member.name,
        "address": one.member.email,
        "role": str(one.role),
        "hasSecondFactor": one.member.has_second_factor,
        "created": instant(one.created_at),
    }


def _membership(call: Call, given: ListMembers) -> Membership:
    member_id: UUID = identity(call.path["member"], "MemberNotFound", "member")
    found = queries.find_membership(organisation_of(call, given.tenant), member_id)
    if found is None:
        raise ApiError(404, "MemberNotFound", "There is no such member for this token")
    return found


def _needs(action: Action) -> Permission:
    return Permission(Resource.MEMBERS, action, of_tenant=True)


OPERATIONS: Final = (
    Operation(
        "GET",
        "/members",
        "listMembers",
        "List members",
        _needs(Action.READ),
        ListMembers,
        MemberList,
        list_members,
        is_list=True,
    ),
    Operation(
        "POST",
        "/members",
        "inviteMember",
        "Invite a member",
        _needs(Action.CREATE),
        InviteMember,
        Output,
        invite_member,
    ),
    Operation(
        "GET",
        "/members/{member}",
        "getMember",
        "Get a member",
        _needs(Action.READ),
        ListMembers,
        MemberAnswer,
        get_member,
    ),
    Operation(
        "PUT",
        "/members/{member}",
        "updateMember",
        "Change a role",
        _needs(Action.UPDATE),
        UpdateMember,
        Output,
        update_member,
    ),
    Operation(
        "DELETE",
        "/members/{member}",
        "removeMember",
        "Remove a member",
        _needs(Action.DELETE),
        ListMembers,
        Output,
        remove_member,
    ),
)
