"""Storage files: brought once, attached to messages later."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Literal

from bson import ObjectId
from pydantic import Field, StringConstraints
from werkzeug.wrappers import Response

from mailcore.api.call import Call
from mailcore.api.composition import Data, Line, decoded
from mailcore.api.errors import invalid
from mailcore.api.fields import Fields, Input, Listing, Nothing, Output, Page, instant
from mailcore.api.message import PASSIVE, safe_file_name
from mailcore.api.operation import Media, Operation, Permission
from mailcore.api.paging import cut, position
from mailcore.errors import FileNotFound
from mailcore.model.file import StoredFile
from mailcore.model.limits import DEFAULT_LIMITS
from mailcore.model.roles import Action, Resource
from mailcore.services.content.spool import gathered

_MEDIA_TYPE: Final = (
    r"^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,100}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,100}"
    r"(; ?charset=[A-Za-z0-9_.-]{1,40})?$"
)
MediaType = Annotated[str, StringConstraints(max_length=255, pattern=_MEDIA_TYPE)]


class AddFile(Input):
    """A file: the body itself, or `content` in a JSON object."""

    keeps_empty: ClassVar[frozenset[str]] = frozenset({"content"})

    filename: Line = ""
    content_type: MediaType = "application/octet-stream"
    encoding: Literal["base64"] | None = None
    content: Data | None = None
    cid: Line = ""


class ListFiles(Page):
    """`query` is looked for in file names."""

    query: Annotated[str, StringConstraints(max_length=255)] = ""


class FileItem(Fields):
    """One file."""

    id: str
    filename: str
    content_type: str
    cid: str | None = None
    size: int
    created: str
    md5: str


class FileList(Listing):
    """A page of files, the latest first."""

    query: str
    results: list[FileItem]


class NewFile(Output):
    """The id of the file."""

    id: str = Field(description="To be named in `files` of a message")


def add_file(call: Call, given: AddFile) -> dict[str, Any]:
    """Keep a file until it is deleted.

    Raises:
        ApiError: there is no content, or it is not base64.
    """
    if call.body is not None:
        content = call.body
    elif given.content is not None:
        found = decoded("content", given.content, given.encoding or "utf-8")
        content = gathered(found, DEFAULT_LIMITS.message_bytes, call.services.offload.pause)
    else:
        raise invalid({"content": "is needed: the body itself, or a field of a JSON object"})
    made = call.services.files.add(call.on_behalf(), call.owner, content, given.filename, given.content_type, given.cid)
    return {"id": str(made)}


def list_files(call: Call, given: ListFiles) -> dict[str, Any]:
    """Return a page of the user's files; one round trip."""
    at = position(given)
    files = call.services.files.list_of_user(call.owner, given.query)[::-1]
    key = str(at.key)
    if at.key is None:
        near = files
    elif at.is_backwards:
        near = [file for file in files if str(file.id) > key][::-1]
    else:
        near = [file for file in files if str(file.id) < key]
    page, cursors = cut(near[: given.limit + 1], at, given.limit, lambda file: str(file.id))
    return {"query": given.query, "total": len(files), **cursors, "results": [_item(file) for file in page]}


def get_file(call: Call, _: Nothing) -> Response:
    """Return the content of a file, piece by piece."""
    file = call.services.files.get(call.owner, _file_id(call))
    answer = Response(call.services.files.read(call.owner, file), 200, content_type=file.content_type)
    answer.headers.update(PASSIVE)
    answer.headers["Content-Length"] = str(file.size_bytes)
    answer.headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{safe_file_name(file.filename)}"
    return answer


def delete_file(call: Call, _: Nothing) -> dict[str, Any]:
    """Remove a file; what it was attached to keeps it."""
    call.services.files.delete(call.on_behalf(), call.owner, _file_id(call))
    return {}


def _file_id(call: Call) -> ObjectId:
    text = call.path["file"]
    if not ObjectId.is_valid(text):
        raise FileNotFound(text)
    return ObjectId(text)


def _item(file: StoredFile) -> dict[str, Any]:
    return {
        "id": str(file.id),
        "filename": file.filename,
        "contentType": file.content_type,
        **({"cid": file.content_id} if file.content_id else {}),
        "size": file.size_bytes,
        "created": instant(file.created_at),
        "md5": file.md5,
    }


_PATH: Final = "/users/{user}/storage"
OPERATIONS: Final = (
    Operation(
        "POST", _PATH, "addFile", "Keep a file", Permission(Resource.STORAGE, Action.CREATE),
        AddFile, NewFile, add_file, takes_bytes=True,
    ),
    Operation(
        "GET", _PATH, "listFiles", "List files", Permission(Resource.STORAGE, Action.READ),
        ListFiles, FileList, list_files, is_list=True,
    ),
    Operation(
        "GET", f"{_PATH}/{{file}}", "getFile", "Get a file", Permission(Resource.STORAGE, Action.READ),
        Nothing, Output, get_file, media=Media.BYTES,
    ),
    Operation(
        "DELETE", f"{_PATH}/{{file}}", "deleteFile", "Delete a file", Permission(Resource.STORAGE, Action.DELETE),
        Nothing, Output, delete_file,
    ),
)  # fmt: skip
