"""Sizes, rates and durations as people write them, and back.

A unit is required: peers disagree about what a bare number means, so we refuse to guess.
Binary prefixes (KiB, MiB) are powers of 1024, decimal ones (kB, MB) powers of 1000, as IEC 80000-13 has them.
"""

from __future__ import annotations

import re
from datetime import timedelta

_SIZE_UNITS = {
    "B": 1,
    "kB": 1000,
    "KB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "TB": 1000**4,
    "PB": 1000**5,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
    "TiB": 1024**4,
    "PiB": 1024**5,
}
_BIT_UNITS = {"bit": 1, "kbit": 1000, "Kbit": 1000, "Mbit": 1000**2, "Gbit": 1000**3}
_DURATION_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}

SIZE_PATTERN = r"^[0-9]+(\.[0-9]+)? ?(B|[kKMGTP]B|[KMGTP]iB)$"
RATE_PATTERN = r"^(unlimited|[0-9]+(\.[0-9]+)? ?((B|[kKMGTP]B|[KMGTP]iB)/s|([kKMG])?bit/s))$"
DURATION_PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d|w) ?)+$"


def parse_size(text: str) -> int:
    """`4GiB` -> 4294967296. Raises ValueError that says what is expected."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]+)", text.strip())
    if match is None or match[2] not in _SIZE_UNITS:
        raise ValueError(f"{text!r} is not a size; write a number and a unit, such as 512KiB, 20MB or 4GiB")
    return int(float(match[1]) * _SIZE_UNITS[match[2]])


def parse_rate(text: str) -> int | None:
    """`20MiB/s` -> bytes per second; `80Mbit/s` -> bits divided by eight; `unlimited` -> None."""
    stripped = text.strip()
    if stripped == "unlimited":
        return None
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]+)/s", stripped)
    if match is not None:
        number = float(match[1])
        bytes_per_second = 0
        if match[2] in _SIZE_UNITS:
            bytes_per_second = int(number * _SIZE_UNITS[match[2]])
        elif match[2] in _BIT_UNITS:
            bytes_per_second = int(number * _BIT_UNITS[match[2]] / 8)
        if bytes_per_second > 0:
            return bytes_per_second
    raise ValueError(f"{text!r} is not a rate; write 20MiB/s, 80Mbit/s or unlimited")


def parse_duration(text: str) -> timedelta:
    """`90s`, `5m`, `1h30m`, `2d` -> timedelta. Raises ValueError that says what is expected."""
    stripped = text.strip()
    pieces = re.findall(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d|w)", stripped)
    if not pieces or "".join(number + unit for number, unit in pieces) != stripped.replace(" ", ""):
        raise ValueError(f"{text!r} is not a duration; write 90s, 5m, 1h30m, 2d or 1w")
    return timedelta(seconds=sum(float(number) * _DURATION_UNITS[unit] for number, unit in pieces))


def format_size(size_bytes: int | float) -> str:
    """1536 -> '1.5 KiB'. Bytes are exact; larger units carry one decimal."""
    value = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(value) < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{int(value)} B" if unit == "B" else f"{value:,.1f} {unit}"


def format_rate(bytes_per_second: float | None) -> str:
    """None -> 'unlimited'; 20971520 -> '20.0 MiB/s'."""
    return "unlimited" if bytes_per_second is None else format_size(bytes_per_second) + "/s"


def format_duration(seconds: float) -> str:
    """0.42 -> '0.42 s', 75 -> '1 min 15 s', 7200 -> '2 h 0 min'."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h"


def format_resolution(nanoseconds: int) -> str:
    """A granularity of times for people: "1 s", "100 ns"."""
    for size, unit in ((10**9, "s"), (10**6, "ms"), (10**3, "µs")):
        if nanoseconds >= size:
            return f"{nanoseconds // size} {unit}"
    return f"{nanoseconds} ns"
