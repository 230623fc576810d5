"""When outgoing mail is held: rates with a least number, and the smallest scope that explains them."""

from __future__ import annotations

import pytest
from bson import ObjectId
from hypothesis import given
from hypothesis import strategies as st

from mailcore.model.ids import UserId
from mailcore.model.limits import DAY_S, PAYING, YOUNG, ReputationLimits, SendingLimits, limits_of_age
from mailcore.model.reputation import Counts, HoldCause, Rates, cause_of, judge, together

LIMITS = ReputationLimits()
CASES = [
    pytest.param(Counts(sent=80, bounced=20), HoldCause.BOUNCES, id="every fifth bounces"),
    pytest.param(Counts(sent=5, bounced=19), None, id="too few bounces to tell"),
    pytest.param(Counts(sent=1000, bounced=100), None, id="a usual list"),
    pytest.param(Counts(sent=1000, complained=5), HoldCause.COMPLAINTS, id="one in two hundred complains"),
    pytest.param(Counts(sent=10, complained=4), None, id="too few complaints to tell"),
    pytest.param(Counts(sent=10_000, complained=20), None, id="two in a thousand complain"),
    pytest.param(Counts(complained=5), HoldCause.COMPLAINTS, id="complaints of what was sent before"),
    pytest.param(Counts(sent=50, suppressed=30), HoldCause.SUPPRESSED, id="goes on writing to dead addresses"),
    pytest.param(Counts(sent=5000, suppressed=30), None, id="some dead addresses among many"),
    pytest.param(Counts(sent=1, burst=1), HoldCause.BURST, id="a burst"),
    pytest.param(Counts(limited=1000), None, id="a limit was reached, which is enough"),
    pytest.param(Counts(), None, id="nothing"),
]


@pytest.mark.parametrize(("counts", "expected"), CASES)
def test_cause(counts: Counts, expected: HoldCause | None) -> None:
    assert cause_of(counts, LIMITS) is expected


def _user() -> UserId:
    return UserId(ObjectId())


def _same(counts: Counts) -> Rates:
    return Rates(counts, counts)


def test_one_user_who_explains_it_is_held_alone() -> None:
    bad, good = _user(), _user()
    users = {bad: _same(Counts(sent=10, bounced=90)), good: _same(Counts(sent=500, bounced=5))}
    assert judge(users, users, LIMITS) == {bad: (HoldCause.BOUNCES, Counts(sent=10, bounced=90))}


def test_of_many_who_do_a_little_each_the_tenant_is_held() -> None:
    users = {_user(): _same(Counts(sent=10, bounced=10)) for _ in range(4)}
    assert judge(users, users, LIMITS) == {None: (HoldCause.BOUNCES, Counts(sent=40, bounced=40))}


def test_a_slow_drip_shows_in_the_week() -> None:
    user = _user()
    users = {user: Rates(Counts(sent=10, bounced=5), Counts(sent=70, bounced=35))}
    assert judge(users, users, LIMITS) == {user: (HoldCause.BOUNCES, Counts(sent=70, bounced=35))}


def test_of_several_a_tenant_that_had_a_fresh_start_is_judged_by_what_came_since() -> None:
    own = {_user(): _same(Counts(sent=10, bounced=10)) for _ in range(4)}
    assert judge(own, {}, LIMITS) == {}


_counts = st.builds(Counts, *[st.integers(0, 50)] * 6)


@given(st.lists(st.builds(Rates, _counts, _counts), max_size=5))
def test_who_is_left_gives_no_cause(rates: list[Rates]) -> None:
    """Nobody is held without cause; and once those who are held are taken out, nothing is left to hold."""
    users = {_user(): each for each in rates}
    held = judge(users, users, LIMITS)
    for user_id, each in users.items():
        own = [cause_of(each.day, LIMITS), cause_of(each.week, LIMITS)]
        assert (user_id in held) == any(own)
    rest = together(other for user_id, other in users.items() if user_id not in held)
    assert (None in held) == any((cause_of(rest.day, LIMITS), cause_of(rest.week, LIMITS)))


def test_who_does_not_ask_for_a_least_number_holds_over_one_wrong_address() -> None:
    """Negative control of the cases above."""
    assert cause_of(Counts(sent=5, bounced=1), ReputationLimits(bounces=0)) is HoldCause.BOUNCES


PLATFORM = SendingLimits()


@pytest.mark.parametrize("pays", [None, True])
def test_limits_rise_with_age(pays: bool | None) -> None:
    ages = [0.0, DAY_S, 7 * DAY_S, 30 * DAY_S]
    found = [limits_of_age(PLATFORM, age, pays) for age in ages]
    hours = [one.tenant_messages_per_hour for one in found]
    days = [one.tenant_recipients_per_day for one in found]
    assert hours == sorted(set(hours))
    assert days == sorted(set(days))
    assert found[-1] == PLATFORM


def test_who_pays_may_send_more_and_who_pays_nothing_stays_small() -> None:
    for young, paying in zip(YOUNG, PAYING, strict=True):
        assert young.younger_than_s == paying.younger_than_s
        assert young.messages_per_hour < paying.messages_per_hour
        assert young.recipients_per_day < paying.recipients_per_day
    old = limits_of_age(PLATFORM, 1000 * DAY_S, pays=False)
    assert old.tenant_recipients_per_day == YOUNG[1].recipients_per_day


def test_age_never_allows_more_than_the_platform() -> None:
    small = SendingLimits(tenant_messages_per_hour=3, tenant_recipients_per_day=0)
    found = limits_of_age(small, 0.0, pays=True)
    assert (found.tenant_messages_per_hour, found.tenant_recipients_per_day) == (3, PAYING[0].recipients_per_day)
