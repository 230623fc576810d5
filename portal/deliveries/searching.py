"""What is looked for in an organisation's trace and queue, page by page, as its own people and staff see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
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
INSTANT: Final = timedelta(milliseconds=1)
"""The least difference between two instants in the queue."""


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
    before = _instant(request.args.get("before", ""))
    entries, further = _waiting(tenant_id, form, before) if form.validate() else ([], None)
    pages = _shown(form, before and before.isoformat(), further and further.isoformat(), url)
    return pages | {"entries": entries}


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


def _waiting(
    tenant_id: TenantId, form: DaysForm, before: datetime | None
) -> tuple[list[OutboundEntry], datetime | None]:
    """Return a page of entries, and before which instant the next one begins; it ends between two instants.

    Only a page full of one instant's, which no queue can take in, would leave some of that instant out.
    """
    bounds = [each for each in (form.ends_at(), before) if each is not None]
    found = mail().outbound.list_of_tenant(tenant_id, PAGE + 1, since=form.starts_at(), until=min(bounds, default=None))
    if len(found) <= PAGE:
        return found, None
    edge = found[PAGE].created_at
    shown = [entry for entry in found if entry.created_at > edge]
    return (shown, edge + INSTANT) if shown else (found[:PAGE], edge)


def _shown(form: FlaskForm, before: object, further: object, url: Callable[..., str]) -> dict[str, Any]:
    kept: dict[str, Any] = {name: value for name, value in request.args.items() if name in form.data and value}
    return {
        "form": form,
        "is_filtered": bool(kept),
        "older": url(**kept, before=further) if further else None,
        "newest": url(**kept) if before else None,
        "status": 400 if form.errors else 200,
    }


def _instant(text: str) -> datetime | None:
    """Return the instant that a page begins before; None is the first page, and so is what is no instant."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
