"""App passwords, "ASPs": made-up passwords for one program each."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Annotated, Any, Final, Literal

from bson import ObjectId
from pydantic import Field, StringConstraints

from mailcore.api.call import Call
from mailcore.api.errors import invalid
from mailcore.api.fields import Fields, Flag, Input, Nothing, Output, instant
from mailcore.api.operation import Operation, Permission
from mailcore.api.second_factors import MasterPassword, secret_of
from mailcore.errors import AddressInvalid, AddressNotFound, AppPasswordNotFound
from mailcore.model.access import Scope
from mailcore.model.app_password import AppPassword
from mailcore.model.roles import Action, Resource
from mailcore.model.secret import Secret
from mailcore.model.tenant import User
from mailcore.services.trust.mobileconfig import account_of

LONGEST_LIFE_S: Final = 100 * 366 * 24 * 3600
ScopeName = Literal["imap", "pop3", "smtp", "*"]


class ListAppPasswords(Input):
    """`showAll` also shows those that end some time after their last use."""

    show_all: Flag = False


class CreateAppPassword(Input):
    """A new one; `ttl` is in how many seconds without use it ends.

    It outlives the token that asks for it: a user's own token proves the master password once more.
    """

    description: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    scopes: Annotated[tuple[ScopeName, ...], Field(min_length=1, max_length=4)] = ("*",)
    address: Annotated[str, StringConstraints(max_length=1024)] | None = None
    password: Annotated[str, StringConstraints(pattern=r"^[a-z ]{16,19}$")] | None = None
    existing_password: MasterPassword | None = None
    generate_mobileconfig: Flag = False
    """Whether a profile for Apple's devices comes along, with the password in it."""
    ttl: Annotated[int, Field(ge=0, le=LONGEST_LIFE_S)] | None = None
    protocol: str = "API"


class LastUsed(Fields):
    """When and through which door; false where it never was."""

    time: str | Literal[False]
    event: str | Literal[False]


class AppPasswordItem(Fields):
    """What is known of one; never its letters."""

    id: str
    description: str
    scopes: list[str]
    last_use: LastUsed
    created: str
    expires: str | None = None


class AppPasswordAnswer(AppPasswordItem, Output):
    """One of them."""


class AppPasswordList(Output):
    """All of a user's."""

    results: list[AppPasswordItem]


class NewAppPassword(Output):
    """The letters, which nobody can read again."""

    id: str
    password: str
    name: str
    address: str
    mobileconfig: str | None = None
    """Base64."""


def list_app_passwords(call: Call, given: ListAppPasswords) -> dict[str, Any]:
    """Return the living ones in order of creation; one round trip."""
    found = call.services.app_passwords.list_of_user(call.owner)
    return {"results": [_item(one) for one in found if given.show_all or one.slides is None]}


def create_app_password(call: Call, given: CreateAppPassword) -> dict[str, Any]:
    """Make one.

    Raises:
        ApiError: a user's own token asks, and not with the master password.
        AuthenticationFailed: that is another.
    """
    if call.is_own and given.existing_password is None:
        raise invalid({"existingPassword": "is needed to make an app password for oneself"})
    call.services.reauthentication.confirm(call.actor, call.owner, secret_of(given.existing_password))
    user = call.services.users.get(call.owner)
    address = _own_address(call, user, given.address)
    made, letters = call.services.app_passwords.create(
        call.actor,
        call.owner,
        given.description,
        [Scope(name) for name in given.scopes],
        slides=timedelta(seconds=given.ttl) if given.ttl else None,
        password=Secret(given.password.encode()) if given.password else None,
    )
    found = {"id": str(made.id), "password": letters.reveal_text(), "name": user.name, "address": address}
    if given.generate_mobileconfig:
        account = account_of(user.name, address, user.address, letters, made.scopes)
        found["mobileconfig"] = base64.b64encode(call.services.mobile_configs.write(account)).decode()
    return found


def _own_address(call: Call, user: User, wanted: str | None) -> str:
    """Return the address that the password is shown with: one of the user's, the main one if none is asked for."""
    if not wanted:
        return user.address
    try:
        route = call.services.addresses.find(wanted)
    except AddressInvalid:
        route = None
    if route is None or route.user_id != user.id:
        raise AddressNotFound(wanted)
    return route.display


def get_app_password(call: Call, _: Nothing) -> dict[str, Any]:
    """Return one; one round trip."""
    for one in call.services.app_passwords.list_of_user(call.owner):
        if str(one.id) == call.path["asp"]:
            return _item(one)
    raise AppPasswordNotFound(call.path["asp"])


class DeleteAppPassword(Input):
    """Nothing that is looked at."""

    protocol: str = "API"


def delete_app_password(call: Call, _: DeleteAppPassword) -> dict[str, Any]:
    """Take it back; sessions that it opened end within seconds."""
    text = call.path["asp"]
    if not ObjectId.is_valid(text):
        raise AppPasswordNotFound(text)
    call.services.app_passwords.revoke(call.actor, call.owner, ObjectId(text))
    return {}


def _item(one: AppPassword) -> dict[str, Any]:
    last = one.last_use
    found: dict[str, Any] = {
        "id": str(one.id),
        "description": one.description,
        "scopes": sorted(scope.value for scope in one.scopes),
        "lastUse": {"time": instant(last.at) if last else False, "event": last.protocol if last else False},
        "created": instant(one.created_at),
    }
    if one.expires_at is not None:
        found["expires"] = instant(one.expires_at)
    return found


def _may(action: Action) -> Permission:
    return Permission(Resource.APP_PASSWORDS, action)


_PATH: Final = "/users/{user}/asps"
OPERATIONS: Final = (
    Operation(
        "GET", _PATH, "listAppPasswords", "List app passwords", _may(Action.READ),
        ListAppPasswords, AppPasswordList, list_app_passwords, is_list=True,
    ),
    Operation(
        "POST", _PATH, "createAppPassword", "Make an app password", _may(Action.CREATE),
        CreateAppPassword, NewAppPassword, create_app_password,
    ),
    Operation(
        "GET", f"{_PATH}/{{asp}}", "getAppPassword", "Get an app password", _may(Action.READ),
        Nothing, AppPasswordAnswer, get_app_password,
    ),
    Operation(
        "DELETE", f"{_PATH}/{{asp}}", "deleteAppPassword", "Take an app password back", _may(Action.DELETE),
        DeleteAppPassword, Output, delete_app_password,
    ),
)  # fmt: skip
