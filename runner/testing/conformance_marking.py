"""Promises about the places that the runner reserves for itself inside a location."""

from __future__ import annotations

import pytest

from runner.errors import EntryCode
from runner.locations.marker import MARKER_PATH, NO_MARKER, Marker, SeenMarker, read_marker, write_marker
from runner.locations.patience import IMPATIENT
from runner.locations.protocol import SetsAttributes
from runner.testing.conformance_base import ConformanceBase, put_file, refused, stated


class MarkingPromises(ConformanceBase):
    """A marker can stand in the location, and nobody takes it for content."""

    def test_a_marker_can_be_written_read_and_replaced(self) -> None:
        """stat, read and put work on `.sync-runner/location.json` as on any other path."""
        location = self._opened()
        put_file(location, "a")
        assert read_marker(location, IMPATIENT) == NO_MARKER
        first, second = Marker("a" * 32, 1, "0123456789ab"), Marker("a" * 32, 2)
        write_marker(location, first, NO_MARKER)
        seen = read_marker(self._opened(), IMPATIENT)
        assert (seen.marker, seen.fault) == (first, None)
        write_marker(location, second, seen)
        assert read_marker(self._opened(), IMPATIENT).marker == second

    def test_a_marker_is_not_overwritten_by_who_saw_another(self) -> None:
        """STALE: an execution on another host was there in between."""
        location = self._opened()
        put_file(location, "a")
        write_marker(location, Marker("a" * 32, 1), NO_MARKER)
        seen = read_marker(location, IMPATIENT)
        write_marker(location, Marker("a" * 32, 20), seen)
        for outdated in (NO_MARKER, SeenMarker(seen.marker, None, seen.entry)):
            with refused(EntryCode.STALE):
                write_marker(location, Marker("a" * 32, 2), outdated)
        found = read_marker(location, IMPATIENT).marker
        assert found is not None and found.generation == 20

    def test_a_marker_leaves_the_root_s_time_alone(self) -> None:
        """The first one makes a folder in the root, whose time is part of what was synchronised."""
        location = self._opened()
        if not isinstance(location, SetsAttributes) or not location.capabilities.contents_touch_folder:
            pytest.skip("nothing moves, or nothing sets, the time of the root")
        put_file(location, "a")
        before = stated(location, "").mtime_ns
        write_marker(location, Marker("a" * 32, 1), NO_MARKER)
        after = stated(location, "").mtime_ns
        assert before is not None and after is not None
        assert abs(after - before) < (location.capabilities.mtime_resolution_ns or 1)
        assert location.stat(MARKER_PATH) is not None
