"""Promises of the optional roles. A role that is not offered is skipped: it is never called."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from runner.errors import EntryCode, EntryError
from runner.locations.protocol import (
    CopiesFrom,
    Digests,
    HoldsLock,
    Identifies,
    Linking,
    Location,
    OpenSettings,
    Renames,
    SetsAttributes,
    Sweeps,
)
from runner.model.entry import Attributes, Entry, Kind
from runner.model.task import DigestAlgorithm
from runner.testing.conformance_base import (
    MTIME_NS,
    ConformanceBase,
    Meter,
    broken_after,
    content_of,
    entries,
    file_entry,
    listed,
    put_file,
    put_folder,
    refused,
    stated,
    stored_mtime,
)
from runner.testing.digests import digest_of

LATER_NS = MTIME_NS + 86_400_000_000_000


class RolePromises(ConformanceBase):
    """What a location offers beyond the six methods works as the protocol says."""

    def _offering(self, role: Any, location: Location | None = None) -> tuple[Location, Any]:
        """The same object twice: as a Location, and as the role it offers; a skip when it does not."""
        location = location or self._opened()
        if not isinstance(location, role):
            pytest.skip(f"{role.__name__} is not offered")
        return location, location

    # -- SetsAttributes --------------------------------------------------------------------------------------

    def test_metadata_is_set_without_content(self) -> None:
        """SetsAttributes: mtime and attributes that are not None are set, the rest and the content stay."""
        location, role = self._offering(SetsAttributes)
        capabilities = location.capabilities
        put_file(location, "a", b"content")
        before = stated(location, "a")
        attributes = Attributes(mode=0o604) if "mode" in capabilities.attributes else None
        written = role.set_attributes(Entry("a", Kind.FILE, mtime_ns=LATER_NS, attributes=attributes), before)
        after = stated(location, "a")
        assert content_of(location, "a") == b"content"
        if capabilities.mtime_resolution_ns is not None:
            assert after.mtime_ns == stored_mtime(capabilities, LATER_NS)
            assert written.refused == ()
        if attributes is not None:
            assert after.attributes is not None and after.attributes.mode == 0o604
        role.set_attributes(Entry("a", Kind.FILE), after)
        again = stated(location, "a")
        assert (again.mtime_ns, again.attributes) == (after.mtime_ns, after.attributes)

    def test_metadata_of_what_changed_is_not_set(self) -> None:
        """SetsAttributes: STALE when it is not as expected; NOT_FOUND or STALE when it is gone."""
        location, role = self._offering(SetsAttributes)
        before = put_file(location, "a", b"old")
        self.write_behind("a", b"new and longer")
        present = stated(location, "a")
        with refused(EntryCode.STALE):
            role.set_attributes(Entry("a", Kind.FILE, mtime_ns=LATER_NS), before)
        assert stated(location, "a") == present
        location.remove(present)
        with refused(EntryCode.STALE, EntryCode.NOT_FOUND):
            role.set_attributes(Entry("a", Kind.FILE, mtime_ns=LATER_NS), present)

    def test_metadata_of_a_folder(self) -> None:
        """SetsAttributes: a folder is stale only when it is no folder."""
        location, role = self._offering(SetsAttributes, self._with_empty_folders())
        put_folder(location, "d/")
        folder = stated(location, "d/")
        put_file(location, "d/inside")
        role.set_attributes(Entry("d/", Kind.DIRECTORY, mtime_ns=LATER_NS), folder)
        assert stated(location, "d/").mtime_ns == stored_mtime(location.capabilities, LATER_NS)
        put_file(location, "file")
        with refused(EntryCode.STALE, EntryCode.NOT_FOUND):
            role.set_attributes(
                Entry("file/", Kind.DIRECTORY, mtime_ns=LATER_NS), Entry("file/", Kind.DIRECTORY)
            )

    # -- Linking ---------------------------------------------------------------------------------------------

    def test_linking_is_offered_as_the_capabilities_say(self) -> None:
        """hard_links: link_group is reported and Linking offered."""
        location = self._opened()
        assert isinstance(location, Linking) == location.capabilities.hard_links
        assert put_file(location, "a").link_group is None

    def test_a_link_is_another_name(self) -> None:
        """Linking: both names are listed as one group, whose content is one."""
        location, role = self._offering(Linking)
        put_file(location, "a", b"one")
        role.link("d/b", "a", None)
        seen = entries(location)
        assert seen["a"].link_group is not None
        assert seen["a"].link_group == seen["d/b"].link_group
        assert content_of(location, "d/b") == b"one"
        location.put(file_entry("a", b"two"), [b"two"], stated(location, "a"), Meter())
        assert (content_of(location, "a"), content_of(location, "d/b")) == (b"two", b"one")

    def test_a_link_replaces_only_what_is_expected(self) -> None:
        """Linking: STALE when something stands there, or is not as `replaces` says; atomic otherwise."""
        location, role = self._offering(Linking)
        put_file(location, "a", b"one")
        standing = put_file(location, "b", b"other")
        with refused(EntryCode.STALE):
            role.link("b", "a", None)
        with refused(EntryCode.STALE):
            role.link("b", "a", msgspec.structs.replace(standing, size_bytes=99))
        assert content_of(location, "b") == b"other"
        role.link("b", "a", standing)
        assert content_of(location, "b") == b"one"
        assert listed(location) == ["a", "b"]

    def test_a_link_to_nothing_is_refused(self) -> None:
        """Linking: the target must be there."""
        location, role = self._offering(Linking)
        with refused():
            role.link("b", "none", None)
        assert listed(location) == []

    # -- CopiesFrom ------------------------------------------------------------------------------------------

    def test_copying_keeps_the_promises_of_put(self) -> None:
        """CopiesFrom: content, time, digest and checks are as with read and put."""
        location, role = self._offering(CopiesFrom)
        source = self._opened()
        if not role.copies_from(source):
            pytest.skip("does not copy from itself")
        content = bytes(range(256)) * 4000
        entry = put_file(source, "a", content)
        target = file_entry("b", content)
        meter = Meter()
        written = role.copy(source, entry, target, None, meter)
        assert (content_of(location, "b"), meter.taken) == (content, len(content))
        assert written.bytes == len(content)
        assert written.digest in (None, digest_of(content, DigestAlgorithm.XXH3_128))
        assert stated(location, "b").mtime_ns == stored_mtime(location.capabilities, MTIME_NS)
        with refused(EntryCode.STALE):
            role.copy(source, entry, target, None, Meter())
        self.write_behind("a", b"changed")
        with refused(EntryCode.CHANGED_DURING_TRANSFER):
            role.copy(source, entry, file_entry("c", content), None, Meter())
        assert listed(location) == ["a", "b"]

    # -- Renames ---------------------------------------------------------------------------------------------

    def test_an_entry_moves_whole(self) -> None:
        """Renames: content and time go along; parents are made."""
        location, role = self._offering(Renames)
        entry = put_file(location, "a", b"content")
        role.rename(entry, "x/y/b")
        assert sorted(listed(location)) == ["x/", "x/y/", "x/y/b"]
        assert content_of(location, "x/y/b") == b"content"
        assert stated(location, "x/y/b").mtime_ns == entry.mtime_ns

    def test_nothing_is_overwritten_by_moving(self) -> None:
        """Renames: nothing may stand at the new path."""
        location, role = self._offering(Renames)
        entry = put_file(location, "a", b"moved")
        put_file(location, "b", b"kept")
        with refused():
            role.rename(entry, "b")
        assert (content_of(location, "a"), content_of(location, "b")) == (b"moved", b"kept")

    def test_what_changed_is_not_moved(self) -> None:
        """Renames: exactly this entry."""
        location, role = self._offering(Renames)
        entry = put_file(location, "a", b"old")
        self.write_behind("a", b"new and longer")
        with refused(EntryCode.STALE):
            role.rename(entry, "b")
        assert listed(location) == ["a"]

    def test_what_is_gone_is_not_moved(self) -> None:
        """Renames: NOT_FOUND or STALE when nothing is there."""
        location, role = self._offering(Renames)
        entry = put_file(location, "a")
        location.remove(entry)
        with refused(EntryCode.NOT_FOUND, EntryCode.STALE):
            role.rename(entry, "b")

    # -- Digests ---------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("algorithm", list(DigestAlgorithm))
    def test_digests_are_of_the_present_content(self, algorithm: DigestAlgorithm) -> None:
        """Digests: read from the storage now; CHANGED_DURING_TRANSFER when it is not the entry's."""
        location, role = self._offering(Digests)
        for content in (b"", b"content", bytes(range(256)) * 5000):
            entry = put_file(location, f"file-{len(content)}", content)
            assert role.digest(entry, algorithm, Meter()) == digest_of(content, algorithm)
        entry = stated(location, "file-7")
        self.write_behind("file-7", b"changed, longer")
        with refused(EntryCode.CHANGED_DURING_TRANSFER):
            role.digest(entry, algorithm, Meter())

    # -- Identifies ------------------------------------------------------------------------------------------

    def test_identity_stays(self) -> None:
        """Identifies: equal for every object over the same storage, also after writes; facts are text."""
        location, role = self._offering(Identifies)
        put_file(location, "a")
        identity = role.identity()
        put_file(location, "b")
        _, again = self._offering(Identifies)
        assert again.identity() == identity
        assert identity.facts and identity.describe()

    def test_space_is_not_negative(self) -> None:
        """Identifies: free space, or None where it is unknown or unlimited."""
        location, role = self._offering(Identifies)
        put_file(location, "a")
        space = role.space()
        assert space.free_bytes is None or space.free_bytes >= 0
        assert space.free_entries is None or space.free_entries >= 0

    # -- HoldsLock and Sweeps --------------------------------------------------------------------------------

    def test_the_lock_is_held_by_one(self) -> None:
        """HoldsLock: True for one object until it is closed; it leaves nothing behind."""
        location, role = self._offering(HoldsLock)
        put_file(location, "a")
        second = self._opened()
        assert isinstance(second, HoldsLock)
        assert role.lock() is True
        assert second.lock() is False
        location.close()
        assert second.lock() is True
        assert listed(second) == ["a"]

    def test_failed_writes_leave_nothing_to_sweep(self) -> None:
        """Sweeps: only dead executions leave something; a failed put cleans up after itself."""
        location, role = self._offering(Sweeps)
        broken = broken_after(b"x", EntryError(EntryCode.IO_ERROR, "a", "the source broke"))
        with refused(EntryCode.IO_ERROR):
            location.put(file_entry("a", b"x" * 9), broken, None, Meter())
        list(location.scan())
        assert list(role.leftovers()) == []

    def test_work_in_progress_is_known_by_its_execution(self) -> None:
        """Sweeps: a temporary file is not listed, and its leftover carries the execution's id."""
        ours = self._opened(open_settings=OpenSettings(execution_id="0123456789ab"))
        location, role = self._offering(Sweeps)
        seen: list[list[tuple[str, str]]] = []

        def content() -> Iterator[bytes]:
            yield b"1"
            assert listed(location) == []
            seen.append(list(role.leftovers()))
            yield b"2"

        ours.put(file_entry("a", b"12"), content(), None, Meter())
        assert {execution_id for _, execution_id in seen[0]} <= {"0123456789ab"}
        assert listed(location) == ["a"]
