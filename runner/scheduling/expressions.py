"""Schedule expressions -> one unambiguous form.

Programs disagree about cron: APScheduler counts days from Monday = 0, cron(8) from Sunday = 0, DataSync's
cron() from Sunday = 1. So days of the week come out as a list of names, nothing is left to guess.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta

_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_SHORTCUTS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * sun",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12))
_LONGEST_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def parse_cron(text: str) -> str:
    """`0 2 * * 1-5`, `@daily` or `cron(0 12 ? * SUN,WED *)` -> five fields: minute hour day month weekday.

    Fields are `*` or lists of numbers in ascending order; days of the week are names, Monday first.
    Raises ValueError that says what is expected.
    """
    stripped = text.strip()
    if stripped.startswith("@"):
        if stripped not in _SHORTCUTS:
            raise ValueError(f"{text!r} is unknown; write one of " + ", ".join(_SHORTCUTS))
        stripped = _SHORTCUTS[stripped]
    sunday = 0
    aws = re.fullmatch(r"cron\((.*)\)", stripped)
    if aws is not None:
        fields = _aws_fields(text, aws[1].split())
        sunday = 1
    else:
        fields = stripped.split()
    if len(fields) != 5:
        raise ValueError(
            f"{text!r} has {len(fields)} fields; write five: minute hour day-of-month month day-of-week"
        )
    values = [
        _values(field, name, low, high, _MONTHS if name == "month" else (), 1)
        for field, (name, low, high) in zip(fields, _FIELDS, strict=False)
    ]
    weekdays = _values(fields[4], "day of week", sunday, sunday + 7 - sunday, _DAYS, sunday)
    if weekdays is not None:
        weekdays = sorted({(day - sunday) % 7 for day in weekdays}, key=lambda day: (day - 1) % 7)
        if len(weekdays) == 7:
            weekdays = None
    if values[2] is not None and weekdays is not None:
        raise ValueError(
            f"{text!r} restricts day of month and day of week; programs disagree about what that means. "
            "Leave one of them *"
        )
    if values[2] is not None and not _ever(values[2], values[3]):
        raise ValueError(f"{text!r} names a day that none of its months has")
    parts = ["*" if found is None else ",".join(map(str, found)) for found in values]
    parts.append("*" if weekdays is None else ",".join(_DAYS[day] for day in weekdays))
    return " ".join(parts)


def parse_rate_expression(text: str) -> timedelta:
    """`12 hours` or `rate(12 hours)` -> timedelta. Raises ValueError."""
    match = re.fullmatch(r"(?:rate\()?([1-9][0-9]{0,5}) (minute|hour|day)s?\)?", text.strip())
    if match is None or text.strip().startswith("rate(") != text.strip().endswith(")"):
        raise ValueError(f"{text!r} is not an interval; write 12 hours or rate(12 hours)")
    return timedelta(**{match[2] + "s": int(match[1])})


def _aws_fields(text: str, fields: list[str]) -> list[str]:
    """EventBridge's six fields -> five; its `?` is a `*`. The year has to be `*`."""
    if len(fields) != 6:
        raise ValueError(
            f"{text!r} has {len(fields)} fields; cron() takes six: "
            "minute hour day-of-month month day-of-week year"
        )
    if fields[5] != "*":
        raise ValueError(f"{text!r} names a year; the last field has to be *")
    return ["*" if field == "?" and at in (2, 4) else field for at, field in enumerate(fields[:5])]


def _values(
    field: str, name: str, low: int, high: int, words: Sequence[str], first_word: int
) -> list[int] | None:
    """The numbers a field stands for, ascending; None for all of them (`*`)."""
    found: set[int] = set()
    for piece in field.split(","):
        match = re.fullmatch(r"(\*|[A-Za-z0-9]+)(?:-([A-Za-z0-9]+))?(?:/([0-9]{1,3}))?", piece)
        if match is None:
            hint = " (L, W and # are not supported)" if re.search("[LW#]", piece) else ""
            raise ValueError(f"{piece!r} is not a {name}{hint}")
        step = int(match[3]) if match[3] else 1
        if step < 1 or (match[1] == "*" and match[2]):
            raise ValueError(f"{piece!r} is not a {name}")
        start = low if match[1] == "*" else _number(match[1], name, low, high, words, first_word)
        if match[2]:
            end = _number(match[2], name, low, high, words, first_word)
        else:
            end = high if match[1] == "*" or match[3] else start
        if name == "day of week":
            if (match[1] == "*" or (match[3] and not match[2])) and not first_word:
                end = 6  # 0 to 6: cron's 7 is Sunday again.
            if end < start and match[2]:
                end += 7  # fri-mon crosses the week's end.
        if end < start:
            raise ValueError(f"{piece!r} runs backwards")
        found.update(range(start, end + 1, step))
    return None if field == "*" else sorted(found)


def _number(text: str, name: str, low: int, high: int, words: Sequence[str], first_word: int) -> int:
    lowered = text.lower()
    if lowered in words:
        return words.index(lowered) + first_word
    if not text.isascii() or not text.isdecimal() or len(text) > 3 or not low <= int(text) <= high:
        expected = f"{low} to {high}" + (f" or {words[0]} to {words[-1]}" if words else "")
        raise ValueError(f"{text!r} is not a {name}; write {expected}")
    return int(text)


def _ever(days: list[int], months: list[int] | None) -> bool:
    return any(days[0] <= _LONGEST_MONTH[month - 1] for month in months or range(1, 13))
