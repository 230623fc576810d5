"""Charts as what browsers draw and as CSV, whosever they are."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from flask import Response, jsonify
from flask_babel import gettext as _

from mailcore.errors import NotFound
from portal.dashboards.charts import DAY, Chart


def as_data(charts: Sequence[Chart]) -> Response:
    """Return the numbers of every chart for the browser that draws them."""
    return jsonify(
        {
            chart.name: {
                "title": str(chart.title),
                "unit": chart.unit,
                "day": _("Day") if chart.step == DAY else _("Time"),
                "hours": chart.step != DAY,
                "labels": [str(label) for label in chart.labels],
                "days": [int(day.timestamp()) for day in chart.days],
                "lines": [[row[column] for row in chart.rows] for column in range(len(chart.names))],
            }
            for chart in charts
        }
    )


def as_csv(charts: Sequence[Chart], name: str) -> Response:
    """Return one chart as CSV: a line a day or an hour, names of columns that stay the same in every language.

    Raises:
        NotFound: there is none of that name.
    """
    chart = next((one for one in charts if one.name == name), None)
    if chart is None:
        raise NotFound(name)
    written = io.StringIO()
    lines = csv.writer(written)
    is_daily = chart.step == DAY
    lines.writerow(["day" if is_daily else "hour", *chart.names])
    for day, row in zip(chart.days, chart.rows, strict=True):
        at = day.date().isoformat() if is_daily else day.isoformat()
        lines.writerow([at, *("" if number is None else number for number in row)])
    return Response(
        written.getvalue(),
        mimetype="text/csv",
        headers={"Content-Disposition": f'attachment; filename="{chart.name}.csv"'},
    )
