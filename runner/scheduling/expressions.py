"""Schedule expressions: cron(8)'s five fields, EventBridge's `cron(...)` and `rate(...)`.

Programs disagree about cron: APScheduler counts days from Monday = 0, cron(8) from Sunday = 0, EventBridge from
Sunday = 1. So each text is read by the rules of its own kind, and what those rules leave open is refused with the text
to write instead. Five fields follow crontab(5) and entry.c of Debian's cron 3.0pl1, six follow Amazon's "Cron
expressions reference" (EventBridge).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from runner.scheduling.calendars import CronCalendar, CronDays, EventBridgeDays

_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_SHORTCUTS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_FIRST_YEAR, _LAST_YEAR = 1970, 2199
_ANY_START = datetime(1999, 12, 31, 23, 59)


class _Field(NamedTuple):
    """What may stand in a field. `words` stand for numbers from `first_word` on; `open_step`: 5/20 means 5-59/20."""

    name: str
    low: int
    high: int
    words: tuple[str, ...] = ()
    first_word: int = 0
    open_step: bool = False


_MINUTE, _HOUR = _Field("minute", 0, 59), _Field("hour", 0, 23)
_DAY, _MONTH = _Field("day of month", 1, 31), _Field("month", 1, 12, _MONTHS, 1)
_WEEKDAY = _Field("day of week", 0, 7, _DAYS)
_AWS_MINUTE, _AWS_HOUR, _AWS_DAY, _AWS_MONTH = (
    field._replace(open_step=True) for field in (_MINUTE, _HOUR, _DAY, _MONTH)
)
_AWS_WEEKDAY = _Field("day of week", 1, 7, _DAYS, 1, open_step=True)
_AWS_YEAR = _Field("year", _FIRST_YEAR, _LAST_YEAR, open_step=True)


def parse_cron(text: str) -> str:
    """A cron expression in the form that is kept: five fields, or EventBridge's `cron(...)` of six.

    Shortcuts are written out, spaces single, letters small in five fields and large in six; else it is as given.
    Raises ValueError that says what is expected, also for an expression that never comes.
    """
    kept, _ = _parsed(text)
    return kept


@lru_cache(maxsize=4096)
def cron_calendar(text: str) -> CronCalendar:
    """What a cron expression means. Raises ValueError as `parse_cron` does."""
    return _parsed(text)[1]


def parse_rate_expression(text: str) -> timedelta:
    """`12 hours` or `rate(12 hours)` -> timedelta. Raises ValueError."""
    match = re.fullmatch(r"(?:rate\()?([1-9][0-9]{0,5}) (minute|hour|day)s?\)?", text.strip())
    if match is None or text.strip().startswith("rate(") != text.strip().endswith(")"):
        raise ValueError(f"{text!r} is not an interval; write 12 hours or rate(12 hours)")
    return timedelta(**{match[2] + "s": int(match[1])})


def _parsed(text: str) -> tuple[str, CronCalendar]:
    stripped = text.strip()
    if stripped.startswith("@"):
        stripped = _written_out(stripped)
    six = re.fullmatch(r"cron\s*\((.*)\)", stripped, re.DOTALL)
    if six is not None:
        fields = six[1].upper().split()
        calendar = _six_fields(text, fields)
        kept = f"cron({' '.join(fields)})"
        start = datetime(_FIRST_YEAR - 1, 12, 31, 23, 59)
    else:
        fields = stripped.split()
        calendar = _five_fields(text, fields)
        kept, start = " ".join(fields).lower(), _ANY_START
    if calendar.next_local(start) is None:
        raise ValueError(f"{text!r} never comes: no month of it has such a day")
    return kept, calendar


def _written_out(shortcut: str) -> str:
    if shortcut == "@reboot":
        raise ValueError(
            "'@reboot' is no time. To run when the service starts, give the times that matter and catch_up: true; "
            "to run at every boot, start sync-runner run TASK from a systemd unit"
        )
    if shortcut not in _SHORTCUTS:
        raise ValueError(f"{shortcut!r} is unknown; write one of " + ", ".join(_SHORTCUTS))
    return _SHORTCUTS[shortcut]


def _five_fields(text: str, fields: list[str]) -> CronCalendar:
    if len(fields) != 5:
        hint = ", or EventBridge's six in cron(...)" if len(fields) == 6 else ""
        raise ValueError(
            f"{text!r} has {len(fields)} fields; write five: minute hour day-of-month month day-of-week{hint}"
        )
    for piece, field in zip(fields, (_MINUTE, _HOUR, _DAY, _MONTH, _WEEKDAY), strict=True):
        special = {_DAY: r"[?LW]", _WEEKDAY: r"[?#]|L$"}.get(field, r"\?")
        if re.search(special, piece, re.IGNORECASE):
            raise ValueError(
                f"{piece!r} is not {_article(field.name)}: ?, L, W and # belong to EventBridge's six fields, "
                "such as cron(0 12 L * ? *)"
            )
    # entry.c looks at the first character only: */2 counts as a star too, and 1-31 does not.
    starred = fields[2].startswith("*") or fields[4].startswith("*")
    days = CronDays(
        days=frozenset(_values(fields[2], _DAY)),
        weekdays=frozenset((day - 1) % 7 for day in _values(fields[4], _WEEKDAY)),
        both_fit=starred,
    )
    return CronCalendar(
        _values(fields[0], _MINUTE), _values(fields[1], _HOUR), days, _values(fields[3], _MONTH)
    )


def _six_fields(text: str, fields: list[str]) -> CronCalendar:
    if len(fields) != 6:
        raise ValueError(
            f"{text!r} has {len(fields)} fields; cron() takes six: "
            "minute hour day-of-month month day-of-week year"
        )
    day, weekday = fields[2], fields[4]
    if (day == "?") == (weekday == "?"):
        found = "both are ?" if day == "?" else "neither is"
        raise ValueError(
            f"{text!r}: EventBridge wants ? in one of day-of-month and day-of-week, and here {found}; "
            "write ? in the one that does not matter, such as cron(0 12 ? * MON *) or cron(0 12 * * ? *)"
        )
    return CronCalendar(
        _values(fields[0], _AWS_MINUTE),
        _values(fields[1], _AWS_HOUR),
        _aws_weekdays(weekday) if day == "?" else _aws_days(day),
        _values(fields[3], _AWS_MONTH),
        _values(fields[5], _AWS_YEAR),
    )


def _aws_days(field: str) -> EventBridgeDays:
    """Day of month: numbers, ranges, steps; L the last day, L-3 three before it, LW the last from Monday to Friday,
    15W the day from Monday to Friday nearest to the 15th in the same month."""
    plain, before_last, nearest = [], set(), set()
    last_workday = False
    for piece in field.split(","):
        from_last = re.fullmatch(r"L(?:-([0-9]{1,2}))?", piece)
        near = re.fullmatch(r"([0-9]{1,2})W", piece)
        if from_last is not None:
            before = int(from_last[1] or 0)
            if before > 30:
                raise ValueError(f"{piece!r} is not a day of month; write L-1 to L-30")
            before_last.add(before)
        elif piece == "LW":
            last_workday = True
        elif near is not None:
            nearest.add(_number(near[1], _AWS_DAY))
        else:
            plain.append(piece)
    return EventBridgeDays(
        days=frozenset(_values(",".join(plain), _AWS_DAY)) if plain else frozenset(),
        before_last=frozenset(before_last),
        last_workday=last_workday,
        nearest=frozenset(nearest),
    )


def _aws_weekdays(field: str) -> EventBridgeDays:
    """Day of week, 1 = Sunday: numbers, names, ranges; L Saturday, 6L or FRIL the month's last Friday, 6#3 or FRI#3
    its third."""
    plain, last, nth = [], set(), set()
    pieces = field.split(",")
    for piece in pieces:
        match = re.fullmatch(r"([A-Z0-9]+?)(?:(L)|#([0-9]))", piece)
        if piece == "L":
            plain.append("7")
        elif match is None:
            plain.append(piece)
        elif match[2]:
            last.add((_number(match[1], _AWS_WEEKDAY) - 2) % 7)
        else:
            if len(pieces) > 1:
                raise ValueError(f"{field!r}: with # EventBridge takes one day of week only, such as 6#3")
            if not 1 <= int(match[3]) <= 5:
                raise ValueError(f"{piece!r} is not a day of week; after # write 1 to 5")
            nth.add(((_number(match[1], _AWS_WEEKDAY) - 2) % 7, int(match[3])))
    numbers = _values(",".join(plain), _AWS_WEEKDAY) if plain else ()
    return EventBridgeDays(
        weekdays=frozenset((day - 2) % 7 for day in numbers),
        last_weekdays=frozenset(last),
        nth_weekdays=frozenset(nth),
    )


def _values(text: str, field: _Field) -> Iterable[int]:
    """The numbers that a list of numbers, ranges, steps and stars stands for."""
    found: set[int] = set()
    for piece in text.split(","):
        match = re.fullmatch(r"(?:(\*)|([A-Za-z0-9]+)(?:-([A-Za-z0-9]+))?)(?:/([0-9]{1,4}))?", piece)
        if match is None:
            raise ValueError(f"{piece!r} is not {_article(field.name)}; write {_expected(field)}")
        star, first, last, step = match.groups()
        start = field.low if star else _number(first, field)
        if last is not None:
            end = _number(last, field)
            if end < start:
                raise ValueError(_backwards(piece, first, last, field))
        elif step is not None and not star and not field.open_step:
            # Debian's cron refuses it; others read 5, or 5-59/20.
            raise ValueError(f"{piece!r}: a step needs a range; write {first}-{field.high}/{step}")
        else:
            end = field.high if star or step is not None else start
        if step is not None and int(step) < 1:
            raise ValueError(f"{piece!r}: a step is at least 1")
        found.update(range(start, end + 1, int(step or 1)))
    return found


def _number(text: str, field: _Field) -> int:
    lowered = text.lower()
    if lowered in field.words:
        return field.words.index(lowered) + field.first_word
    if not text.isdecimal() or len(text) > 4 or not field.low <= int(text) <= field.high:
        raise ValueError(f"{text!r} is not {_article(field.name)}; write {_expected(field)}")
    return int(text)


def _backwards(piece: str, first: str, last: str, field: _Field) -> str:
    """cron(8) takes such a range and never runs it, EventBridge does not say: nobody can mean that."""
    range_text = piece.partition("/")[0]
    if field.name == "year" or "/" in piece:
        return f"{range_text!r} runs backwards"
    low, high = field.low, field.high if field is not _WEEKDAY else 6
    if field.words:
        words = field.words if first.islower() else tuple(map(str.upper, field.words))
        lowest, highest = (words[0], words[-1]) if first.isalpha() else (str(low), str(high))
    else:
        lowest, highest = str(low), str(high)
    head = first if first == highest else f"{first}-{highest}"
    tail = last if last == lowest else f"{lowest}-{last}"
    return f"{range_text!r} runs backwards; write {head},{tail}"


def _expected(field: _Field) -> str:
    return f"{field.low} to {field.high}" + (
        f" or {field.words[0]} to {field.words[-1]}" if field.words else ""
    )


def _article(name: str) -> str:
    return f"an {name}" if name == "hour" else f"a {name}"
