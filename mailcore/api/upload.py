"""Putting a message into a mailbox: bytes as they are, or composed here."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from pydantic import Field

from mailcore.api.call import Call
from mailcore.api.composition import ComposedInput, Data, Line, Uid, decoded, own_address, wanted
from mailcore.api.errors import ApiError
from mailcore.api.fields import Fields, Flag, InputPart, Meta, Moment, Oid, Output
from mailcore.api.mailboxes import find_mailbox
from mailcore.api.operation import Operation, Permission
from mailcore.model.flags import DRAFT, FLAGGED, SEEN
from mailcore.model.limits import DEFAULT_LIMITS
from mailcore.model.octets import Octets
from mailcore.model.roles import Action, Resource
from mailcore.services.content.composing import Wanted
from mailcore.services.content.spool import gathered
from mailcore.services.outbound.composed import Background, MessagePlace, NewCopy


class PreviousIn(InputPart):
    """An earlier version of a message; in the mailbox of the new one, if not said otherwise."""

    mailbox: Oid | None = None
    id: Uid


class BimiIn(InputPart):
    """Which logo the message asks for (BIMI-Selector)."""

    domain: Line
    selector: Line = "default"


class Upload(ComposedInput):
    """A message: the body itself, `raw` in a JSON object, or what it is composed of."""

    keeps_empty: ClassVar[frozenset[str]] = frozenset({"raw"})

    date: Moment | None = None
    unseen: Flag = False
    flagged: Flag = False
    draft: Flag = False
    raw: Data | None = None
    meta_data: Meta | None = None
    replace_previous: PreviousIn | None = None
    bimi: BimiIn | None = None


class UploadedMessage(Fields):
    """Where it is."""

    id: int
    mailbox: str
    size: int


class Uploaded(Output):
    """The new message, and what became of the one it replaces."""

    message: UploadedMessage = Field(description="As it is named in its mailbox")
    previous_deleted: bool | None = None
    previous_delete_error: str | None = None


def upload(call: Call, given: Upload) -> dict[str, Any]:
    """Put a message into a mailbox; what answers another is a draft, and is filled in from it.

    Raises:
        ApiError: there is nothing of a message.
    """
    entry = find_mailbox(call, call.path["mailbox"])
    raw, said = _message(call, given)
    flags = (0 if given.unseen else SEEN) | (FLAGGED if given.flagged else 0)
    if given.draft or (said is not None and said.reference is not None):
        flags |= DRAFT
    background = Background(said.reference, tuple(said.files)) if said is not None else Background()
    replaces = None
    if given.replace_previous is not None:
        previous = given.replace_previous
        source = entry if previous.mailbox is None else find_mailbox(call, previous.mailbox)
        replaces = MessagePlace(source.id, previous.id)
    new = NewCopy(
        raw=raw,
        flags=flags,
        internal_date=int(given.date.timestamp()) if given.date is not None else None,
        meta_data=given.meta_data or "",
        background=background,
        replaces=replaces,
    )
    place, is_replaced = call.services.sending.keep(call.on_behalf(), call.owner, entry, new)
    answer: dict[str, Any] = {"message": {"id": place.uid, "mailbox": str(place.mailbox_id), "size": len(raw)}}
    if replaces is not None:
        answer["previousDeleted"] = is_replaced
        if not is_replaced:
            answer["previousDeleteError"] = "The previous version does not exist"
    return answer


def _message(call: Call, given: Upload) -> tuple[Octets, Wanted | None]:
    """Return the message, and what it was composed of."""
    if call.body is not None:
        raw = call.body
    elif given.raw is not None:
        raw = gathered(decoded("raw", given.raw, "utf-8"), DEFAULT_LIMITS.message_bytes, call.services.offload.pause)
    elif given.is_empty:
        raise ApiError(400, "EmptyMessage", "There is nothing of a message: give raw, or subject, text, html, to …")
    else:
        said = wanted(call, given, given.date, _bimi(given.bimi))
        return call.services.composing.compose(call.owner, own_address(call), said), said
    if not len(raw):
        raise ApiError(400, "EmptyMessage", "The message has no bytes")
    return raw, None


def _bimi(given: BimiIn | None) -> list[tuple[str, str]]:
    return [("BIMI-Selector", f"v=BIMI1; s={given.selector}")] if given is not None else []


OPERATIONS: Final = (
    Operation(
        "POST", "/users/{user}/mailboxes/{mailbox}/messages", "uploadMessage", "Put a message into a mailbox",
        Permission(Resource.MESSAGES, Action.CREATE), Upload, Uploaded, upload, takes_bytes=True,
    ),
)  # fmt: skip
