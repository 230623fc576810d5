"""What is looked for in an organisation's trace and queue, page by page, as its own people and staff see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from bson import ObjectId
from flask import request
from flask_wtf import FlaskForm

from mailcore.model.ids import TenantId
from mailcore.model.outbound import OutboundEntry
from mailcore.services.outbound.trace import TraceRow
from portal.deliveries.forms import DaysForm, SearchForm
from portal.deliveries.words import STEPS, advice
from portal.mail_plane import mail

PAGE: Final = 100
KEY_BYTES: Final = 24


def steps(tenant_id: TenantId, url: Callable[..., str]) -> Mapping[str, Any]:
    """Return what a page about steps of messages shows by what the request asks for; `url` is where it stands."""
    form = SearchForm(request.args)
    before = request.args.get("before", "")
    before = before if ObjectId.is_valid(before) else ""
    rows = _steps(tenant_id, form, before) if form.validate() else []
    further = rows[PAGE - 1].id if len(rows) > PAGE else ""
    return _shown(form, before, further, url) | {"rows": rows[:PAGE], "steps": STEPS, "advice": advice}


def waiting(tenant_id: TenantId, url: Callable[..., str]) -> Mapping[str, Any]:
    """Return what a page about the queue shows by what the request asks for; `url` is where it stands."""
    form = DaysForm(request.args)
    after = _place(request.args.get("before", ""))
    entries = _waiting(tenant_id, form, after) if form.validate() else []
    further = _written(entries[PAGE - 1]) if len(entries) > PAGE else ""
    return _shown(form, after, further, url) | {"entries": entries[:PAGE]}


def _steps(tenant_id: TenantId, form: SearchForm, before: str) -> list[TraceRow]:
    """Return a page of rows, and one more if there is a further page."""
    return mail().trace.search(
        tenant_id,
        sender=form.text("sender"),
        recipient=form.text("recipient"),
        message_id=form.text("message_id"),
        queue_id=form.text("queue_id"),
        since=form.starts_at(),
        until=form.ends_at(),
        before=before,
        limit=PAGE + 1,
    )


def _waiting(tenant_id: TenantId, form: DaysForm, after: tuple[datetime, bytes] | None) -> list[OutboundEntry]:
    """Return a page of entries, and one more if there is a further page."""
    return mail().outbound.list_of_tenant(
        tenant_id, PAGE + 1, since=form.starts_at(), until=form.ends_at(), after=after
    )


def _shown(form: FlaskForm, before: object, further: object, url: Callable[..., str]) -> dict[str, Any]:
    kept: dict[str, Any] = {name: value for name, value in request.args.items() if name in form.data and value}
    return {
        "form": form,
        "is_filtered": bool(kept),
        "older": url(**kept, before=further) if further else None,
        "newest": url(**kept) if before else None,
        "status": 400 if form.errors else 200,
    }


def _written(entry: OutboundEntry) -> str:
    """Return the place of an entry as it stands in the address of the page that follows it."""
    at, key = entry.place
    return f"{at.isoformat()}~{key.hex()}"


def _place(text: str) -> tuple[datetime, bytes] | None:
    """Return the place that a page follows; None is the first page, and so is what is no place."""
    instant, _, key = text.partition("~")
    try:
        at, raw = datetime.fromisoformat(instant), bytes.fromhex(key)
    except ValueError:
        return None
    return (at if at.tzinfo is not None else at.replace(tzinfo=UTC), raw) if len(raw) == KEY_BYTES else None
