"""Locations of type hdfs, opened for one test and closed with it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from runner_plugins.hdfs.driver import DRIVER

from runner.errors import LocationUnavailableError
from runner.locations.protocol import OpenSettings
from runner.model.entry import Entry, Kind
from runner.model.task import LocationSettings
from runner.testing.conformance_base import Meter

DEFAULTS = OpenSettings()
NOON_NS = 1_700_000_000_000_000_000
TRANSPORTS = ("native", "webhdfs")


def settings(options: dict[str, Any]) -> LocationSettings:
    chosen = {name: value for name, value in options.items() if name != "type"}
    return LocationSettings("tested", "hdfs", chosen, "/")


@contextlib.contextmanager
def opened(
    options: dict[str, Any], open_settings: OpenSettings = DEFAULTS, *, create: bool = True
) -> Iterator[Any]:
    """An open location; typed Any, for tests call its roles too."""
    location = DRIVER.open(settings(options), open_settings, create=create)
    try:
        yield location
    finally:
        location.close()


def refusal(options: dict[str, Any]) -> LocationUnavailableError:
    """The error with which these options cannot be opened."""
    try:
        DRIVER.open(settings(options), DEFAULTS, create=True).close()
    except LocationUnavailableError as error:
        return error
    raise AssertionError("it was opened")


def file(path: str, content: bytes, mtime_ns: int = NOON_NS) -> Entry:
    return Entry(path, Kind.FILE, size_bytes=len(content), mtime_ns=mtime_ns)


def put(location: Any, path: str, content: bytes, mtime_ns: int = NOON_NS) -> Entry:
    """Make a new file; its entry as `stat` gives it."""
    location.put(file(path, content, mtime_ns), [content], None, Meter())
    stands = location.stat(path)
    assert isinstance(stands, Entry)
    return stands


def read(location: Any, path: str) -> bytes:
    return b"".join(bytes(chunk) for chunk in location.read(location.stat(path)))
