"""Promises of read."""

from __future__ import annotations

import msgspec
import pytest

from runner.errors import EntryCode
from runner.testing.conformance_base import ConformanceBase, content_of, put_file, refused, stated

BIG = bytes(range(256)) * 16_000
"""4 MB: more than one chunk for most drivers."""


class ReadingPromises(ConformanceBase):
    """read gives the whole content that the entry speaks of, or says that it cannot."""

    @pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 1_048_577])
    def test_content_comes_back(self, size: int) -> None:
        """Any size, the empty file included."""
        location = self._opened()
        content = BIG[:size]
        put_file(location, "a", content)
        assert content_of(location, "a") == content

    @pytest.mark.parametrize("offset", [0, 1, 65_536, 100_000, 199_999, 200_000])
    def test_offset_is_honoured(self, offset: int) -> None:
        """range_read: content from `offset`; at the end there is none."""
        location = self._opened()
        if not location.capabilities.range_read:
            pytest.skip("no range_read")
        entry = put_file(location, "a", BIG[:200_000])
        assert b"".join(bytes(chunk) for chunk in location.read(entry, offset)) == BIG[offset:200_000]

    def test_a_file_changed_since_it_was_listed_is_not_read_as_if_it_were_not(self) -> None:
        """CHANGED_DURING_TRANSFER, at the latest after the last chunk."""
        location = self._opened()
        entry = put_file(location, "a", b"before")
        self.write_behind("a", b"after, and longer")
        with refused(EntryCode.CHANGED_DURING_TRANSFER):
            list(location.read(entry))

    def test_a_change_of_the_same_size_is_seen(self) -> None:
        """By mtime or version: size alone does not tell."""
        location = self._opened()
        entry = put_file(location, "a", b"before")
        if entry.mtime_ns is None and entry.version is None:
            pytest.skip("gives neither times nor versions")
        self.write_behind("a", b"behind")
        with refused(EntryCode.CHANGED_DURING_TRANSFER):
            list(location.read(entry))

    def test_a_change_while_reading_is_seen(self) -> None:
        """What was read may be a mixture; it must not pass for the file."""
        location = self._opened()
        entry = put_file(location, "a", BIG)
        stream = iter(location.read(entry))
        next(stream)
        self.write_behind("a", BIG[::-1])
        with refused(EntryCode.CHANGED_DURING_TRANSFER):
            for _ in stream:
                pass

    @pytest.mark.parametrize(
        "facts", [{"size_bytes": 6}, {"mtime_ns": 1_500_000_000_000_000_000}, {"version": "never"}]
    )
    def test_a_file_that_is_not_as_the_entry_says_is_refused(self, facts: dict[str, object]) -> None:
        """Each fact that the entry knows counts."""
        location = self._opened()
        entry = put_file(location, "a", b"content")
        if any(getattr(entry, name) is None for name in facts):
            pytest.skip("does not know " + ", ".join(facts))
        with refused(EntryCode.CHANGED_DURING_TRANSFER):
            list(location.read(msgspec.structs.replace(entry, **facts)))

    def test_a_file_that_is_gone_is_refused(self) -> None:
        """NOT_FOUND, or CHANGED_DURING_TRANSFER."""
        location = self._opened()
        entry = put_file(location, "a")
        location.remove(entry)
        with refused(EntryCode.NOT_FOUND, EntryCode.CHANGED_DURING_TRANSFER):
            list(location.read(entry))

    def test_reading_can_be_left_half_way(self) -> None:
        """Closing the iterator is harmless, and the file can be read and replaced after."""
        location = self._opened()
        entry = put_file(location, "a", BIG)
        stream = iter(location.read(entry))
        next(stream)
        stream.close()  # type: ignore[attr-defined]
        assert content_of(location, "a") == BIG

    def test_reading_changes_nothing(self) -> None:
        """The source is not touched."""
        location = self._opened()
        entry = put_file(location, "a", BIG)
        list(location.read(entry))
        assert stated(location, "a") == entry
