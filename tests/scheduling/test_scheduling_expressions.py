"""Schedule expressions: what each kind means, what is kept of it, and what is refused with what to write instead."""

from __future__ import annotations

from datetime import datetime
from itertools import islice

import pytest

from runner.scheduling.expressions import cron_calendar, parse_cron, parse_rate_expression

THE_START = datetime(2026, 11, 23, 12, 0)  # a Monday


def coming(text: str, count: int, after: datetime = THE_START) -> list[str]:
    def times():
        local = cron_calendar(text).next_local(after)
        while local is not None:
            yield f"{local:%a %Y-%m-%d %H:%M}"
            local = cron_calendar(text).next_local(local)

    return list(islice(times(), count))


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("0 2 * * *", "0 2 * * *"),
        ("  0\t2 *  * MON-Fri ", "0 2 * * mon-fri"),
        ("*/15 8-18/5 1,15 JAN-mar *", "*/15 8-18/5 1,15 jan-mar *"),
        ("@hourly", "0 * * * *"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@weekly", "0 0 * * 0"),
        ("@monthly", "0 0 1 * *"),
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
        ("cron(0 12 ? * sun,WED *)", "cron(0 12 ? * SUN,WED *)"),
        ("cron( 0/30  * 1 jan ? * )", "cron(0/30 * 1 JAN ? *)"),
    ],
)
def test_what_is_kept_says_the_same(text: str, kept: str) -> None:
    assert parse_cron(text) == kept
    assert parse_cron(kept) == kept
    assert coming(text, 20) == coming(kept, 20)


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("0 2 * * 0", ["Sun 2026-11-29 02:00", "Sun 2026-12-06 02:00"]),
        ("0 2 * * 7", ["Sun 2026-11-29 02:00", "Sun 2026-12-06 02:00"]),
        ("0 2 * * 1", ["Mon 2026-11-30 02:00", "Mon 2026-12-07 02:00"]),
        ("0 2 * * sat", ["Sat 2026-11-28 02:00", "Sat 2026-12-05 02:00"]),
        ("0 2 * * 5-7", ["Fri 2026-11-27 02:00", "Sat 2026-11-28 02:00", "Sun 2026-11-29 02:00"]),
        ("0 2 * * */3", ["Wed 2026-11-25 02:00", "Sat 2026-11-28 02:00", "Sun 2026-11-29 02:00"]),
        ("10-20/5,50 3 * * *", ["Tue 2026-11-24 03:10", "Tue 2026-11-24 03:15", "Tue 2026-11-24 03:20"]),
        ("0 0 29 2 *", ["Tue 2028-02-29 00:00", "Sun 2032-02-29 00:00"]),
        ("0 0 31 * *", ["Thu 2026-12-31 00:00", "Sun 2027-01-31 00:00", "Wed 2027-03-31 00:00"]),
        # Both days restricted: either fits.
        (
            "30 4 1,15 * 5",
            ["Fri 2026-11-27 04:30", "Tue 2026-12-01 04:30", "Fri 2026-12-04 04:30", "Fri 2026-12-11 04:30"],
        ),
        ("0 0 13 * fri", ["Fri 2026-11-27 00:00", "Fri 2026-12-04 00:00", "Fri 2026-12-11 00:00"]),
        ("0 0 1-31 * mon", ["Tue 2026-11-24 00:00", "Wed 2026-11-25 00:00"]),
        # A field that starts with * counts as unrestricted: both have to fit, and the step still counts.
        ("0 0 */2 * mon", ["Mon 2026-12-07 00:00", "Mon 2026-12-21 00:00", "Mon 2027-01-11 00:00"]),
        ("0 0 13 * */5", ["Sun 2026-12-13 00:00", "Sun 2027-06-13 00:00", "Fri 2027-08-13 00:00"]),
        ("0 0 *,13 * mon", ["Mon 2026-11-30 00:00", "Mon 2026-12-07 00:00"]),
    ],
)
def test_five_fields_as_cron_reads_them(text: str, times: list[str]) -> None:
    assert coming(text, len(times)) == times


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("cron(0 12 ? * SUN,WED *)", ["Wed 2026-11-25 12:00", "Sun 2026-11-29 12:00"]),
        ("cron(0 12 ? * 1 *)", ["Sun 2026-11-29 12:00", "Sun 2026-12-06 12:00"]),
        ("cron(0 18 ? * MON-FRI *)", ["Mon 2026-11-23 18:00", "Tue 2026-11-24 18:00"]),
        ("cron(0 18 ? * 2-6 *)", ["Mon 2026-11-23 18:00", "Tue 2026-11-24 18:00"]),
        ("cron(1/20 8 * * ? *)", ["Tue 2026-11-24 08:01", "Tue 2026-11-24 08:21", "Tue 2026-11-24 08:41"]),
        ("cron(0 8 1/10 * ? *)", ["Tue 2026-12-01 08:00", "Fri 2026-12-11 08:00", "Mon 2026-12-21 08:00"]),
        ("cron(0 8 L * ? *)", ["Mon 2026-11-30 08:00", "Thu 2026-12-31 08:00", "Sun 2027-01-31 08:00"]),
        ("cron(0 8 L-3 * ? *)", ["Fri 2026-11-27 08:00", "Mon 2026-12-28 08:00", "Thu 2027-01-28 08:00"]),
        ("cron(0 8 L-30 * ? *)", ["Tue 2026-12-01 08:00", "Fri 2027-01-01 08:00", "Mon 2027-03-01 08:00"]),
        ("cron(0 8 LW * ? *)", ["Mon 2026-11-30 08:00", "Thu 2026-12-31 08:00", "Fri 2027-01-29 08:00"]),
        # 2027-05-15 is a Saturday, 2027-08-15 a Sunday; 2027-05-01 a Saturday; 2027-01-31 a Sunday.
        ("cron(0 8 15W 5,8 ? *)", ["Fri 2027-05-14 08:00", "Mon 2027-08-16 08:00"]),
        ("cron(0 8 1W 5 ? 2027)", ["Mon 2027-05-03 08:00"]),
        ("cron(0 8 31W * ? *)", ["Thu 2026-12-31 08:00", "Fri 2027-01-29 08:00", "Wed 2027-03-31 08:00"]),
        ("cron(0 8 ? * L *)", ["Sat 2026-11-28 08:00", "Sat 2026-12-05 08:00"]),
        ("cron(0 8 ? * 5L *)", ["Thu 2026-11-26 08:00", "Thu 2026-12-31 08:00"]),
        ("cron(0 8 ? * FRIL *)", ["Fri 2026-11-27 08:00", "Fri 2026-12-25 08:00"]),
        ("cron(0 8 ? * 6#3 *)", ["Fri 2026-12-18 08:00", "Fri 2027-01-15 08:00"]),
        ("cron(0 8 ? * MON#5 *)", ["Mon 2026-11-30 08:00", "Mon 2027-03-29 08:00"]),
        ("cron(0 8 1,L 2 ? *)", ["Mon 2027-02-01 08:00", "Sun 2027-02-28 08:00"]),
        (
            "cron(0 0 1 1 ? 2028-2030)",
            ["Sat 2028-01-01 00:00", "Mon 2029-01-01 00:00", "Tue 2030-01-01 00:00"],
        ),
        ("cron(0 0 1 1 ? 2020,2150/49)", ["Thu 2150-01-01 00:00", "Tue 2199-01-01 00:00"]),
        ("cron(0 0 1 1 ? 2020)", []),
    ],
)
def test_six_fields_as_eventbridge_reads_them(text: str, times: list[str]) -> None:
    assert coming(text, len(times) + (times[-1:] == ["Tue 2199-01-01 00:00"])) == times


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 2 * *", "has 4 fields; write five"),
        (
            "0 2 * * * *",
            "has 6 fields; write five: minute hour day-of-month month day-of-week, or EventBridge's six",
        ),
        ("", "has 0 fields"),
        ("60 * * * *", "'60' is not a minute; write 0 to 59"),
        ("* 24 * * *", "'24' is not an hour; write 0 to 23"),
        ("* * 0 * *", "'0' is not a day of month; write 1 to 31"),
        ("* * * 13 *", "'13' is not a month; write 1 to 12 or jan to dec"),
        ("* * * * 8", "'8' is not a day of week; write 0 to 7 or sun to sat"),
        ("* * * mon *", "'mon' is not a month"),
        ("x * * * *", "'x' is not a minute"),
        ("٣ * * * *", "is not a minute"),
        ("1,,2 * * * *", "'' is not a minute"),
        ("*-5 * * * *", "'*-5' is not a minute"),
        ("*/0 * * * *", "'*/0': a step is at least 1"),
        ("5/20 * * * *", "'5/20': a step needs a range; write 5-59/20"),
        ("5-1 * * * *", "'5-1' runs backwards; write 5-59,0-1"),
        ("0 22-4 * * *", "'22-4' runs backwards; write 22-23,0-4"),
        ("0 0 * * fri-sun", "'fri-sun' runs backwards; write fri-sat,sun"),
        ("0 0 * * SAT-Mon", "'SAT-Mon' runs backwards; write SAT,SUN-Mon"),
        ("0 0 L * *", "'L' is not a day of month: ?, L, W and # belong to EventBridge's six fields"),
        ("0 0 15W * *", "'15W' is not a day of month: ?, L, W and #"),
        ("0 0 * * fri#2", "'fri#2' is not a day of week: ?, L, W and #"),
        ("0 0 * * 5L", "'5L' is not a day of week: ?, L, W and #"),
        ("0 0 ? * *", "'?' is not a day of month: ?, L, W and #"),
        ("0 0 31 2,4 *", "never comes"),
        ("0 0 30-31 feb *", "never comes"),
        ("@reboot", "'@reboot' is no time. To run when the service starts"),
        ("@fortnightly", "'@fortnightly' is unknown; write one of @hourly, @daily"),
        ("cron(0 12 * * *)", "has 5 fields; cron() takes six"),
        (
            "cron(0 12 * * * *)",
            "EventBridge wants ? in one of day-of-month and day-of-week, and here neither is",
        ),
        ("cron(0 12 1 * MON *)", "and here neither is"),
        ("cron(0 12 ? * ? *)", "and here both are ?"),
        ("cron(0 ? ? * MON *)", "'?' is not an hour"),
        ("cron(0 12 ? * 0 *)", "'0' is not a day of week; write 1 to 7 or sun to sat"),
        ("cron(0 12 ? * FRI-MON *)", "'FRI-MON' runs backwards; write FRI-SAT,SUN-MON"),
        ("cron(0 12 ? * 3#1,6#3 *)", "'3#1,6#3': with # EventBridge takes one day of week only"),
        ("cron(0 12 ? * 6#6 *)", "after # write 1 to 5"),
        ("cron(0 12 ? * 8L *)", "'8' is not a day of week"),
        ("cron(0 12 L-31 * ? *)", "'L-31' is not a day of month; write L-1 to L-30"),
        ("cron(0 12 32W * ? *)", "'32' is not a day of month"),
        ("cron(0 12 1 * ? 1969)", "'1969' is not a year; write 1970 to 2199"),
        ("cron(0 12 1 * ? 2200)", "'2200' is not a year"),
        ("cron(0 12 1 * ? 2030-2020)", "'2030-2020' runs backwards"),
        ("cron(0 12 31W 2,4,6,9,11 ? *)", "never comes"),
        ("cron(0 12 29 2 ? 2026-2027)", "never comes"),
        ("cron(0 12 ? 2 MON#5 2027-2030)", "never comes"),
    ],
)
def test_what_is_refused(text: str, expected: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse_cron(text)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("12 hours", 43200), ("rate(1 day)", 86400), ("rate(5 minutes)", 300), ("1 hour", 3600)],
)
def test_rate(text: str, seconds: int) -> None:
    assert parse_rate_expression(text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["0 hours", "12", "12h", "rate(12 hours", "12 hours)", "1 week", "-1 days"])
def test_rate_that_cannot_be(text: str) -> None:
    with pytest.raises(ValueError, match="is not an interval"):
        parse_rate_expression(text)
