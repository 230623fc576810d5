"""One operation of the API as a value."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from mailcore.api.fields import Input, Output
from mailcore.model.limits import DEFAULT_LIMITS
from mailcore.model.roles import Action, Resource

if TYPE_CHECKING:
    from mailcore.api.call import Call

PATH_NAME: Final = re.compile(r"\{([a-zA-Z]+)\}")


class Media(StrEnum):
    """What an operation answers with."""

    JSON = "application/json"
    MESSAGE = "message/rfc822"
    BYTES = "application/octet-stream"
    EVENTS = "text/event-stream"


@dataclass(frozen=True, slots=True)
class Permission:
    """What a token needs."""

    resource: Resource
    action: Action
    of_tenant: bool = False
    """No user's own token may, whatever its role, not even about that user."""
    own_without_user: bool = False
    """A user's own token may though the path names no user: the operation itself answers about that user alone."""
    before_change: bool = False
    """A token may that was made for a password which opens nothing but the choice of another."""


@dataclass(frozen=True, slots=True)
class Operation:
    """A route and what stands behind it.

    Attributes:
        path: with names in braces; `{user}` is resolved, in scope, before the operation runs.
        name: its id in the OpenAPI description.
        needs: the permission; None where everybody may.
        takes: fields of query and body together, without those of the path.
        gives: the answer; for other media than JSON only a note.
        run: does it and returns the fields of the answer, or a response.
        takes_bytes: the body is data, not fields, unless it is JSON or a form; fields come from the query.
        most_bytes: of such a body.
        is_list: answers carry an ETag.
        of_deleted: the user of the path was deleted.
    """

    method: str
    path: str
    name: str
    summary: str
    needs: Permission | None
    takes: type[Input]
    gives: type[Output]
    run: Callable[[Call, Any], Any]
    media: Media = Media.JSON
    takes_bytes: bool = False
    most_bytes: int = DEFAULT_LIMITS.message_bytes
    is_list: bool = False
    of_deleted: bool = False

    @property
    def tag(self) -> str:
        """Return the group that it is shown in: the module it is in."""
        return self.run.__module__.rpartition(".")[2]

    @property
    def path_names(self) -> tuple[str, ...]:
        """Return the names in the path."""
        return tuple(PATH_NAME.findall(self.path))

    @property
    def rule(self) -> str:
        """Return the path as Werkzeug writes it."""
        return PATH_NAME.sub(r"<\1>", self.path)

    @property
    def changes(self) -> bool:
        """Whether it may change something."""
        return self.method != "GET"
