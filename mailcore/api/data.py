"""Users out to a file and in from one, with their mail; only a token of the platform made for it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

from werkzeug.wrappers import Response

from mailcore.api.call import Call
from mailcore.api.errors import ApiError
from mailcore.api.fields import Input, Nothing, Oid, Output, Tags, object_id
from mailcore.api.operation import Media, Operation, Permission
from mailcore.model.ids import UserId
from mailcore.model.roles import Action, Resource

LARGEST_FILE: Final = 16 << 30


class ExportUsers(Input):
    """These users, and those with one of the tags."""

    users: list[Oid] = []  # noqa: RUF012  pydantic copies it
    tags: Tags = []  # noqa: RUF012


class ImportResult(Output):
    """What became of the records of the file."""

    entries: int
    imported: int
    failed: int
    existing: int


def export_users(call: Call, given: ExportUsers) -> Response:
    """Stream users with their addresses, filters, mailboxes and messages."""
    _check_platform(call)
    user_ids = [UserId(object_id(text)) for text in given.users]
    response = Response(call.services.data_export.export(call.actor, user_ids, given.tags), mimetype=Media.BYTES.value)
    response.headers["Content-Disposition"] = 'attachment; filename="users.export"'
    response.headers["Cache-Control"] = "no-store"
    return response


def import_users(call: Call, _: Nothing) -> dict[str, Any]:
    """Make the users of a file, each whole or not at all."""
    _check_platform(call)
    if call.body is None:
        raise ApiError(400, "InputValidationError", "The file is needed as the body: application/octet-stream")
    return asdict(call.services.data_import.run(call.actor, call.body))


def _check_platform(call: Call) -> None:
    if call.tenant_id is not None or call.token_user is not None:
        raise ApiError(403, "MissingPrivileges", "Only a token of the platform does this")


OPERATIONS: Final = (
    Operation(
        "POST", "/data/export", "exportUsers", "Export users with their mail",
        Permission(Resource.EXPORT, Action.CREATE, of_tenant=True), ExportUsers, Output, export_users,
        media=Media.BYTES,
    ),
    Operation(
        "POST", "/data/import", "importUsers", "Import users with their mail",
        Permission(Resource.IMPORT, Action.CREATE, of_tenant=True), Nothing, ImportResult, import_users,
        takes_bytes=True, most_bytes=LARGEST_FILE,
    ),
)  # fmt: skip
