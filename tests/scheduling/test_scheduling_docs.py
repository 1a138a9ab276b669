"""What docs/schedules.md says about clocks and days is what happens."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from runner.model.automation import ScheduleSettings
from runner.scheduling.expressions import parse_cron
from runner.scheduling.timetable import timetable_of

PAGE = (Path(__file__).parents[2] / "docs" / "schedules.md").read_text("utf-8")
ROWS = re.findall(
    r"^\| `([^`]+)` \| `([A-Z][A-Za-z_/]+)` \| (?:skip|show) .* \| "
    r"(\d{4}-\d\d-\d\d \d\d:\d\d), (\d\d:\d\d)( the day before)?.* \|$",
    PAGE,
    re.MULTILINE,
)


def test_the_table_is_there() -> None:
    assert len(ROWS) == 9


@pytest.mark.parametrize(("cron", "zone", "local", "utc", "before"), ROWS)
def test_worked_examples(cron: str, zone: str, local: str, utc: str, before: str) -> None:
    shown = datetime.fromisoformat(local)
    day = shown - timedelta(days=1) if before else shown
    instant = datetime.combine(day, datetime.strptime(utc, "%H:%M").time(), UTC)
    timetable = timetable_of(ScheduleSettings(cron=cron, timezone=zone))
    around = list(timetable.between(instant - timedelta(minutes=59), instant + timedelta(minutes=59)))

    assert around == [instant]
    assert instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None) == shown


def test_every_cron_text_of_the_page_is_valid() -> None:
    texts = re.findall(r'cron: "([^"]+)"', PAGE) + re.findall(
        r"^\|.*`([*0-9](?:\S* ){4}[^` ]+)`", PAGE, re.MULTILINE
    )
    assert len(texts) > 12
    for text in texts:
        parse_cron(text)
