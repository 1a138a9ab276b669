"""Promises of scan and stat."""

from __future__ import annotations

import pytest

from runner.errors import EntryCode
from runner.locations.protocol import Location, OpenSettings
from runner.model.entry import Entry, Kind, Problem, path_bytes
from runner.testing.conformance_base import (
    ConformanceBase,
    Meter,
    file_entry,
    listed,
    put_file,
    put_folder,
    stated,
)

TRICKY = [
    "a",
    "b-c",
    "b.c",
    "b/1",
    "b/c/2",
    "b0",
    "c/.hidden",
    "c/d",
    "c/d.e",
    "z\u00e9",
    "z\u00e9/x",
    "\U0001f600",
]


def fill(location: Location) -> list[str]:
    """Files at paths whose byte order differs from their name order; all paths in canonical order."""
    files = [path for path in TRICKY if path != "z\u00e9"]
    for path in files:
        put_file(location, path)
    folders = {"b/", "b/c/", "c/", "z\u00e9/"}
    return sorted([*files, *folders], key=path_bytes)


class ListingPromises(ConformanceBase):
    """scan and stat agree with each other, with the order, and with what was put."""

    def test_scan_gives_every_path_once_in_the_promised_order(self) -> None:
        """Canonical order: the bytes of the path, directories with a slash ("b-c" before "b.c" before
        "b/1")."""
        location = self._opened()
        expected = fill(location)
        found = [one.path for one in location.scan()][1:]
        assert (found if location.capabilities.sorted_scan else sorted(found, key=path_bytes)) == expected

    def test_scan_starts_with_the_root_itself(self) -> None:
        """The prefix's own entry comes first; the root's path is the empty string."""
        location = self._opened()
        put_file(location, "a")
        first = next(iter(location.scan()))
        assert isinstance(first, Entry)
        assert (first.path, first.kind) == ("", Kind.DIRECTORY)

    def test_scan_of_a_prefix_gives_that_folder_and_what_is_below(self) -> None:
        """Entries below `prefix`, the prefix's own entry first, and nothing else."""
        location = self._opened()
        fill(location)
        found = [one.path for one in location.scan("b/")]
        assert found[0] == "b/"
        assert sorted(found) == ["b/", "b/1", "b/c/", "b/c/2"]
        assert sorted(one.path for one in location.scan("b/c/")) == ["b/c/", "b/c/2"]

    def test_scan_of_a_missing_prefix_gives_no_entry(self) -> None:
        """What is not there is not listed."""
        location = self._opened()
        fill(location)
        assert [one for one in location.scan("none/") if isinstance(one, Entry)] == []

    def test_descend_is_asked_for_each_folder_after_it_was_given(self) -> None:
        """False leaves out what is below, the folder's own entry stays."""
        location = self._opened()
        fill(location)
        given: list[str] = []
        asked: list[str] = []

        def descend(entry: Entry) -> bool:
            assert entry.kind is Kind.DIRECTORY
            assert given[-1] == entry.path, "asked before it was given, or too late"
            asked.append(entry.path)
            return entry.path not in ("b/c/", "c/")

        for found in location.scan("", descend):
            given.append(found.path)
        assert sorted(asked) == ["", "b/", "b/c/", "c/", "z\u00e9/"]
        assert sorted(given) == sorted(
            ["", "a", "b-c", "b.c", "b/", "b/1", "b/c/", "b0", "c/", "z\u00e9/", "z\u00e9/x", "\U0001f600"]
        )

    def test_refusing_the_root_lists_only_it(self) -> None:
        """`descend` is asked for the prefix's own entry too."""
        location = self._opened()
        fill(location)
        assert [found.path for found in location.scan("", lambda entry: False)] == [""]

    def test_entries_have_the_shape_of_their_kind(self) -> None:
        """Directories end with a slash, and only they; only files have a size."""
        location = self._opened()
        fill(location)
        for entry in location.scan():
            assert isinstance(entry, Entry)
            assert (entry.path == "" or entry.path.endswith("/")) == (entry.kind is Kind.DIRECTORY)
            assert (entry.size_bytes is not None) == (entry.kind is Kind.FILE)
            assert not entry.path.startswith("/") and "//" not in entry.path

    def test_stat_gives_what_scan_gave(self) -> None:
        """The same facts both ways: a plan made from a scan is checked against stat."""
        location = self._opened()
        fill(location)
        for entry in location.scan():
            assert isinstance(entry, Entry)
            if entry.path:
                assert location.stat(entry.path) == entry

    def test_stat_of_a_folder_may_lack_the_slash(self) -> None:
        """`stat("b")` and `stat("b/")` are the same folder."""
        location = self._opened()
        fill(location)
        assert stated(location, "b") == stated(location, "b/")
        assert stated(location, "b").path == "b/"

    @pytest.mark.parametrize("path", ["none", "none/", "b/none", "none/x", "a/x", "a/"])
    def test_stat_of_nothing_is_none(self, path: str) -> None:
        """None when nothing is there, also below a file; a file is not a folder."""
        location = self._opened()
        fill(location)
        assert location.stat(path) is None

    def test_scanning_again_gives_the_same(self) -> None:
        """Nothing moves by being looked at."""
        location = self._opened()
        fill(location)
        assert list(location.scan()) == list(location.scan())

    def test_another_location_object_sees_what_was_written(self) -> None:
        """Workers open their own."""
        location = self._opened()
        expected = fill(location)
        assert listed(self._opened(create=False)) == expected

    def test_a_scan_can_be_left_half_way(self) -> None:
        """Closing the iterator is harmless; the next scan is whole."""
        location = self._opened()
        expected = fill(location)
        stream = iter(location.scan())
        next(stream)
        next(stream)
        stream.close()  # type: ignore[attr-defined]
        assert listed(location) == expected

    def test_empty_folders_are_as_the_capabilities_say(self) -> None:
        """empty_directories: a folder can exist without content. Otherwise putting one leaves nothing and is
        no error, and a folder lives as long as something is in it."""
        location = self._needs(Kind.DIRECTORY)
        put_folder(location, "empty/")
        present = location.capabilities.empty_directories
        assert ("empty/" in listed(location)) == present
        assert (location.stat("empty/") is not None) == present
        entry = put_file(location, "full/a")
        assert "full/" in listed(location)
        location.remove(entry)
        if not location.capabilities.implicit_directories:
            assert ("full/" in listed(location)) == present

    def test_only_wanted_attributes_are_filled(self) -> None:
        """Attributes that are not asked for stay None: reading them costs."""
        location = self._opened(open_settings=OpenSettings(attributes=frozenset()))
        put_file(location, "a")
        attributes = stated(location, "a").attributes
        assert attributes is None or attributes == type(attributes)()

    def test_digests_are_given_as_the_capabilities_say(self) -> None:
        """`digests`: algorithms known without reading the content, and right."""
        import hashlib

        location = self._opened()
        entry = put_file(location, "a", b"some content")
        known = dict(entry.digests or ())
        assert set(known) == set(location.capabilities.digests)
        for algorithm, digest in known.items():
            if algorithm in hashlib.algorithms_available:
                assert digest == hashlib.new(algorithm, b"some content").hexdigest()

    def test_versions_move_with_the_content(self) -> None:
        """Equal versions mean surely unchanged."""
        location = self._opened()
        before = put_file(location, "a", b"one")
        if before.version is None:
            pytest.skip("gives no versions")
        assert stated(location, "a").version == before.version
        location.put(file_entry("a", b"two"), [b"two"], before, Meter())
        assert stated(location, "a").version != before.version

    def test_an_emptied_root_is_still_there(self) -> None:
        """A root without content is not a root that is gone: it is listed, and can be opened again."""
        location = self._opened()
        location.remove(put_file(location, "a"))
        assert [one.path for one in location.scan()] == [""]
        assert [one.path for one in self._opened(create=False).scan()] == [""]

    def test_a_folder_that_cannot_be_listed_is_a_problem_in_its_place(self) -> None:
        """Its entry, then Problem(not_listed) with its path, then the rest: nothing vanishes silently."""
        location = self._opened()
        for path in ("a", "m/inside", "z"):
            put_file(location, path)
        if not self.make_unlistable("m/"):
            pytest.skip("make_unlistable is not offered")
        found = [(type(one), one.path) for one in location.scan()]
        assert found == [(Entry, ""), (Entry, "a"), (Entry, "m/"), (Problem, "m/"), (Entry, "z")]
        codes = [one.code for one in location.scan() if isinstance(one, Problem)]
        assert codes == [EntryCode.NOT_LISTED]
