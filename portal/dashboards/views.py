"""The page of charts, its data and its CSV."""

from __future__ import annotations

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from portal.access import current, current_organisation, requires
from portal.billing.entitlements import ENDED, NOT_BEGUN, current_subscription
from portal.billing.plans import BY_KEY, Plan
from portal.dashboards.charts import NAMES, SPANS, USUAL, Chart, charts_of
from portal.dashboards.showing import as_csv, as_data
from portal.dashboards.storage import choices, cost_of_month
from portal.mail_plane import current_tenant, mail, portal
from portal.permissions import Permission

blueprint = Blueprint("dashboards", __name__, url_prefix="/statistics")


@blueprint.get("")
@requires(Permission.VIEW_DELIVERIES)
def index() -> ResponseReturnValue:
    """Show every chart with its table, and what storage costs to those who may see bills."""
    charts = _charts()
    measured = mail().rollups.stored(current_tenant(), charts[0].days[0])
    last, plan = (measured[-1] if measured else None), _plan()
    return render_template(
        "dashboards/index.html",
        charts=charts,
        spans=SPANS,
        days=_days(),
        is_empty=not any(chart.told for chart in charts),
        last=last,
        cost=cost_of_month(plan, last.hot_bytes, last.cold_bytes) if last else None,
        choices=choices(plan, last) if last else [],
    )


@blueprint.get("/data.json")
@requires(Permission.VIEW_DELIVERIES)
def data() -> ResponseReturnValue:
    """Give the numbers of every chart to the browser that draws them."""
    return as_data(_charts())


@blueprint.get("/export.csv")
@requires(Permission.VIEW_DELIVERIES)
def export() -> ResponseReturnValue:
    """Give the numbers of one chart as CSV: a line a day, names of columns that stay the same in every language."""
    return as_csv(_charts(), request.args.get("chart", NAMES[0]))


def _charts() -> list[Chart]:
    return charts_of(mail(), current_tenant(), _days(), portal().clock())


def _days() -> int:
    wanted = request.args.get("days", USUAL, type=int)
    return wanted if wanted in SPANS else USUAL


def _plan() -> Plan | None:
    """Return what is paid by, None where nothing is or it is none of the reader's business."""
    if not current().may(Permission.VIEW_BILLING):
        return None
    subscription = current_subscription(current_organisation())
    runs = subscription is not None and subscription.status not in ENDED | NOT_BEGUN
    return BY_KEY[subscription.price_key] if subscription is not None and runs else None
