"""`date`, `currentdate` and `index` (RFC 5260), example by example."""

from __future__ import annotations

import datetime as dt

import pytest

from mailcore.errors import ScriptInvalid
from mailcore.sieve import compile_script
from tests.unit.sieve.scripts import NOW, holds, message, told

MAIL = message(
    "Received: from a by b; Sun, 25 Feb 2007 14:00:00 +0000",
    "Received: from c by d; Mon, 26 Feb 2007 09:30:00 -0500",
    "From: boss@example.com",
    "To: one@example.org",
    "To: two@example.org, three@example.org",
    "Cc: four@example.org",
    "Date: Fri, 1 Aug 2003 09:13:05 -0700",
    "X-Bad: Thu, 32 Jan 2004 10:00:00 +0000",
    "X-Leap: Sun, 29 Feb 2004 23:59:60 +0000",
)
REQUIRE = "date relational index comparator-i;ascii-numeric"


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ("year", "2003"),
        ("month", "08"),
        ("day", "01"),
        ("date", "2003-08-01"),
        ("julian", "52852"),
        ("hour", "09"),
        ("minute", "13"),
        ("second", "05"),
        ("time", "09:13:05"),
        ("iso8601", "2003-08-01T09:13:05-07:00"),
        ("std11", "Fri, 1 Aug 2003 09:13:05 -0700"),
        ("zone", "-0700"),
        ("weekday", "5"),
        ("WEEKDAY", "5"),
    ],
)
def test_parts(part: str, expected: str) -> None:
    """§4.2."""
    assert holds(f'date :originalzone "date" "{part}" "{expected}"', MAIL, require=REQUIRE)


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        (':zone "+0000"', "2003-08-01T16:13:05Z"),
        (':zone "-0000"', "2003-08-01T16:13:05Z"),
        (':zone "+0530"', "2003-08-01T21:43:05+05:30"),
        (':zone "-1000"', "2003-08-01T06:13:05-10:00"),
        ("", "2003-08-01T17:13:05+01:00"),
    ],
)
def test_zones(zone: str, expected: str) -> None:
    """§4.1: the user's own if none is asked for."""
    assert holds(f'date {zone} "date" "iso8601" "{expected}"', MAIL, require=REQUIRE)


def test_office_hours_of_the_sender() -> None:
    """§4.4."""
    script = """require ["date", "relational", "fileinto"];
        if allof (header :is "from" "boss@example.com",
                  date :value "ge" :originalzone "date" "hour" "09",
                  date :value "lt" :originalzone "date" "hour" "17") { fileinto "urgent"; }"""
    assert told(script, MAIL) == ["fileinto urgent"]
    assert told(script, message("From: boss@example.com", "Date: Fri, 1 Aug 2003 17:00:00 -0700")) == ["implicit keep"]


def test_weekend_by_the_first_received() -> None:
    """§4.4: the date behind the semicolon."""
    script = """require ["date", "relational", "fileinto"];
        if anyof (date :is "received" "weekday" "0", date :is "received" "weekday" "6") { fileinto "weekend"; }"""
    assert told(script, MAIL) == ["fileinto weekend"]


@pytest.mark.parametrize("field", ["x-none", "from", "x-bad"])
def test_no_date_matches_nothing_and_counts_nothing(field: str) -> None:
    """§4."""
    assert not holds(f'date :matches "{field}" "year" "*"', MAIL, require=REQUIRE)
    assert holds(f'date :count "eq" :comparator "i;ascii-numeric" "{field}" "year" "0"', MAIL, require=REQUIRE)


def test_a_date_counts_for_one() -> None:
    """§4."""
    for field in ("date", "received", "x-leap"):
        assert holds(f'date :count "eq" :comparator "i;ascii-numeric" "{field}" "year" "1"', MAIL, require=REQUIRE)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (dt.datetime(2026, 3, 15, 12, tzinfo=dt.UTC), ["redirect pager@example.com"]),
        (dt.datetime(2026, 3, 14, 12, tzinfo=dt.UTC), ["redirect pager@example.com"]),
        (dt.datetime(2026, 3, 16, 8, 59, tzinfo=dt.UTC), ["redirect pager@example.com"]),
        (dt.datetime(2026, 3, 16, 9, 0, tzinfo=dt.UTC), ["implicit keep"]),
        (dt.datetime(2026, 3, 16, 16, 59, tzinfo=dt.UTC), ["implicit keep"]),
        (dt.datetime(2026, 3, 16, 17, 0, tzinfo=dt.UTC), ["redirect pager@example.com"]),
    ],
)
def test_pager_outside_of_office_hours(now: dt.datetime, expected: list[str]) -> None:
    """§5.1."""
    script = """require ["date", "relational"];
        if anyof (currentdate :is "weekday" "0", currentdate :is "weekday" "6",
                  currentdate :value "lt" "hour" "09", currentdate :value "ge" "hour" "17")
        { redirect "pager@example.com"; }"""
    assert told(script, now=now) == expected


@pytest.mark.parametrize(("day", "away"), [(29, False), (30, True), (37, True), (38, False)])
def test_vacation_in_a_week_to_come(day: int, away: bool) -> None:
    """§5.1."""
    script = """require ["date", "relational", "vacation"];
        if allof (currentdate :value "ge" "date" "2007-06-30", currentdate :value "le" "date" "2007-07-07")
        { vacation :days 7 "away"; }"""
    now = dt.datetime(2007, 6, 1, tzinfo=dt.UTC) + dt.timedelta(days=day - 1)
    assert told(script, now=now) == ["vacation away", "implicit keep"][not away :]


def test_mailbox_of_the_month() -> None:
    """§5.1."""
    script = """require ["date", "variables", "fileinto"];
        if currentdate :matches "month" "*" { set "month" "${1}"; }
        if currentdate :matches "year"  "*" { set "year"  "${1}"; }
        fileinto "${month}-${year}";"""
    assert told(script) == ["fileinto 03-2026"]


def test_now_is_in_the_users_zone() -> None:
    assert NOW.hour == 15
    assert holds('currentdate "iso8601" "2026-03-14T15:09:26+01:00"', require="date")
    assert holds('currentdate :zone "-0500" "time" "09:09:26"', require="date")
    assert holds('currentdate "zone" "+0100"', require="date")


def test_cutoff_by_the_second_received() -> None:
    """§6.1."""
    script = """require ["date", "relational", "index"];
        if date :value "gt" :index 2 :zone "-0500" "received" "iso8601" "2007-02-26T09:00:00-05:00"
        { redirect "aftercutoff@example.org"; }"""
    assert told(script, MAIL) == ["redirect aftercutoff@example.org"]


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ('header :index 1 :contains "received" "from a"', True),
        ('header :index 1 :contains "received" "from c"', False),
        ('header :index 2 :contains "received" "from c"', True),
        ('header :index 1 :last :contains "received" "from c"', True),
        ('header :last :index 2 :contains "received" "from a"', True),
        ('header :index 3 :contains "received" ""', False),
        ('header :index 3 :last :contains "received" ""', False),
        ('address :index 2 "to" "three@example.org"', True),
        ('address :index 1 "to" "two@example.org"', False),
        ('address :index 3 ["to", "cc"] "four@example.org"', True),
        ('address :index 1 :last ["to", "cc"] "four@example.org"', True),
        ('address :index 1 ["cc", "to"] "four@example.org"', True),
        ('date :index 1 :last :originalzone "received" "hour" "09"', True),
    ],
)
def test_index_and_last(test: str, expected: bool) -> None:
    """§6: fields are counted, not addresses, and through all the names in their order."""
    assert holds(test, MAIL, require=REQUIRE) is expected


@pytest.mark.parametrize(
    "test",
    [
        'date :zone "+0000" :originalzone "date" "hour" "1"',
        'date :zone "CET" "date" "hour" "1"',
        'date :zone "+2500" "date" "hour" "1"',
        'date "date" "century" "20"',
        'currentdate :originalzone "hour" "1"',
        'header :last "a" "b"',
        'header :index 0 "a" "b"',
        'date "not a name" "hour" "1"',
    ],
)
def test_what_is_refused_when_the_script_is_saved(test: str) -> None:
    """§4.1, §6."""
    with pytest.raises(ScriptInvalid):
        compile_script(f'require ["date", "index"]; if {test} {{ keep; }}')
