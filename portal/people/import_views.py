"""Bringing many people at once: the pages."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from typing import Final
from uuid import UUID

from flask import Blueprint, Response, flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from portal.access import actor, current_organisation, requires
from portal.mail_plane import mail
from portal.people import import_queries, imports
from portal.people.csv_file import FileUnreadable, plain_cell
from portal.people.forms import ImportForm
from portal.people.models import RowState
from portal.people.words import fault, unreadable
from portal.permissions import Permission
from portal.progress import stream

blueprint = Blueprint("people_imports", __name__, url_prefix="/people/imports")

SHOWN: Final = 100
"""Lines of a preview; problems come first, and all of them are in the file to download."""


@blueprint.route("/", methods=["GET", "POST"])
@requires(Permission.MANAGE_PEOPLE)
def index() -> ResponseReturnValue:
    """Take a list, and show those that were brought before."""
    form = ImportForm()
    if form.validate_on_submit():
        file = form.file.data
        try:
            content = file.read()
            brought = imports.bring(mail(), actor(), current_organisation(), file.filename or "people.csv", content)
        except FileUnreadable as error:
            form.file.errors = [unreadable(error)]
        else:
            return redirect(url_for("people_imports.show", import_id=brought.id), code=303)
    found = import_queries.list_of(current_organisation().id)
    return render_template("people/imports.html", form=form, imports=found), 400 if form.errors else 200


@blueprint.get("/<uuid:import_id>")
@requires(Permission.MANAGE_PEOPLE)
def show(import_id: UUID) -> ResponseReturnValue:
    """Show what would come of a list, how far it is, or what came of it."""
    brought = import_queries.get(current_organisation().id, import_id)
    counts = import_queries.counts(current_organisation().id, import_id)
    problems = import_queries.page(import_id, [RowState.FAULTY, RowState.FAILED], SHOWN)
    rows = import_queries.page(import_id, [RowState.PLANNED, RowState.DONE, RowState.UNDONE], SHOWN)
    return render_template(
        "people/import.html",
        brought=brought,
        counts=counts,
        problems=[(row, [fault(problem) for problem in row.problems]) for row in problems],
        rows=rows,
        has_passwords=any(row.sealed_password for row in rows if row.state == RowState.DONE),
    )


@blueprint.post("/<uuid:import_id>/start")
@requires(Permission.MANAGE_PEOPLE)
def start(import_id: UUID) -> ResponseReturnValue:
    """Make the people whose lines are right."""
    return _do(import_id, lambda: imports.start(actor(), current_organisation(), import_id))


@blueprint.post("/<uuid:import_id>/undo")
@requires(Permission.MANAGE_PEOPLE)
def undo(import_id: UUID) -> ResponseReturnValue:
    """Delete whom a list made."""
    return _do(import_id, lambda: imports.undo(actor(), current_organisation(), import_id))


@blueprint.post("/<uuid:import_id>/discard")
@requires(Permission.MANAGE_PEOPLE)
def discard(import_id: UUID) -> ResponseReturnValue:
    """Forget a list that made nobody."""
    try:
        imports.discard(actor(), current_organisation(), import_id)
    except imports.WrongState:
        flash(_("It was started meanwhile."), "error")
    return redirect(url_for("people_imports.index"), code=303)


@blueprint.get("/<uuid:import_id>/problems.csv")
@requires(Permission.MANAGE_PEOPLE)
def problems(import_id: UUID) -> ResponseReturnValue:
    """Return every line that something is wrong with, as a file."""
    brought = import_queries.get(current_organisation().id, import_id)
    rows = import_queries.page(import_id, [RowState.FAULTY, RowState.FAILED], 10_000)
    lines = [(str(row.line), row.address, fault(problem)) for row in rows for problem in row.problems]
    return _csv(f"problems-{brought.created_at:%Y-%m-%d}.csv", (_("Line"), _("Address"), _("What to change")), lines)


@blueprint.post("/<uuid:import_id>/passwords.csv")
@requires(Permission.MANAGE_PEOPLE)
def passwords(import_id: UUID) -> ResponseReturnValue:
    """Return first passwords as a file, once; they are forgotten here with that."""
    try:
        found = imports.hand_out(mail(), actor(), current_organisation(), import_id)
    except imports.WrongState:
        flash(_("The first passwords were handed out already. Make new ones on the pages of the users."), "error")
        return redirect(url_for("people_imports.show", import_id=import_id), code=303)
    return _csv("first-passwords.csv", (_("Address"), _("Name"), _("First password")), found)


@blueprint.get("/<uuid:import_id>/progress")
@requires(Permission.MANAGE_PEOPLE)
def progress(import_id: UUID) -> ResponseReturnValue:
    """Tell how far an import is, until it is through."""
    organisation_id = current_organisation().id
    import_queries.get(organisation_id, import_id)
    return stream(import_queries.topic(import_id), lambda: import_queries.progress_of(organisation_id, import_id))


def _do(import_id: UUID, change: Callable[[], object]) -> ResponseReturnValue:
    import_queries.get(current_organisation().id, import_id)
    try:
        change()
    except imports.WrongState:
        flash(_("That is under way or done already."), "warning")
    return redirect(url_for("people_imports.show", import_id=import_id), code=303)


def _csv(name: str, header: tuple[str, ...], lines: Sequence[tuple[str, ...]]) -> Response:
    """Return a file that spreadsheets open, with a byte order mark, for they take it for Windows-1252 else."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(header)
    writer.writerows([plain_cell(cell) for cell in line] for line in lines)
    return Response(
        text.getvalue().encode("utf-8-sig"),
        mimetype="text/csv",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )
