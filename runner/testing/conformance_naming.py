"""Promises about names: bytes come back as they went, or are refused by name; nothing leaves the root."""

from __future__ import annotations

import os

import pytest

from runner.errors import EntryCode, EntryError
from runner.model.entry import Kind
from runner.testing.conformance_base import (
    ConformanceBase,
    Meter,
    content_of,
    file_entry,
    listed,
    put_file,
    put_folder,
    refused,
)
from runner.testing.trees import hostile_names


class NamingPromises(ConformanceBase):
    """A name is a sequence of bytes and nothing else."""

    @pytest.mark.parametrize("number", range(len(hostile_names())))
    def test_a_hostile_name_arrives_byte_equal_or_is_refused(self, number: int) -> None:
        """No normalising, trimming, folding or merging; NAME_NOT_ALLOWED is the honest other answer."""
        name = os.fsdecode(hostile_names()[number])
        location = self._opened()
        try:
            put_file(location, f"d/{name}", b"hostile")
        except EntryError as error:
            assert error.entry_code is EntryCode.NAME_NOT_ALLOWED
            assert [path for path in listed(location) if path != "d/"] == []
            return
        assert listed(location) == ["d/", f"d/{name}"]
        assert content_of(location, f"d/{name}") == b"hostile"

    def test_hostile_names_live_side_by_side(self) -> None:
        """Names that look alike are different entries, each with its own content."""
        location = self._opened()
        written = {}
        for name in hostile_names():
            path = os.fsdecode(name)
            try:
                put_file(location, path, name)
            except EntryError as error:
                allowed = {EntryCode.NAME_NOT_ALLOWED}
                if not location.capabilities.case_sensitive:
                    allowed.add(EntryCode.STALE)
                assert error.entry_code in allowed
            else:
                written[path] = name
        assert {path: content_of(location, path) for path in listed(location)} == written

    @pytest.mark.parametrize(
        "path",
        ["../outside", "a/../../outside", "a/../b", "/absolute", "a//b", "./a", "a/.", "a/..", "..", "."],
    )
    def test_a_path_that_is_not_canonical_is_refused(self, path: str) -> None:
        """A driver never leaves its root, whatever a path says; and `a//b` is not another way to say
        `a/b`."""
        location = self._opened()
        put_file(location, "a/b", b"kept")
        with refused():
            location.put(file_entry(path, b"evil"), [b"evil"], None, Meter())
        try:
            assert location.stat(path) is None
        except EntryError:
            pass
        assert listed(location) == ["a/", "a/b"]
        assert content_of(location, "a/b") == b"kept"

    def test_a_nul_in_a_name_is_refused(self) -> None:
        """No storage holds it; it must not cut the name short."""
        location = self._opened()
        with refused():
            put_file(location, "a\0b")
        assert listed(location) == []

    def test_names_up_to_the_limit_arrive_and_longer_ones_are_refused(self) -> None:
        """max_name_bytes counts bytes, and temporary names do not shorten it."""
        location = self._opened()
        limit = location.capabilities.names.max_name_bytes
        if limit is None:
            pytest.skip("knows no limit")
        put_file(location, "n" * limit)
        with refused(EntryCode.NAME_NOT_ALLOWED):
            put_file(location, "m" * (limit + 1))
        with refused(EntryCode.NAME_NOT_ALLOWED):
            put_file(location, "\u00fc" * (limit // 2 + 1))
        assert listed(location) == ["n" * limit]

    def test_names_that_the_rules_refuse_are_refused_by_the_driver_too(self) -> None:
        """What `capabilities.names` forbids never reaches the storage as another name."""
        location = self._opened()
        rules = location.capabilities.names
        names = [f"a{character}b" for character in rules.forbidden if character != "/"]
        names += [f"a{character}" for character in rules.forbidden_end]
        names += [f"{name.lower()}.txt" for name in sorted(rules.reserved)[:3]]
        names += sorted(rules.reserved_exactly)
        if not rules.controls:
            names += ["a\x01b", "a\nb", "a\x7fb"]
        if rules.utf8:
            names.append("a\udcffb")
        if rules.max_name_units is not None:
            names.append("u" * (rules.max_name_units + 1))
        if rules.max_path_bytes is not None:
            names.append("/".join(["p" * 99] * (rules.max_path_bytes // 100 + 2)))
        if rules.max_path_units is not None:
            names.append("/".join(["p" * 99] * (rules.max_path_units // 100 + 2)))
        if rules.max_depth is not None:
            names.append("/".join(["d"] * (rules.max_depth + 1)))
        if not names:
            pytest.skip("refuses no names")
        for name in names:
            assert rules.refusal(name) is not None, f"the rules do not refuse {name!r}"
            with refused(EntryCode.NAME_NOT_ALLOWED):
                put_file(location, name)
        assert listed(location) == []

    def test_case_is_as_the_capabilities_say(self) -> None:
        """case_sensitive: names that differ by case are different; otherwise the second is refused, not
        merged."""
        location = self._opened()
        put_file(location, "Name", b"upper")
        if location.capabilities.case_sensitive:
            put_file(location, "name", b"lower")
            assert content_of(location, "name") == b"lower"
            assert len(listed(location)) == 2
        else:
            with refused(EntryCode.STALE):
                put_file(location, "name", b"lower")
            assert listed(location) == ["Name"]
        assert content_of(location, "Name") == b"upper"

    def test_deep_paths_arrive(self) -> None:
        """40 folders of 20 bytes: each is a folder of its own."""
        location = self._needs(Kind.DIRECTORY)
        path = "".join(f"folder-{depth:013d}/" for depth in range(40))
        put_file(location, path + "leaf", b"deep")
        assert content_of(location, path + "leaf") == b"deep"
        assert len(listed(location)) == 41

    def test_a_folder_put_with_hostile_names_is_found_again(self) -> None:
        """Folders follow the same rules as files."""
        location = self._with_empty_folders()
        for name in (b"new\nline", b"invalid-\xff", b" lead", b"-rf", b"*?[x]"):
            path = os.fsdecode(name) + "/"
            try:
                put_folder(location, path)
            except EntryError as error:
                assert error.entry_code is EntryCode.NAME_NOT_ALLOWED
            else:
                assert location.stat(path) is not None
                assert path in listed(location)
