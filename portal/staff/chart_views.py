"""The page of staff's charts, its data and its CSV."""

from __future__ import annotations

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from portal.access import requires
from portal.dashboards.charts import Chart
from portal.dashboards.showing import as_csv, as_data
from portal.mail_plane import mail, portal
from portal.permissions import Permission
from portal.staff.charts import CHARTS, SPANS, USUAL, charts_of

blueprint = Blueprint("staff_charts", __name__, url_prefix="/staff/statistics")


@blueprint.get("")
@requires(Permission.STAFF_VIEW)
def index() -> ResponseReturnValue:
    """Show every chart with its table."""
    charts = _charts()
    is_empty = not any(chart.told for chart in charts)
    return render_template("staff/statistics.html", charts=charts, spans=SPANS, days=_days(), is_empty=is_empty)


@blueprint.get("/data.json")
@requires(Permission.STAFF_VIEW)
def data() -> ResponseReturnValue:
    """Give the numbers of every chart to the browser that draws them."""
    return as_data(_charts())


@blueprint.get("/export.csv")
@requires(Permission.STAFF_VIEW)
def export() -> ResponseReturnValue:
    """Give the numbers of one chart as CSV."""
    return as_csv(_charts(), request.args.get("chart", next(iter(CHARTS))))


def _charts() -> list[Chart]:
    return charts_of(mail(), _days(), portal().clock())


def _days() -> int:
    wanted = request.args.get("days", USUAL, type=int)
    return wanted if wanted in SPANS else USUAL
