"""Times as rclone tells and takes them."""

from __future__ import annotations

from datetime import date

_EPOCH = date(1970, 1, 1).toordinal()


def parse_time(text: str) -> int | None:
    """RFC 3339 in UTC with up to nine decimals -> nanoseconds since 1970; None for anything else."""
    if len(text) < 20 or text[-1] != "Z":
        return None
    try:
        days = date(int(text[:4]), int(text[5:7]), int(text[8:10])).toordinal() - _EPOCH
        seconds = days * 86_400 + int(text[11:13]) * 3600 + int(text[14:16]) * 60 + int(text[17:19])
        fraction = text[20:-1]
        return seconds * 1_000_000_000 + (int(fraction.ljust(9, "0")) if fraction else 0)
    except ValueError:
        return None


def format_time(mtime_ns: int) -> str:
    """Nanoseconds since 1970 as RFC 3339 in UTC."""
    seconds, nanoseconds = divmod(mtime_ns, 1_000_000_000)
    days, rest = divmod(seconds, 86_400)
    day = date.fromordinal(_EPOCH + days)
    return f"{day}T{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}.{nanoseconds:09d}Z"
