"""The automatic reply of a user."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import StringConstraints

from mailcore.api.call import Call
from mailcore.api.fields import Flag, Input, Instant, Nothing, Output, instant
from mailcore.api.operation import Operation, Permission
from mailcore.model.autoreply import Autoreply
from mailcore.model.roles import Action, Resource


class SetAutoreply(Input):
    """What is to change; `start` and `end` are false where there is none."""

    keeps_empty = frozenset({"name", "subject", "text", "html"})

    status: Flag | None = None
    name: Annotated[str, StringConstraints(max_length=128)] | None = None
    subject: Annotated[str, StringConstraints(max_length=2048)] | None = None
    text: Annotated[str, StringConstraints(max_length=128 * 1024)] | None = None
    html: Annotated[str, StringConstraints(max_length=128 * 1024)] | None = None
    start: Instant | None = None
    end: Instant | None = None


class AutoreplyAnswer(Output):
    """What is answered, and when."""

    status: bool
    name: str
    subject: str
    text: str
    html: str
    start: str | Literal[False]
    end: str | Literal[False]
    created: str | None = None


class AutoreplySet(Output):
    """Whose it is."""

    id: str


def get_autoreply(call: Call, _: Nothing) -> dict[str, Any]:
    """Return what is set up; one round trip."""
    found = call.services.autoreplies.get(call.owner)
    return _fields(found) | ({"created": instant(found.created_at)} if found.created_at is not None else {})


def set_autoreply(call: Call, given: SetAutoreply) -> dict[str, Any]:
    """Change some of it; who was answered before is answered once more."""
    changes: dict[str, Any] = {
        "is_on": given.status,
        "name": given.name,
        "subject": given.subject,
        "text": given.text,
        "html": given.html,
    }
    wanted = {name: value for name, value in changes.items() if value is not None}
    for name, value in (("start", given.start), ("end", given.end)):
        if value is not None:
            wanted[name] = value or None
    call.services.autoreplies.set(call.actor, call.owner, wanted)
    return {"id": str(call.owner)}


def delete_autoreply(call: Call, _: Nothing) -> dict[str, Any]:
    """Take it away."""
    call.services.autoreplies.delete(call.actor, call.owner)
    return {}


def _fields(found: Autoreply) -> dict[str, Any]:
    return {
        "status": found.is_on,
        "name": found.name,
        "subject": found.subject,
        "text": found.text,
        "html": found.html,
        "start": instant(found.start) or False,
        "end": instant(found.end) or False,
    }


_PATH: Final = "/users/{user}/autoreply"
OPERATIONS: Final = (
    Operation(
        "GET", _PATH, "getAutoreply", "Get the automatic reply", Permission(Resource.AUTOREPLIES, Action.READ),
        Nothing, AutoreplyAnswer, get_autoreply,
    ),
    Operation(
        "PUT", _PATH, "setAutoreply", "Change the automatic reply", Permission(Resource.AUTOREPLIES, Action.UPDATE),
        SetAutoreply, AutoreplySet, set_autoreply,
    ),
    Operation(
        "DELETE", _PATH, "deleteAutoreply", "Take the automatic reply away",
        Permission(Resource.AUTOREPLIES, Action.DELETE), Nothing, Output, delete_autoreply,
    ),
)  # fmt: skip
