"""The audit log: a page with filters, and the same as CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

from flask import Blueprint, Response, render_template, request, url_for
from flask.typing import ResponseReturnValue

from portal.access import current_organisation, requires
from portal.audit import queries
from portal.audit.forms import FilterForm
from portal.audit.models import AuditEvent
from portal.audit.queries import Filter
from portal.audit.words import kinds_of, sentence, through
from portal.mail_plane import portal
from portal.permissions import Permission

blueprint = Blueprint("audit", __name__, url_prefix="/audit")

COLUMNS = (
    "number", "time", "what", "target", "actor", "actor kind", "through", "from", "outcome", "details", "digest",
)  # fmt: skip
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""With what a spreadsheet begins to compute."""


@blueprint.get("")
@requires(Permission.VIEW_AUDIT)
def index() -> ResponseReturnValue:
    """Show what was done, the latest first."""
    form = FilterForm(request.args)
    wanted = _filter(form)
    before = request.args.get("before", type=int)
    events, older = queries.list_events(current_organisation().id, wanted, before)
    kept: dict[str, Any] = {name: value for name, value in request.args.items() if name in form.data and value}
    return render_template(
        "audit/index.html",
        form=form,
        events=events,
        is_filtered=bool(kept),
        older=url_for("audit.index", **kept, before=older) if older is not None else None,
        newest=url_for("audit.index", **kept) if before is not None else None,
        export=url_for("audit.export", **kept),
        sentence=sentence,
        through=through,
    ), 400 if form.errors else 200


@blueprint.get("/export.csv")
@requires(Permission.VIEW_AUDIT)
def export() -> ResponseReturnValue:
    """Give the same events as CSV, the oldest first."""
    organisation = current_organisation()
    events = queries.export_events(portal().database, organisation.id, _filter(FilterForm(request.args)))
    name = f"audit-{organisation.slug}.csv"
    return Response(
        _csv(events),
        mimetype="text/csv",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _filter(form: FilterForm) -> Filter:
    if not form.validate():
        return Filter()
    return Filter((form.actor.data or "").strip(), kinds_of(form.subject.data or ""), form.since.data, form.until.data)


def _csv(events: Iterator[AuditEvent]) -> Iterator[str]:
    yield _line(COLUMNS)
    for event in events:
        yield _line(
            (
                str(event.number),
                event.at.isoformat(),
                event.what,
                event.target,
                event.actor,
                event.actor_kind,
                event.door,
                event.remote_address,
                event.outcome,
                json.dumps(event.details, ensure_ascii=False, sort_keys=True),
                event.digest.hex(),
            )
        )


def _line(cells: tuple[str, ...]) -> str:
    """Return one line; no cell is a formula to a spreadsheet."""
    written = io.StringIO()
    csv.writer(written).writerow([f"'{cell}" if cell.startswith(FORMULA) else cell for cell in cells])
    return written.getvalue()
