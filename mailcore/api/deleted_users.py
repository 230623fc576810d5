"""Deleting users, and what can be done about it while it can be undone."""

from __future__ import annotations

from typing import Any, Final, Literal

from mailcore.api.call import Call
from mailcore.api.fields import Fields, Input, Instant, Nothing, Output, instant
from mailcore.api.operation import Operation, Permission
from mailcore.model.roles import Action, Resource


class DeleteUser(Input):
    """Until when the user can be restored; without it, for the platform's usual time."""

    delete_after: Instant | None = None


class Reserved(Fields):
    """How many addresses nobody else can have until then."""

    deleted: int


class UserDeleted(Output):
    """What is going to happen, and when."""

    code: Literal["TaskScheduled"]
    user: str
    addresses: Reserved
    delete_after: str
    task: str


class DeletedUserAnswer(Output):
    """A user that can be restored."""

    user: str
    username: str
    storage_used: int
    tags: list[str]
    deleted: str
    delete_after: str
    recoverable_addresses: list[str]


class Recovered(Fields):
    """Which addresses the user has again."""

    recovered: int
    main: str


class UserRestored(Output):
    """The user is as it was, but for addresses given to others; sign-ins and tokens begin anew."""

    code: Literal["TaskCancelled"]
    user: str
    task: str
    addresses: Recovered


def delete_user(call: Call, given: DeleteUser) -> dict[str, Any]:
    """Delete a user; its data stays until it is too late to restore it."""
    made = call.services.deleted_users.delete(call.actor, call.owner, given.delete_after or None)
    return {
        "code": "TaskScheduled",
        "user": str(made.user_id),
        "addresses": {"deleted": made.addresses},
        "deleteAfter": instant(made.erase_after),
        "task": str(made.user_id),
    }


def get_deleted_user(call: Call, _: Nothing) -> dict[str, Any]:
    """Return what would come back."""
    found = call.services.deleted_users.get(call.owner)
    return {
        "user": str(found.user.id),
        "username": found.user.address,
        "storageUsed": call.services.deleted_users.used_bytes(found.user.id),
        "tags": list(found.user.settings.tags),
        "deleted": instant(found.deleted_at),
        "deleteAfter": instant(found.erase_after),
        "recoverableAddresses": call.services.deleted_users.addresses_of(found.user.id),
    }


def restore_user(call: Call, _: Nothing) -> dict[str, Any]:
    """Take a deletion back."""
    restored = call.services.deleted_users.restore(call.actor, call.owner)
    return {
        "code": "TaskCancelled",
        "user": str(call.owner),
        "task": str(call.owner),
        "addresses": {"recovered": restored.addresses, "main": restored.main},
    }


_PATH: Final = "/users/{user}"
OPERATIONS: Final = (
    Operation(
        "DELETE", _PATH, "deleteUser", "Delete a user", Permission(Resource.USERS, Action.DELETE),
        DeleteUser, UserDeleted, delete_user,
    ),
    Operation(
        "GET", f"{_PATH}/restore", "getDeletedUser", "Get a deleted user", Permission(Resource.USERS, Action.READ),
        Nothing, DeletedUserAnswer, get_deleted_user, of_deleted=True,
    ),
    Operation(
        "POST", f"{_PATH}/restore", "restoreUser", "Restore a deleted user",
        Permission(Resource.USERS, Action.CREATE), Nothing, UserRestored, restore_user, of_deleted=True,
    ),
)  # fmt: skip
