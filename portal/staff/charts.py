"""Charts of the platform: shards, queues, workers and abuse, made as those of organisations are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from flask_babel import lazy_gettext as _

from mailcore.model.platform_tally import Measured, named
from mailcore.model.tally import Counts, Sum
from mailcore.services import MailServices
from portal.dashboards.charts import Chart, Number, Series, made, span_until

HOUR: Final = timedelta(hours=1)
SPANS: Final = (2, 30, 90, 365)
"""Days that can be looked at; two are shown by hour."""
USUAL: Final = 2


@dataclass(frozen=True, slots=True)
class Each:
    """A chart with a line for each shard, or each queue of jobs, that was measured."""

    what: Measured
    title: Any
    unit: str = "count"
    adds_up: bool = False


@dataclass(frozen=True, slots=True)
class Whole:
    """A chart of the platform as a whole."""

    title: Any
    series: Sequence[Series]
    unit: str = "count"
    adds_up: bool = False


def _of(what: Measured) -> Callable[[Counts], Number]:
    return _by_name(named(what))


def _by_name(name: str) -> Callable[[Counts], Number]:
    return lambda counts: counts.get(name)


def _over_shards(what: Measured) -> Callable[[Counts], Number]:
    def of(counts: Counts) -> Number:
        found = [number for name, number in counts.items() if name.startswith(named(what))]
        return sum(found) if found else None

    return of


def _tenths(part: Measured, others: Measured) -> Callable[[Counts], Number]:
    """Return a share in tenths of a percent."""

    def of(counts: Counts) -> Number:
        count, rest = counts.get(named(part)), counts.get(named(others))
        return None if count is None or rest is None or not count + rest else round(1000 * count / (count + rest))

    return of


CHARTS: Final[Mapping[str, Each | Whole]] = {
    "shards-users": Each(Measured.USERS, _("Users by shard")),
    "shards-ssd": Each(Measured.HOT_BYTES, _("SSD by shard"), "bytes"),
    "shards-hdd": Each(Measured.COLD_BYTES, _("HDD by shard"), "bytes"),
    "shards-operations": Each(Measured.OPERATIONS, _("Database operations by shard"), adds_up=True),
    "shards-lag": Each(Measured.LAG_S, _("Replication behind, at most"), "seconds"),
    "shards-away": Each(Measured.AWAY, _("Measurements that found no primary"), adds_up=True),
    "outbound": Whole(
        _("Outbound queue, at most"),
        (
            Series("waiting", _("Waiting"), _over_shards(Measured.WAITING)),
            Series("tried", _("Put off at least once"), _over_shards(Measured.TRIED)),
        ),
    ),
    "outbound-age": Each(Measured.OLDEST_S, _("Oldest waiting message by shard"), "seconds"),
    "jobs-waiting": Each(Measured.QUEUED, _("Jobs waiting, at most")),
    "jobs-age": Each(Measured.QUEUED_S, _("Oldest waiting job"), "seconds"),
    "workers": Whole(_("Workers"), (Series("alive", _("Alive"), _of(Measured.WORKERS)),)),
    "jobs": Whole(
        _("Jobs"),
        (
            Series("done", _("Done"), _of(Measured.JOBS_DONE)),
            Series("failed", _("Failed"), _of(Measured.JOBS_FAILED)),
        ),
        adds_up=True,
    ),
    "abuse-holds": Whole(_("Held senders, at most"), (Series("held", _("Held"), _of(Measured.HOLDS)),)),
    "abuse-mail": Whole(
        _("Mail of all organisations, by day"),
        (
            Series("sent", _("Sent"), _of(Measured.SENT)),
            Series("failed", _("Bounced"), _of(Measured.FAILED)),
            Series("complained", _("Reported as spam"), _of(Measured.COMPLAINED)),
            Series("refused", _("Refused on the way in"), _of(Measured.REFUSED)),
        ),
        adds_up=True,
    ),
    "abuse-rates": Whole(
        _("Rates, by day"),
        (
            Series("bounce_rate", _("Bounces"), _tenths(Measured.FAILED, Measured.SENT)),
            Series("complaint_rate", _("Complaints"), _tenths(Measured.COMPLAINED, Measured.SENT)),
        ),
        "per mille",
    ),
}
"""By name, in their order."""
BY_DAY: Final = frozenset({"abuse-mail", "abuse-rates"})
"""Of which nothing is known by hour."""


def charts_of(mail: MailServices, days: int, now: datetime) -> list[Chart]:
    """Return every chart of the last days; two round trips at most."""
    daily_span = span_until(now, days)
    daily = mail.platform_tallies.days(daily_span[0])
    if days > min(SPANS):
        return [_made(name, daily_span, daily) for name in CHARTS]
    hourly_span = span_until(now, 24 * days, HOUR)
    hourly = mail.platform_tallies.hours(hourly_span[0])
    return [_made(name, daily_span, daily) if name in BY_DAY else _made(name, hourly_span, hourly) for name in CHARTS]


def _made(name: str, span: Sequence[datetime], sums: Sequence[Sum]) -> Chart:
    chart = CHARTS[name]
    series = chart.series if isinstance(chart, Whole) else _lines(chart.what, sums)
    by_time = {each.at: each.counts for each in sums}
    rows = [[one.of(by_time[at]) if at in by_time else None for one in series] for at in span]
    return made(name, chart.title, chart.unit, series, span, rows, adds_up=chart.adds_up)


def _lines(what: Measured, sums: Sequence[Sum]) -> list[Series]:
    """Return a line for each of which there is a number."""
    start = named(what)
    found = sorted({name for each in sums for name in each.counts if name.startswith(start)})
    return [Series(name[len(start) :], name[len(start) :], _by_name(name)) for name in found]
