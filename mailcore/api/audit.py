"""Audits: frozen copies of a user's mail; only a token made for audits opens and reads them."""

from __future__ import annotations

from typing import Annotated, Any, Final

from bson import ObjectId
from pydantic import Field, StringConstraints
from werkzeug.wrappers import Response

from mailcore.api.call import Call, resolve_user
from mailcore.api.fields import Fields, Input, Instant, Meta, Moment, Nothing, Oid, Output, instant, meta_value
from mailcore.api.operation import Media, Operation, Permission
from mailcore.errors import AuditNotFound
from mailcore.model.audit_case import AuditCase
from mailcore.model.roles import Action, Resource


class CreateAudit(Input):
    """Whose mail, of what time, and until when the copies are kept."""

    user: Oid
    start: Instant | None = None
    end: Instant | None = None
    expires: Moment
    notes: Annotated[str, StringConstraints(max_length=1024)] | None = None
    meta: Meta | None = None


class AuditId(Output):
    """The id of an audit."""

    id: str


class Copying(Fields):
    """How far the copies are."""

    status: str
    failed: int
    copied: int


class AuditAnswer(Output):
    """One audit."""

    id: str
    user: str
    start: str | bool
    end: str | bool
    expires: str
    notes: str
    meta: dict[str, Any]
    deleted: bool
    audited: int
    last_audited_message: str | None = None
    import_: Copying = Field(alias="import")


def create_audit(call: Call, given: CreateAudit) -> dict[str, Any]:
    """Begin an audit; a worker copies within a minute."""
    user_id = resolve_user(call, given.user)
    found = call.services.audits.create(
        call.actor, user_id, given.start or None, given.end or None, given.expires, given.notes or "", given.meta or ""
    )
    return {"id": str(found)}


def get_audit(call: Call, _: Nothing) -> dict[str, Any]:
    """Return what an audit holds by now."""
    case = _find(call)
    return {
        "id": str(case.id),
        "user": str(case.user_id),
        "start": instant(case.start) or False,
        "end": instant(case.end) or False,
        "expires": instant(case.expires_at),
        "notes": case.notes,
        "meta": meta_value(case.meta),
        "deleted": False,
        "audited": case.copied,
        "lastAuditedMessage": instant(case.last_message_at),
        "import": {"status": case.status.value, "failed": case.failed, "copied": case.copied},
    }


def export_audit(call: Call, _: Nothing) -> Response:
    """Stream the copies as an mbox."""
    case = _find(call)
    response = Response(call.services.audits.export(call.actor, case), mimetype=Media.BYTES.value)
    response.headers["Content-Disposition"] = f'attachment; filename="audit-{case.id}.mbox"'
    response.headers["Cache-Control"] = "no-store"
    return response


def _find(call: Call) -> AuditCase:
    text = call.path["audit"]
    if not ObjectId.is_valid(text):
        raise AuditNotFound(text)
    case = call.services.audits.get(ObjectId(text))
    if not call.sees(case.tenant_id) or call.token_user not in {None, case.user_id}:
        raise AuditNotFound(text)
    return case


def _may(action: Action) -> Permission:
    return Permission(Resource.AUDIT, action, of_tenant=True)


_PATH: Final = "/audit"
OPERATIONS: Final = (
    Operation("POST", _PATH, "createAudit", "Begin an audit", _may(Action.CREATE), CreateAudit, AuditId, create_audit),
    Operation(
        "GET", f"{_PATH}/{{audit}}", "getAudit", "Get an audit", _may(Action.READ), Nothing, AuditAnswer, get_audit,
    ),
    Operation(
        "GET", f"{_PATH}/{{audit}}/export.mbox", "exportAudit", "Download an audit", _may(Action.READ),
        Nothing, Output, export_audit, media=Media.BYTES,
    ),
)  # fmt: skip
