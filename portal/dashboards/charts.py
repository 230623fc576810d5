"""Charts of an organisation: the same numbers for the picture, the table and the CSV."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from flask_babel import lazy_gettext as _

from mailcore.model.ids import TenantId
from mailcore.model.tally import Counted, Counts, Stored, Sum
from mailcore.services import MailServices

DAY: Final = timedelta(days=1)
SPANS: Final = (7, 30, 90, 365)
"""Days that can be looked at; what is kept reaches further."""
USUAL: Final = 30

Number = int | None
"""None: nobody measured it."""


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a chart."""

    name: str
    label: Any
    of: Callable[[Counts], Number]
    """Makes its number of what was counted."""


@dataclass(frozen=True, slots=True)
class Chart:
    """Numbers by day, or by hour, in UTC."""

    name: str
    title: Any
    unit: str
    labels: Sequence[Any]
    names: Sequence[str]
    days: Sequence[datetime]
    rows: Sequence[Sequence[Number]]
    """By day, in the order of the names."""
    adds_up: bool = False
    """Its numbers are of what happened, so that their sum says something."""
    step: timedelta = DAY

    @property
    def totals(self) -> list[int]:
        """The sum of each line."""
        return [sum(row[column] or 0 for row in self.rows) for column in range(len(self.names))]

    @property
    def told(self) -> list[tuple[datetime, Sequence[Number]]]:
        """Days with anything to tell, the newest first."""
        return [(day, row) for day, row in zip(self.days, self.rows, strict=True) if any(row)][::-1]


def _counted(what: Counted) -> Callable[[Counts], int]:
    return lambda counts: counts.get(what, 0)


def _signed_in(result: str) -> Callable[[Counts], int]:
    def of(counts: Counts) -> int:
        return sum(count for name, count in counts.items() if name.startswith("sign_in:") and name.endswith(result))

    return of


COUNTED: Final[Mapping[str, tuple[Any, Sequence[Series]]]] = {
    "incoming": (
        _("Incoming mail"),
        (
            Series("delivered", _("Delivered"), _counted(Counted.DELIVERED)),
            Series("spam", _("Of those spam"), _counted(Counted.SPAM)),
            Series("unknown", _("Address unknown"), _counted(Counted.UNKNOWN)),
            Series("full", _("Mailbox full"), _counted(Counted.FULL)),
            Series("refused", _("Refused otherwise"), _counted(Counted.REFUSED)),
            Series("deferred", _("To come again"), _counted(Counted.DEFERRED)),
        ),
    ),
    "outgoing": (
        _("Outgoing mail"),
        (
            Series("queued", _("Taken over"), _counted(Counted.QUEUED)),
            Series("sent", _("Sent"), _counted(Counted.SENT)),
            Series("failed", _("Failed"), _counted(Counted.FAILED)),
            Series("held", _("Held"), _counted(Counted.HELD)),
            Series("complained", _("Reported as spam"), _counted(Counted.COMPLAINED)),
        ),
    ),
    "sign-ins": (
        _("Sign-ins of mail programs"),
        (
            Series("accepted", _("Accepted"), _signed_in(":right")),
            Series("refused", _("Refused"), _signed_in(":wrong")),
        ),
    ),
}
STORAGE: Final = "storage"
NAMES: Final = (*COUNTED, STORAGE)


def charts_of(mail: MailServices, tenant_id: TenantId, days: int, now: datetime) -> list[Chart]:
    """Return every chart of the last days, today the last of them; two round trips to the mail plane."""
    span = span_until(now, days)
    sums = mail.rollups.days(tenant_id, span[0])
    return [
        *(_of_counts(name, sums, span) for name in COUNTED),
        of_stored(mail.rollups.stored(tenant_id, span[0]), span),
    ]


def _of_counts(name: str, sums: Sequence[Sum], span: Sequence[datetime]) -> Chart:
    title, series = COUNTED[name]
    by_day = {each.at: each.counts for each in sums}
    rows = [[one.of(by_day.get(day, {})) for one in series] for day in span]
    return made(name, title, "count", series, span, rows, adds_up=True)


def made(
    name: str,
    title: Any,
    unit: str,
    series: Sequence[Series],
    span: Sequence[datetime],
    rows: Sequence[Sequence[Number]],
    *,
    adds_up: bool,
) -> Chart:
    """Return the chart of these series."""
    step = span[1] - span[0] if len(span) > 1 else DAY
    labels, names = [one.label for one in series], [one.name for one in series]
    return Chart(name, title, unit, labels, names, span, rows, adds_up, step)


def span_until(now: datetime, steps: int, step: timedelta = DAY) -> list[datetime]:
    """Return the beginnings of the last days, or hours, this one the last of them."""
    last = now.replace(minute=0, second=0, microsecond=0)
    last = last.replace(hour=0) if step == DAY else last
    return [last - step * back for back in reversed(range(steps))]


def of_stored(stored: Sequence[Stored], span: Sequence[datetime]) -> Chart:
    """Return the chart of what mail took; a day on which nobody measured is a gap."""
    by_day: dict[datetime, list[Number]] = {each.day: [each.hot_bytes, each.cold_bytes] for each in stored}
    rows = [by_day.get(day, [None, None]) for day in span]
    return Chart(STORAGE, _("Storage"), "bytes", ["SSD", "HDD"], ["ssd_bytes", "hdd_bytes"], span, rows)
