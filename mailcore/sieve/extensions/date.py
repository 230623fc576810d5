"""`date` and `currentdate` (RFC 5260 §4, §5)."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Sequence

from mailcore.message.dates import parse_datetime
from mailcore.message.headers import unfold
from mailcore.sieve.call import Call, text_value
from mailcore.sieve.forms import MATCHING, Extension, Form, Kind, TagForm, Test
from mailcore.sieve.run import Run, Text

_ZONE = re.compile(r"([+-])([01][0-9]|2[0-3])([0-5][0-9])")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_JULIAN_DAY_0 = dt.date(1858, 11, 17).toordinal()

Shift = Callable[[Run, dt.datetime], "dt.datetime | None"]


def _zone_of(moment: dt.datetime) -> str:
    """Its offset as mail writes it; nothing is always "+0000"."""
    minutes = int((moment.utcoffset() or dt.timedelta()).total_seconds() // 60)
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}{abs(minutes) % 60:02}"


def _iso8601(moment: dt.datetime) -> str:
    zone = _zone_of(moment)
    return f"{moment:%Y-%m-%dT%H:%M:%S}".rjust(19, "0") + ("Z" if zone == "+0000" else f"{zone[:3]}:{zone[3:]}")


def _std11(moment: dt.datetime) -> str:
    day, month = _DAYS[moment.weekday()], _MONTHS[moment.month - 1]
    return f"{day}, {moment.day} {month} {moment.year:04} {moment:%H:%M:%S} {_zone_of(moment)}"


_PARTS: dict[str, Callable[[dt.datetime], str]] = {
    "year": lambda moment: f"{moment.year:04}",
    "month": lambda moment: f"{moment.month:02}",
    "day": lambda moment: f"{moment.day:02}",
    "date": lambda moment: moment.date().isoformat(),
    "julian": lambda moment: str(moment.date().toordinal() - _JULIAN_DAY_0),
    "hour": lambda moment: f"{moment.hour:02}",
    "minute": lambda moment: f"{moment.minute:02}",
    "second": lambda moment: f"{moment.second:02}",
    "time": lambda moment: f"{moment:%H:%M:%S}",
    "iso8601": _iso8601,
    "std11": _std11,
    "zone": _zone_of,
    "weekday": lambda moment: str((moment.weekday() + 1) % 7),
}


def _date(call: Call) -> Test:
    """A part of the date in a field matches; the first such field, if not said otherwise."""
    selection = call.selection() or slice(0, 1)
    names, part, match, shift = call.field_names(0), _part(call, 1), call.match(2), _shift(call)

    def values(run: Run) -> Sequence[str]:
        run.spend(5)
        fields = [value for each in names(run) for value in run.headers.values(each)[selection]]
        moment = _moment(fields[0]) if fields else None
        return part(run, None if moment is None else shift(run, moment))

    return lambda run: match(run, values(run))


def _currentdate(call: Call) -> Test:
    """A part of now matches; now is the same all through a run."""
    part, match, shift = _part(call, 0), call.match(1), _shift(call)

    def values(run: Run) -> Sequence[str]:
        run.spend(2)
        return part(run, shift(run, run.environment.now))

    return lambda run: match(run, values(run))


def _moment(value: bytes) -> dt.datetime | None:
    """The date that a field is, or that stands behind its last semicolon."""
    return parse_datetime(unfold(value).rpartition(b";")[2])


def _part(call: Call, index: int) -> Callable[[Run, dt.datetime | None], Sequence[str]]:
    """The part asked for, as a function of the date; of none there is nothing."""
    name = call.text(index)
    if isinstance(name, str) and name.lower() not in _PARTS:
        raise call.flaw(f'"{name[:100]}" is no part of a date: {", ".join(_PARTS)} are.')

    def part(run: Run, moment: dt.datetime | None) -> Sequence[str]:
        take = _PARTS.get(text_value(name, run).lower())
        return () if take is None or moment is None else (take(moment),)

    return part


def _shift(call: Call) -> Shift:
    """Bring a date to the zone asked for; the user's own if none is (RFC 5260 §4.1)."""
    if call.tag("zone") == "originalzone":
        return lambda _, moment: moment
    zone: Text | None = call.tag_text("zone")
    if isinstance(zone, str) and not _ZONE.fullmatch(zone):
        raise call.flaw(f'"{zone[:100]}" is no time zone: write it like "+0100".')

    def shift(run: Run, moment: dt.datetime) -> dt.datetime | None:
        told = None if zone is None else _ZONE.fullmatch(text_value(zone, run))
        if zone is not None and told is None:
            return None
        to = run.environment.now.tzinfo if told is None else _offset(*told.groups())
        try:
            return moment.astimezone(to)
        except (OverflowError, ValueError):  # before the year 1 or after 9999
            return None

    return shift


def _offset(sign: str, hours: str, minutes: str) -> dt.timezone:
    offset = dt.timedelta(hours=int(hours), minutes=int(minutes))
    return dt.timezone(-offset if sign == "-" else offset)


_ZONES = (TagForm("zone", Kind.STRING), TagForm("originalzone", group="zone"))

EXTENSION = Extension(
    "date",
    forms=(
        Form("date", _date, (Kind.STRING, Kind.STRING, Kind.STRINGS), tags=_ZONES, groups=MATCHING, is_test=True),
        Form("currentdate", _currentdate, (Kind.STRING, Kind.STRINGS), tags=_ZONES[:1], groups=MATCHING, is_test=True),
    ),
)
