"""The Date field (RFC 5322 §3.3, obsolete zones §4.3) as an instant and as a calendar day."""

from __future__ import annotations

import datetime as dt
import re
from email.utils import parsedate_tz

from mailcore.message.headers import find_first

_MONTHS = {
    name: number
    for number, name in enumerate(
        (b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"), 1
    )
}
_USUAL = re.compile(
    rb"(?:[A-Za-z]{3},?[ ]{0,9})?([0-9]{1,2})[ ]([A-Za-z]{3})[ ]([0-9]{4})[ ]"
    rb"([0-9]{2}):([0-9]{2})(?::([0-9]{2}))?[ ]([+-])([0-9]{2})([0-9]{2})(?![0-9])"
)
_EPOCH_DAY = dt.date(1970, 1, 1).toordinal()
_LONGEST = 200


def header_date(raw_header: bytes) -> int | None:
    """Seconds since 1970 UTC of the Date field, years 1 to 9999; None if it is absent or makes no sense."""
    found = _read(raw_header)
    return found[1] if found else None


def header_day(raw_header: bytes) -> dt.date | None:
    """The day as the Date field writes it, whatever its time and zone (SENTON, RFC 9051 §6.4.4)."""
    found = _read(raw_header)
    return found[0] if found else None


def parse_date(value: bytes) -> tuple[dt.date, int] | None:
    """The day as written and the instant in seconds since 1970 UTC."""
    value = value[:_LONGEST].strip()
    match = _USUAL.match(value)
    if match:
        day, month, year, hour, minute, second, sign, zone_hours, zone_minutes = match.groups()
        zone = int(zone_hours) * 3600 + int(zone_minutes) * 60
        return _instant(
            (int(year), _MONTHS.get(month.lower(), 0), int(day)),
            (int(hour), int(minute), int(second or 0)),
            -zone if sign == b"-" else zone,
        )
    try:
        odd = parsedate_tz(value.decode("ascii", "replace"))
    except (ValueError, IndexError, TypeError, OverflowError):
        return None
    return _instant(odd[:3], odd[3:6], odd[9] or 0) if odd else None


def parse_datetime(value: bytes) -> dt.datetime | None:
    """The date with the zone it was written in; None if it makes no sense."""
    found = parse_date(value)
    if found is None:
        return None
    try:
        zone_s = (parsedate_tz(value[:_LONGEST].decode("ascii", "replace")) or _NO_ZONE)[9] or 0
        return dt.datetime.fromtimestamp(found[1], dt.timezone(dt.timedelta(seconds=zone_s)))
    except (ValueError, IndexError, TypeError, OverflowError, OSError):
        return None


_NO_ZONE = (0,) * 10


def _read(raw_header: bytes) -> tuple[dt.date, int] | None:
    value = find_first(raw_header, b"date")
    return parse_date(value) if value else None


def _instant(day: tuple[int, int, int], time: tuple[int, int, int], zone_s: int) -> tuple[dt.date, int] | None:
    """The two forms of one date; None if there is no such day or time."""
    hour, minute, second = time
    if not (0 <= hour < 24 and 0 <= minute < 60 and 0 <= second <= 60 and abs(zone_s) < 100 * 3600):
        return None
    try:
        date = dt.date(*day)
    except (ValueError, OverflowError):
        return None
    return date, (date.toordinal() - _EPOCH_DAY) * 86400 + hour * 3600 + minute * 60 + second - zone_s
