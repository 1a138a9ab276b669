"""Schedule expressions come out in one form that no scheduler reads differently."""

from __future__ import annotations

import pytest

from runner.scheduling.expressions import parse_cron, parse_rate_expression


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 2 * * *", "0 2 * * *"),
        ("0 2 * * 1-5", "0 2 * * mon,tue,wed,thu,fri"),
        ("0 2 * * 0", "0 2 * * sun"),
        ("0 2 * * 7", "0 2 * * sun"),
        ("0 2 * * 5-7", "0 2 * * fri,sat,sun"),
        ("0 2 * * fri-mon", "0 2 * * mon,fri,sat,sun"),
        ("0 2 * * MON", "0 2 * * mon"),
        ("0 2 * * 0-6", "0 2 * * *"),
        ("0 2 * * */2", "0 2 * * tue,thu,sat,sun"),
        ("*/15 8-18/5 1,15 jan-mar *", "0,15,30,45 8,13,18 1,15 1,2,3 *"),
        ("5/20 * * * *", "5,25,45 * * * *"),
        ("@daily", "0 0 * * *"),
        ("@weekly", "0 0 * * sun"),
        ("cron(0 12 ? * SUN,WED *)", "0 12 * * wed,sun"),
        ("cron(0 12 ? * 1 *)", "0 12 * * sun"),
        ("cron(0 12 ? * 2-6 *)", "0 12 * * mon,tue,wed,thu,fri"),
        ("cron(0/30 * 1 JAN ? *)", "0,30 * 1 1 *"),
        ("0 0 29 2 *", "0 0 29 2 *"),
    ],
)
def test_cron(text: str, expected: str) -> None:
    assert parse_cron(text) == expected
    assert parse_cron(expected) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 2 * *", "has 4 fields; write five"),
        ("0 2 * * * *", "has 6 fields; write five"),
        ("cron(0 12 * * *)", "has 5 fields; cron() takes six"),
        ("cron(0 12 ? * SUN 2027)", "names a year"),
        ("cron(0 12 L * ? *)", "'L' is not a day of month"),
        ("cron(0 12 ? * 6#3 *)", "'6#3' is not a day of week (L, W and # are not supported)"),
        ("cron(0 12 ? * 0 *)", "'0' is not a day of week; write 1 to 7 or sun to sat"),
        ("60 * * * *", "'60' is not a minute; write 0 to 59"),
        ("* 24 * * *", "'24' is not a hour; write 0 to 23"),
        ("* * 0 * *", "'0' is not a day of month"),
        ("* * * 13 *", "'13' is not a month; write 1 to 12 or jan to dec"),
        ("* * * * 8", "'8' is not a day of week"),
        ("5-1 * * * *", "'5-1' runs backwards"),
        ("*/0 * * * *", "'*/0' is not a minute"),
        ("x * * * *", "'x' is not a minute"),
        ("0 0 1 * mon", "restricts day of month and day of week"),
        ("0 0 31 2,4 *", "names a day that none of its months has"),
        ("@reboot", "'@reboot' is unknown"),
        ("", "has 0 fields"),
        ("? * * * *", "'?' is not a minute"),
        ("1,,2 * * * *", "'' is not a minute"),
    ],
)
def test_cron_that_cannot_be(text: str, expected: str) -> None:
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
