"""Calendars against two other opinions: cron's own bit tests, one minute after the other, and dateutil's rules."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from dateutil import rrule
from hypothesis import given, settings
from hypothesis import strategies as st
from scheduling_oracle import MINUTE, cron_matches

from runner.scheduling.calendars import TimesCalendar
from runner.scheduling.expressions import cron_calendar

START, END = datetime(2027, 1, 1), datetime(2033, 1, 1)
WEEKDAYS = (rrule.MO, rrule.TU, rrule.WE, rrule.TH, rrule.FR)


def field(low: int, high: int, names: tuple[str, ...] = ()) -> st.SearchStrategy[str]:
    numbers = st.integers(low, high)
    spans = st.tuples(numbers, numbers).map(sorted).map(lambda pair: f"{pair[0]}-{pair[1]}")
    steps = st.sampled_from(("", "/1", "/2", "/3", "/7"))
    pieces = st.one_of(
        numbers.map(str),
        st.tuples(spans, steps).map("".join),
        steps.map(lambda step: "*" + step),
        *([st.sampled_from(names)] if names else []),
    )
    return st.one_of(st.just("*"), st.lists(pieces, min_size=1, max_size=3).map(",".join))


@settings(deadline=None, max_examples=80)
@given(
    days=st.tuples(field(1, 28), field(1, 12, ("feb", "SEP")), field(0, 7, ("sun", "Fri"))),
    time=st.tuples(field(0, 59), field(0, 23)),
    after=st.datetimes(START, END),
)
def test_no_minute_is_missed_and_none_invented(days, time, after) -> None:
    text = " ".join((*time, *days))
    calendar, matches = cron_calendar(text), cron_matches(text)

    found = calendar.next_local(after)

    assert found is not None
    assert found > after
    assert found == found.replace(second=0, microsecond=0)
    assert matches(found)
    minute = after.replace(second=0, microsecond=0) + MINUTE
    for _ in range(2000):
        if minute >= found:
            return
        assert not matches(minute)
        minute += MINUTE
    # The rest of a long wait is looked at in leaps that miss no field's period.
    while minute < found:
        assert not matches(minute)
        minute += timedelta(minutes=1009)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("0 0 * * 1", {"byweekday": rrule.MO}),
        ("0 0 31 * *", {"bymonthday": 31}),
        ("0 0 29 2 *", {"bymonth": 2, "bymonthday": 29}),
        ("0 0 */10 * sun", {"bymonthday": (1, 11, 21, 31), "byweekday": rrule.SU}),
        ("cron(0 0 L * ? *)", {"bymonthday": -1}),
        ("cron(0 0 L-3 * ? *)", {"bymonthday": -4}),
        ("cron(0 0 L-1,1 * ? *)", {"bymonthday": (1, -2)}),
        ("cron(0 0 LW * ? *)", {"byweekday": WEEKDAYS, "bysetpos": -1, "freq": rrule.MONTHLY}),
        ("cron(0 0 1W * ? *)", {"byweekday": WEEKDAYS, "bysetpos": 1, "freq": rrule.MONTHLY}),
        ("cron(0 0 ? * FRIL *)", {"byweekday": rrule.FR(-1), "freq": rrule.MONTHLY}),
        ("cron(0 0 ? * 2#1 *)", {"byweekday": rrule.MO(1), "freq": rrule.MONTHLY}),
        ("cron(0 0 ? * SAT#5 *)", {"byweekday": rrule.SA(5), "freq": rrule.MONTHLY}),
        ("cron(0 0 ? 1/3 2-6 *)", {"byweekday": WEEKDAYS, "bymonth": (1, 4, 7, 10)}),
    ],
)
def test_days_as_dateutil_has_them(text: str, rule: dict) -> None:
    expected = list(rrule.rrule(**({"freq": rrule.DAILY, "dtstart": START, "until": END} | rule)))
    calendar = cron_calendar(text)
    found = []
    local = calendar.next_local(START - MINUTE)
    while local is not None and local <= END:
        found.append(local)
        local = calendar.next_local(local)
    assert len(found) >= 1
    assert found == expected


@settings(deadline=None, max_examples=80)
@given(day=st.integers(1, 31), month=st.integers(1, 12), year=st.integers(1970, 2199))
def test_the_nearest_weekday_lies_in_its_month(day: int, month: int, year: int) -> None:
    calendar = cron_calendar(f"cron(0 0 {day}W * ? *)")
    try:
        wanted = datetime(year, month, day)
    except ValueError:
        return
    found = calendar.next_local(wanted.replace(day=1) - MINUTE)
    assert found is not None
    candidates = [wanted + timedelta(days=days) for days in range(-2, 3)]
    workdays = [each for each in candidates if each.weekday() < 5 and each.month == month]
    assert found == min(workdays, key=lambda each: abs(each - wanted))


def test_it_ends_where_calendars_end() -> None:
    assert cron_calendar("0 0 1 1 *").next_local(datetime(9999, 12, 31)) is None
    assert cron_calendar("cron(0 0 1 1 ? *)").next_local(datetime(2199, 6, 1)) is None


def test_times_of_day_and_times_that_come_once() -> None:
    calendar = TimesCalendar([(6, 0), (18, 30)], [datetime(2027, 1, 1, 12, 0), datetime(2026, 1, 1, 0, 0)])
    found = [datetime(2027, 1, 1, 5, 0)]
    for _ in range(4):
        found.append(calendar.next_local(found[-1]))
    assert [f"{each:%d %H:%M}" for each in found[1:]] == ["01 06:00", "01 12:00", "01 18:30", "02 06:00"]
    assert TimesCalendar([], [datetime(2027, 1, 1)]).next_local(datetime(2027, 1, 1)) is None
