"""Promises of remove."""

from __future__ import annotations

import msgspec
import pytest

from runner.errors import EntryCode
from runner.model.entry import Kind
from runner.testing.conformance_base import (
    ConformanceBase,
    Meter,
    content_of,
    link_entry,
    listed,
    put_file,
    put_folder,
    refused,
    stated,
)


class RemovingPromises(ConformanceBase):
    """remove takes away exactly what the entry says, or nothing."""

    def test_a_file_is_removed_and_nothing_else(self) -> None:
        """Only that entry."""
        location = self._opened()
        entry = put_file(location, "d/a")
        put_file(location, "d/b")
        location.remove(entry)
        assert listed(location) == ["d/", "d/b"]

    def test_what_is_gone_cannot_be_removed(self) -> None:
        """NOT_FOUND when nothing is there."""
        location = self._opened()
        entry = put_file(location, "a")
        put_file(location, "b")
        location.remove(entry)
        with refused(EntryCode.NOT_FOUND):
            location.remove(entry)
        assert listed(location) == ["b"]

    def test_what_changed_is_not_removed(self) -> None:
        """STALE when it is not as the entry says."""
        location = self._opened()
        entry = put_file(location, "a", b"old")
        self.write_behind("a", b"new and longer")
        with refused(EntryCode.STALE):
            location.remove(entry)
        assert content_of(location, "a") == b"new and longer"

    @pytest.mark.parametrize("facts", [{"size_bytes": 99}, {"mtime_ns": 5}, {"version": "never"}])
    def test_each_known_fact_counts(self, facts: dict[str, object]) -> None:
        """Size, time, version: each that the entry knows must agree."""
        location = self._opened()
        entry = put_file(location, "a")
        if any(getattr(entry, name) is None for name in facts):
            pytest.skip("does not know " + ", ".join(facts))
        with refused(EntryCode.STALE):
            location.remove(msgspec.structs.replace(entry, **facts))
        assert stated(location, "a") == entry

    def test_an_empty_folder_is_removed(self) -> None:
        """A folder goes when nothing is in it."""
        location = self._with_empty_folders()
        put_folder(location, "d/")
        location.remove(stated(location, "d/"))
        assert listed(location) == []

    def test_a_folder_s_own_times_do_not_make_it_stale(self) -> None:
        """Removing what was in it moves its time; only its kind counts."""
        location = self._with_empty_folders()
        put_folder(location, "d/")
        folder = stated(location, "d/")
        location.remove(put_file(location, "d/a"))
        location.remove(folder)
        assert listed(location) == []

    def test_a_folder_that_holds_something_is_not_removed(self) -> None:
        """STALE: nothing unknown is ever deleted with it."""
        location = self._with_empty_folders()
        put_file(location, "d/a", b"kept")
        with refused(EntryCode.STALE):
            location.remove(stated(location, "d/"))
        assert content_of(location, "d/a") == b"kept"

    def test_another_kind_is_not_removed(self) -> None:
        """A file where a folder was expected, and the other way."""
        location = self._with_empty_folders()
        put_folder(location, "d/")
        folder = stated(location, "d/")
        location.remove(folder)
        file = put_file(location, "d")
        with refused(EntryCode.STALE, EntryCode.NOT_FOUND):
            location.remove(folder)
        location.remove(file)
        put_folder(location, "d/")
        with refused(EntryCode.STALE, EntryCode.NOT_FOUND):
            location.remove(file)
        assert listed(location) == ["d/"]

    def test_a_link_is_removed_and_its_target_stays(self) -> None:
        """The link is the entry, not what it points to."""
        location = self._needs(Kind.SYMLINK, Kind.DIRECTORY)
        put_file(location, "real/kept", b"kept")
        location.put(link_entry("link", "real"), None, None, Meter())
        location.remove(stated(location, "link"))
        assert listed(location) == ["real/", "real/kept"]

    def test_a_link_that_points_elsewhere_now_is_not_removed(self) -> None:
        """A link's text is its content."""
        location = self._needs(Kind.SYMLINK)
        location.put(link_entry("link", "one"), None, None, Meter())
        expected = msgspec.structs.replace(stated(location, "link"), link_target="two")
        with refused(EntryCode.STALE):
            location.remove(expected)
        assert stated(location, "link").link_target == "one"

    def test_nothing_is_removed_through_a_link(self) -> None:
        """A symlink in the place of a parent folder is not followed."""
        location = self._needs(Kind.SYMLINK)
        inside = put_file(location, "real/kept", b"kept")
        location.put(link_entry("link", "real"), None, None, Meter())
        with refused():
            location.remove(msgspec.structs.replace(inside, path="link/kept"))
        assert content_of(location, "real/kept") == b"kept"
