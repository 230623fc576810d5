"""The address register: whom a user has written to, for completing addresses."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field, StringConstraints

from mailcore.api.addresses import address_id
from mailcore.api.call import Call
from mailcore.api.fields import Fields, Flag, Input, Output, Text255
from mailcore.api.operation import Operation, Permission
from mailcore.model.roles import Action, Resource


class SearchRegister(Input):
    """Those whose name or address has `query` in it."""

    keeps_empty = frozenset({"query"})

    query: Text255
    limit: Annotated[int, Field(ge=1, le=250)] = 20


class ChangeRegistered(Input):
    """`disabled` hides somebody; `name` takes the place of what messages say."""

    disabled: Flag
    name: Annotated[str, StringConstraints(max_length=255)] | None = None


class Registered(Fields):
    """Somebody the user has written to."""

    id: str
    name: str
    address: str


class Register(Output):
    """Those written to last first."""

    results: list[Registered]


def search_register(call: Call, given: SearchRegister) -> dict[str, Any]:
    """Return people whose names or addresses fit; one round trip."""
    found = call.services.correspondents.find(call.owner, given.query, given.limit)
    return {"results": [{"id": str(one.id), "name": one.name, "address": one.address} for one in found]}


def change_registered(call: Call, given: ChangeRegistered) -> dict[str, Any]:
    """Hide somebody, show again, or give another name."""
    person = address_id(call.path["id"])
    call.services.correspondents.change(call.actor, call.owner, person, hidden=given.disabled, name=given.name)
    return {}


_PATH: Final = "/users/{user}/addressregister"
OPERATIONS: Final = (
    Operation(
        "GET", _PATH, "searchRegister", "Find people written to", Permission(Resource.ADDRESSES, Action.READ),
        SearchRegister, Register, search_register, is_list=True,
    ),
    Operation(
        "PUT", f"{_PATH}/{{id}}", "changeRegistered", "Hide or rename somebody written to",
        Permission(Resource.ADDRESSES, Action.UPDATE), ChangeRegistered, Output, change_registered,
    ),
)  # fmt: skip
