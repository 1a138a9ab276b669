"""Promises of put."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import msgspec
import pytest

from runner.errors import EntryCode, EntryError
from runner.locations.protocol import OpenSettings
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
    folder_entry,
    link_entry,
    listed,
    put_file,
    put_folder,
    refused,
    stated,
    stored_mtime,
)
from runner.testing.digests import digest_of

SAMPLES: dict[str, tuple[Attributes, Attributes]] = {
    "mode": (Attributes(mode=0o640), Attributes(mode=0o604)),
    "xattrs": (
        Attributes(xattrs=(("user.colour", b"red\0\xff"),)),
        Attributes(xattrs=(("user.colour", b"blue"), ("user.empty", b""))),
    ),
    "tags": (Attributes(tags=(("team", "blue"),)), Attributes(tags=(("team", "red"),))),
    "content_headers": (
        Attributes(content_headers=(("content-type", "text/plain"),)),
        Attributes(content_headers=(("content-type", "image/png"),)),
    ),
}
"""Two values for each attribute that any user may set on an entry of his own."""


class WritingPromises(ConformanceBase):
    """put makes exactly the entry exist, all or nothing, or changes nothing and says why."""

    @pytest.mark.parametrize("algorithm", list(DigestAlgorithm))
    def test_a_new_file_is_as_its_entry_says(self, algorithm: DigestAlgorithm) -> None:
        """Content, size, time; Written holds the bytes and the digest of what was sent."""
        location = self._opened(open_settings=OpenSettings(digest=algorithm))
        content = bytes(range(256)) * 1000
        written = location.put(file_entry("a", content), [content[:7], content[7:]], None, Meter())
        assert content_of(location, "a") == content
        entry = stated(location, "a")
        assert (entry.kind, entry.size_bytes) == (Kind.FILE, len(content))
        assert written.bytes == len(content)
        assert written.digest in (None, digest_of(content, algorithm))
        assert written.refused == ()

    def test_times_are_kept_to_the_promised_resolution(self) -> None:
        """mtime_resolution_ns: truncated, not rounded; the same from stat and from scan."""
        location = self._opened()
        if location.capabilities.mtime_resolution_ns is None:
            pytest.skip("keeps no times of ours")
        for number, mtime_ns in enumerate([MTIME_NS, 0, 1, 1_999_999_999, 4_000_000_000_123_456_789]):
            path = f"file-{number}"
            location.put(file_entry(path, b"x", mtime_ns=mtime_ns), [b"x"], None, Meter())
            expected = stored_mtime(location.capabilities, mtime_ns)
            assert stated(location, path).mtime_ns == expected
            assert entries(location)[path].mtime_ns == expected

    @pytest.mark.parametrize("name", sorted(SAMPLES))
    def test_attributes_come_back(self, name: str) -> None:
        """Each attribute that the capabilities name, on a new file and on a replaced one."""
        location = self._opened(open_settings=OpenSettings(attributes=frozenset({name})))
        if name not in location.capabilities.attributes:
            pytest.skip(f"carries no {name}")
        first, second = SAMPLES[name]
        written = location.put(file_entry("a", b"x", first), [b"x"], None, Meter())
        assert written.refused == ()
        before = stated(location, "a")
        assert before.attributes == first
        location.put(file_entry("a", b"y", second), [b"y"], before, Meter())
        assert stated(location, "a").attributes == second

    def test_folder_attributes_come_back(self) -> None:
        """A folder put where one stands only sets its attributes: what is in it stays."""
        location = self._opened()
        if "mode" not in location.capabilities.attributes or not location.capabilities.empty_directories:
            pytest.skip("carries no mode of folders")
        location.put(folder_entry("d/", Attributes(mode=0o750)), None, None, Meter())
        put_file(location, "d/inside", b"kept")
        standing = stated(location, "d/")
        assert standing.attributes is not None and standing.attributes.mode == 0o750
        location.put(folder_entry("d/", Attributes(mode=0o705)), None, standing, Meter())
        location.put(folder_entry("d/", Attributes(mode=0o705)), None, None, Meter())
        after = stated(location, "d/")
        assert after.attributes is not None and after.attributes.mode == 0o705
        assert content_of(location, "d/inside") == b"kept"
        assert after.mtime_ns == stored_mtime(location.capabilities, MTIME_NS)

    def test_missing_parents_are_made(self) -> None:
        """Missing parent folders are made, private (mode 0700) until the engine sets what they should
        have."""
        location = self._opened()
        put_file(location, "x/y/z")
        assert sorted(listed(location)) == ["x/", "x/y/", "x/y/z"]
        attributes = stated(location, "x/y/").attributes
        if "mode" in location.capabilities.attributes and not location.capabilities.implicit_directories:
            assert attributes is not None and attributes.mode == 0o700

    def test_nothing_is_overwritten_unasked(self) -> None:
        """`replaces` None: nothing may stand there, else STALE."""
        location = self._opened()
        before = put_file(location, "a", b"old")
        with refused(EntryCode.STALE):
            location.put(file_entry("a", b"new"), [b"new"], None, Meter())
        assert (content_of(location, "a"), stated(location, "a")) == (b"old", before)

    def test_what_stands_there_as_expected_is_replaced(self) -> None:
        """With the right `replaces` the new content stands alone."""
        location = self._opened()
        before = put_file(location, "a", b"old and long")
        location.put(file_entry("a", b"new"), [b"new"], before, Meter())
        assert content_of(location, "a") == b"new"
        assert listed(location) == ["a"]

    @pytest.mark.parametrize("change", ["size", "mtime", "version", "kind", "gone", "behind"])
    def test_what_is_not_as_expected_is_not_replaced(self, change: str) -> None:
        """STALE when what stands there is not as `replaces` says, and nothing is touched."""
        location = self._opened()
        standing = put_file(location, "a", b"old")
        expected = standing
        if change == "size":
            expected = msgspec.structs.replace(standing, size_bytes=99)
        elif change == "mtime":
            if standing.mtime_ns is None:
                pytest.skip("gives no times")
            expected = msgspec.structs.replace(standing, mtime_ns=standing.mtime_ns - 3_600_000_000_000)
        elif change == "version":
            if standing.version is None:
                pytest.skip("gives no versions")
            expected = msgspec.structs.replace(standing, version="never")
        elif change == "kind":
            expected = Entry("a/", Kind.DIRECTORY)
        elif change == "gone":
            location.remove(standing)
        else:
            self.write_behind("a", b"someone else's, longer")
        present = location.stat("a")
        with refused(EntryCode.STALE):
            location.put(file_entry("a", b"new"), [b"new"], expected, Meter())
        assert location.stat("a") == present
        assert listed(location) == ([] if present is None else ["a"])

    def test_a_change_while_the_content_comes_is_seen(self) -> None:
        """`replaces` is checked when the content is published, not only before it came."""
        location = self._opened()
        standing = put_file(location, "a", b"old")

        def content() -> Iterator[bytes]:
            yield b"ne"
            self.write_behind("a", b"someone else's, longer")
            yield b"w"

        with refused(EntryCode.STALE):
            location.put(file_entry("a", b"new"), content(), standing, Meter())
        assert content_of(location, "a") == b"someone else's, longer"

    def test_a_name_taken_while_the_content_comes_is_seen(self) -> None:
        """Also where nothing stood."""
        location = self._opened()
        other = self._opened()

        def content() -> Iterator[bytes]:
            yield b"ne"
            put_file(other, "a", b"someone else's")
            yield b"w"

        with refused(EntryCode.STALE):
            location.put(file_entry("a", b"new"), content(), None, Meter())
        assert content_of(location, "a") == b"someone else's"

    @pytest.mark.parametrize("stands", [True, False])
    def test_broken_content_leaves_everything_as_it_was(self, stands: bool) -> None:
        """All or nothing: an exception passes through unchanged, and nothing half-written stays."""
        location = self._opened()
        standing = put_file(location, "d/a", b"old") if stands else None
        before = listed(location)
        error = EntryError(EntryCode.IO_ERROR, "d/a", "the source broke")
        entry = file_entry("d/a", b"new" * 100_000)
        with pytest.raises(EntryError) as caught:
            location.put(entry, broken_after(b"new" * 50_000, error), standing, Meter())
        assert caught.value is error
        assert [path for path in listed(location) if path != "d/"] == [
            path for path in before if path != "d/"
        ]
        if stands:
            assert content_of(location, "d/a") == b"old"

    @pytest.mark.parametrize("sent", [b"", b"shorte", b"longer than said"])
    def test_content_of_another_length_is_not_published(self, sent: bytes) -> None:
        """The entry says 7 bytes: anything else is not that entry."""
        location = self._opened()
        with refused():
            location.put(file_entry("a", b"7 bytes"), [sent] if sent else [], None, Meter())
        assert listed(location) == []

    def test_the_throttle_is_asked_for_every_byte(self) -> None:
        """Asked before each chunk is moved, and for all of them together."""
        location = self._opened()
        meter = Meter()

        def content() -> Iterator[bytes]:
            for _ in range(10):
                yield b"x" * 10_000

        location.put(file_entry("a", b"x" * 100_000), content(), None, meter)
        assert meter.taken == 100_000

    def test_cancelling_leaves_nothing(self) -> None:
        """The throttle raises CANCELLED when the execution is stopped."""
        location = self._opened()
        content = [b"x" * 100_000] * 10
        with refused(EntryCode.CANCELLED):
            location.put(file_entry("a", b"x" * 1_000_000), content, None, Meter(cancel_after_bytes=500_000))
        assert listed(location) == []

    def test_readers_see_the_old_or_the_new_never_a_mixture(self) -> None:
        """atomic_put: while content comes, others see what stood there, and no temporary name."""
        location = self._opened()
        if not location.capabilities.atomic_put:
            pytest.skip("no atomic_put")
        other = self._opened()
        standing = put_file(location, "a", b"old")
        seen: list[tuple[bytes, list[str]]] = []

        def content() -> Iterator[bytes]:
            for _ in range(5):
                seen.append((content_of(other, "a"), listed(other)))
                yield b"new" * 100_000

        location.put(file_entry("a", b"new" * 500_000), content(), standing, Meter())
        assert seen == [(b"old", ["a"])] * 5
        assert content_of(other, "a") == b"new" * 500_000

    @pytest.mark.parametrize("kind", [kind for kind in Kind if kind not in (Kind.FILE, Kind.DIRECTORY)])
    def test_kinds_are_as_the_capabilities_say(self, kind: Kind) -> None:
        """A kind that is held can be put and comes back; any other is KIND_NOT_SUPPORTED."""
        location = self._opened(open_settings=OpenSettings(attributes=frozenset({"device"})))
        is_device = kind in (Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE)
        attributes = Attributes(device=0x103) if is_device else None
        target = "some target" if kind is Kind.SYMLINK else None
        entry = Entry("special", kind, link_target=target, attributes=attributes)
        if kind not in location.capabilities.kinds:
            with refused(EntryCode.KIND_NOT_SUPPORTED):
                location.put(entry, None, None, Meter())
            assert listed(location) == []
            return
        try:
            location.put(entry, None, None, Meter())
        except EntryError as error:
            if is_device and error.entry_code is EntryCode.PERMISSION_DENIED:
                pytest.skip("this user may not make devices")
            raise
        stands = stated(location, "special")
        assert (stands.path, stands.kind, stands.link_target) == ("special", kind, target)
        if is_device:
            assert stands.attributes is not None and stands.attributes.device == 0x103
        location.remove(stands)
        assert listed(location) == []

    @pytest.mark.parametrize(
        "target",
        ["a", "../../outside", "/etc/passwd", "no such", "x" * 1000, "new\nline", "bad-\udcff", "a/"],
    )
    def test_a_symlink_s_text_comes_back_exactly(self, target: str) -> None:
        """A link is its text: dangling, absolute or odd, it is stored and never followed."""
        location = self._needs(Kind.SYMLINK)
        location.put(link_entry("link", target), None, None, Meter())
        assert stated(location, "link").link_target == target
        assert listed(location) == ["link"]

    def test_replacing_a_link_leaves_its_target_alone(self) -> None:
        """The name is replaced, not what it points to."""
        location = self._needs(Kind.SYMLINK)
        put_file(location, "target", b"precious")
        location.put(link_entry("link", "target"), None, None, Meter())
        location.put(file_entry("link", b"file now"), [b"file now"], stated(location, "link"), Meter())
        assert content_of(location, "target") == b"precious"
        assert content_of(location, "link") == b"file now"

    def test_nothing_is_written_through_a_link(self) -> None:
        """A symlink in the place of a parent folder is not followed, whoever put it there."""
        location = self._needs(Kind.SYMLINK)
        if location.capabilities.file_beside_folder:
            pytest.skip("a link and a folder of the same name can both be")
        put_file(location, "real/kept", b"kept")
        location.put(link_entry("link", "real"), None, None, Meter())
        with refused():
            location.put(file_entry("link/evil", b"evil"), [b"evil"], None, Meter())
        assert sorted(listed(location)) == ["link", "real/", "real/kept"]
        assert stated(location, "link").kind is Kind.SYMLINK

    def test_a_file_in_the_place_of_a_parent_stays(self) -> None:
        """A file is not turned into a folder by the way."""
        location = self._opened()
        put_file(location, "a", b"kept")
        if location.capabilities.file_beside_folder or not location.capabilities.empty_directories:
            pytest.skip("an object and a prefix of the same name can both be")
        with refused():
            put_file(location, "a/b", b"new")
        assert content_of(location, "a") == b"kept"
        assert listed(location) == ["a"]

    def test_kinds_replace_each_other_in_one_step(self) -> None:
        """File to folder to link to file: an entry of another kind is replaced when it is as expected."""
        location = self._needs(Kind.SYMLINK, Kind.DIRECTORY)
        if not location.capabilities.empty_directories:
            pytest.skip("holds no empty folders")
        file = put_file(location, "a", b"file")
        location.put(folder_entry("a/"), None, file, Meter())
        assert listed(location) == ["a/"]
        location.put(link_entry("a", "elsewhere"), None, stated(location, "a/"), Meter())
        assert stated(location, "a").link_target == "elsewhere"
        location.put(file_entry("a", b"again"), [b"again"], stated(location, "a"), Meter())
        assert content_of(location, "a") == b"again"
        assert listed(location) == ["a"]

    def test_a_folder_that_holds_something_is_not_replaced(self) -> None:
        """STALE: what is below it was not part of what is to be replaced."""
        location = self._with_empty_folders()
        put_file(location, "a/inside", b"kept")
        with refused(EntryCode.STALE):
            location.put(file_entry("a", b"new"), [b"new"], stated(location, "a/"), Meter())
        assert content_of(location, "a/inside") == b"kept"

    def test_putting_a_folder_again_keeps_its_content(self) -> None:
        """A worker may have made it as a parent before: `replaces` None is no reason to refuse."""
        location = self._needs(Kind.DIRECTORY)
        put_file(location, "d/inside", b"kept")
        put_folder(location, "d/")
        assert content_of(location, "d/inside") == b"kept"

    def test_workers_write_side_by_side(self) -> None:
        """Each with its own object, into folders that none of them has made yet."""
        workers = min(4, self._opened().capabilities.max_concurrency)
        failures: list[BaseException] = []
        locations = [self._opened() for _ in range(workers)]

        def write(number: int) -> None:
            try:
                for index in range(10):
                    put_file(locations[number], f"new/{index}/by-{number}", b"%d" % number)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=write, args=(number,)) for number in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert len(listed(self._opened())) == 1 + 10 + 10 * workers
