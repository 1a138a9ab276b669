"""Timetables: every kind of schedule, start and end, jitter, what is said about clocks, and what always holds."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from runner.model.automation import ScheduleSettings
from runner.scheduling.civil import DstKind
from runner.scheduling.timetable import timetable_of

BERLIN = "Europe/Berlin"
ZONES = ("UTC", BERLIN, "Australia/Lord_Howe", "Pacific/Apia", "Antarctica/Troll", "America/Sao_Paulo")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text + "Z")


def slots(settings: ScheduleSettings, after: str, count: int) -> list[str]:
    """The first slots, and "end" in place of those that never come."""
    end = datetime(2500, 1, 1, tzinfo=UTC)
    found = islice(timetable_of(settings).between(at(after), end), count)
    texts = [slot.isoformat().removesuffix("+00:00") for slot in found]
    return texts + ["end"] * (len(texts) < count)


@pytest.mark.parametrize(
    ("settings", "after", "expected"),
    [
        (ScheduleSettings(cron="30 2 * * *"), "2026-11-23T02:30", ["2026-11-24T02:30:00", "2026-11-25T02:30:00"]),
        (
            ScheduleSettings(cron="30 2 * * *", timezone=BERLIN),
            "2026-03-28T00:00",
            ["2026-03-28T01:30:00", "2026-03-29T01:00:00", "2026-03-30T00:30:00"],
        ),
        (
            ScheduleSettings(cron="30 2 * * *", timezone=BERLIN),
            "2026-10-24T12:00",
            ["2026-10-25T00:30:00", "2026-10-26T01:30:00"],
        ),
        (ScheduleSettings(every_seconds=900), "2026-11-23T12:01", ["2026-11-23T12:15:00", "2026-11-23T12:30:00"]),
        (
            ScheduleSettings(every_seconds=3600, timezone=BERLIN),
            "2026-10-25T00:00",
            ["2026-10-25T01:00:00", "2026-10-25T02:00:00"],
        ),
        (
            ScheduleSettings(every_seconds=7200, start="2026-11-23T12:20:00Z"),
            "2026-11-01T00:00",
            ["2026-11-23T12:20:00", "2026-11-23T14:20:00"],
        ),
        (ScheduleSettings(every_seconds=1.0004), "2026-11-23T12:00", ["2026-11-23T12:00:01", "2026-11-23T12:00:02"]),
        (ScheduleSettings(every_seconds=1.5), "1970-01-01T00:00", ["1970-01-01T00:00:01.500000"]),
        (ScheduleSettings(at=("06:00", "18:00")), "2026-11-23T06:00", ["2026-11-23T18:00:00", "2026-11-24T06:00:00"]),
        (
            ScheduleSettings(at=("2027-03-28T02:30", "2027-10-31T02:30"), timezone=BERLIN),
            "2026-11-23T06:00",
            ["2027-03-28T01:00:00", "2027-10-31T00:30:00", "end"],
        ),
        (ScheduleSettings(after=("fetch",)), "2026-11-23T06:00", ["end"]),
        (ScheduleSettings(cron="0 2 * * *", enabled=False), "2026-11-23T06:00", ["end"]),
        (
            ScheduleSettings(cron="0 2 * * *", start="2026-12-01T02:00:00Z", end="2026-12-03T02:00:00Z"),
            "2026-11-23T06:00",
            ["2026-12-01T02:00:00", "2026-12-02T02:00:00", "end"],
        ),
        (ScheduleSettings(cron="cron(0 0 1 1 ? 2030)"), "2026-11-23T06:00", ["2030-01-01T00:00:00", "end"]),
    ],
)  # fmt: skip
def test_slots(settings: ScheduleSettings, after: str, expected: list[str]) -> None:
    assert slots(settings, after, len(expected)) == expected


def test_a_naive_instant_is_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        timetable_of(ScheduleSettings(cron="0 2 * * *")).next_after(datetime(2026, 1, 1))


@pytest.mark.parametrize("year", [1, 2, 9899, 9999])
def test_the_ends_of_time(year: int) -> None:
    slot = timetable_of(ScheduleSettings(cron="0 2 * * *", timezone="Asia/Tokyo")).next_after(
        datetime(year, 6, 1, tzinfo=UTC)
    )
    assert (slot is None) == (year in (1, 9999))


@pytest.mark.parametrize(
    ("cron", "zone", "slot", "kind", "text"),
    [
        ("30 2 * * *", BERLIN, "2026-03-29T01:00", DstKind.GAP, "clocks skip 02:00-03:00: 02:30 runs at 03:00"),
        ("0 * * * *", BERLIN, "2026-03-29T01:00", DstKind.GAP, "clocks skip 02:00-03:00: 02:00 runs at 03:00"),
        ("*/5 * * * *", BERLIN, "2026-03-29T01:00", DstKind.GAP,
         "clocks skip 02:00-03:00: what was due then runs once, at 03:00"),
        ("30 2 * * *", BERLIN, "2026-10-25T00:30", DstKind.REPEAT, "02:30 comes twice: runs the first time"),
        ("0 3 * * *", BERLIN, "2026-03-29T01:00", None, ""),
        ("0 3 * * *", BERLIN, "2026-10-25T02:00", None, ""),
        ("0 2 * * *", "Australia/Lord_Howe", "2026-10-03T15:30", DstKind.GAP,
         "clocks skip 02:00-02:30: 02:00 runs at 02:30"),
        ("0 9 * * *", "Pacific/Apia", "2011-12-30T10:00", DstKind.GAP,
         "clocks skip 2011-12-30 00:00 to 2011-12-31 00:00: 2011-12-30 09:00 runs at 2011-12-31 00:00"),
        ("0 0 * * *", "Africa/Monrovia", "1972-01-07T00:44:30", DstKind.GAP,
         "clocks skip 00:00-00:44:30: 00:00 runs at 00:44:30"),
    ],
)  # fmt: skip
def test_what_is_said_about_clocks(cron: str, zone: str, slot: str, kind: DstKind | None, text: str) -> None:
    timetable = timetable_of(ScheduleSettings(cron=cron, timezone=zone))
    assert timetable.next_after(at(slot) - timedelta(seconds=1)) == at(slot)
    note = timetable.note(at(slot))
    assert (note and note.kind, note.text if note else "") == (kind, text)


def test_an_interval_pays_no_heed_to_clocks() -> None:
    timetable = timetable_of(ScheduleSettings(every_seconds=3600, timezone=BERLIN))
    assert timetable.note(at("2026-03-29T01:00")) is None
    assert timetable.note(at("2026-10-25T00:00")) is None


schedules = st.one_of(
    st.sampled_from(
        (
            "* * * * *", "*/7 * * * *", "30 2 * * *", "0 0 31 * *", "0 0 29 2 *", "15 3 * * sun", "0 12 13 * 5",
            "0,30 1-3 * 3,10 *", "cron(0 8 LW * ? *)", "cron(0/50 2 ? * 1#5 *)",
        )
    ).map(lambda text: {"cron": text}),
    st.integers(1000, 10**8).map(lambda milliseconds: {"every_seconds": milliseconds / 1000}),
    st.sampled_from((("02:30",), ("00:00", "02:00", "23:59"), ("2026-10-25T02:30", "2026-03-29T02:30"))).map(
        lambda times: {"at": times}
    ),
)  # fmt: skip
moments = st.datetimes(datetime(1993, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC))


@effort(deadline=None, max_examples=100)
@given(kind=schedules, zone=st.sampled_from(ZONES), start=moments, minutes=st.integers(0, 5000))
def test_next_is_what_lies_between(kind: dict, zone: str, start: datetime, minutes: int) -> None:
    timetable = timetable_of(ScheduleSettings(timezone=zone, **kind))
    later = start + timedelta(minutes=minutes)
    first, second = timetable.next_after(start), timetable.next_after(later)
    assert first is None or first > start
    # Monotone: who asks later never hears an earlier slot, and never of one that has passed.
    if second is not None:
        assert first is not None
        assert first <= second
        assert (first == second) == (first > later)
    found = list(islice(timetable.between(start, later), 300))
    assert found == sorted(set(found))
    assert all(start < slot <= later for slot in found)
    assert found[:1] == ([first] if first is not None and first <= later else [])
    for slot in found[:5]:
        # A slot is found from any instant before it, and from itself when written down to the millisecond.
        assert timetable.next_after(slot - timedelta(microseconds=1)) == slot
        assert datetime.fromisoformat(slot.isoformat(timespec="milliseconds")) == slot


@effort(deadline=None, max_examples=100)
@given(
    slot=moments,
    name=st.text(st.characters(codec=None), min_size=1, max_size=20),
    jitter=st.floats(0, 10**6, allow_nan=False),
)
def test_jitter_is_stable_and_in_bounds(slot: datetime, name: str, jitter: float) -> None:
    settings = ScheduleSettings(cron="0 2 * * *", jitter_seconds=jitter)
    due = timetable_of(settings).delayed(slot, name)
    assert slot <= due
    assert (due - slot).total_seconds() < jitter or due == slot
    assert timetable_of(settings).delayed(slot.astimezone(timetable_of(settings).zone), name) == due


def test_jitter_spreads_tasks_and_slots() -> None:
    timetable = timetable_of(ScheduleSettings(cron="0 2 * * *", jitter_seconds=600))
    slot = at("2026-11-23T02:00")
    by_task = {timetable.delayed(slot, f"task {number}") for number in range(1000)}
    by_slot = {
        timetable.delayed(slot + timedelta(days=day), "task") - timedelta(days=day) for day in range(1000)
    }
    for found in (by_task, by_slot):
        tenths = [
            sum(1 for due in found if int((due - slot).total_seconds() // 60) == tenth) for tenth in range(10)
        ]
        assert len(found) > 990
        assert min(tenths) > 60
    assert timetable.delayed(slot, "photos") == at("2026-11-23T02:05:55.062")


def test_two_thousand_of_them_are_cheap() -> None:
    started = time.process_time()
    timetables = [
        timetable_of(ScheduleSettings(cron=f"{number % 60} {number % 24} * * {number % 7}", timezone=BERLIN))
        for number in range(2000)
    ]
    found = {timetable.next_after(at("2026-11-23T12:00")) for timetable in timetables}
    assert len(found) > 500
    assert time.process_time() - started < 2.0
