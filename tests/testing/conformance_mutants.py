"""Drivers that each break one promise; test_conformance_catches.py wants the suite to fail on each."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator

import msgspec
import pytest

from runner.errors import EntryCode, EntryError
from runner.locations.protocol import Buffer, Location, OpenSettings, Throttle, Written
from runner.model.entry import Entry, Kind, Problem
from runner.model.task import LocationSettings
from runner.testing.conformance import ConformanceSuite
from runner.testing.memory import ONE_SECOND, RICH, MemoryLocation, MemoryTree, memory_driver, memory_location
from runner.testing.memory_tree import Node

Content = Iterable[Buffer] | None


class Mutant(ConformanceSuite):
    """The suite over RICH memory whose location class gets the mixin named by the test class."""

    mixin: type
    capabilities = RICH

    @pytest.fixture(autouse=True)
    def _fresh_tree(self) -> None:
        self.tree = MemoryTree(exists=False)
        self.driver = memory_driver({"tested": self.tree}, self.capabilities)

    def settings(self) -> LocationSettings:
        return LocationSettings("tested", "memory", {"tree": "tested"}, "/")

    def write_behind(self, path: str, content: bytes) -> None:
        self.tree.write(path, content)

    def open(self, *, create: bool = True, open_settings: OpenSettings | None = None) -> Location:
        location = memory_location(self.tree, self.capabilities, open_settings, create=create)
        location.__class__ = type("Mutated", (self.mixin, type(location)), {"__slots__": ()})
        return location


class Overwrites(MemoryLocation):
    def put(self, entry: Entry, content: Content, replaces: Entry | None, throttle: Throttle) -> Written:
        return super().put(entry, content, replaces or self.stat(entry.path), throttle)


class ForgetsTheSecondLook(MemoryLocation):
    def put(self, entry: Entry, content: Content, replaces: Entry | None, throttle: Throttle) -> Written:
        with self.tree.lock:
            self._expect(entry.path, replaces, entry.kind)
        gathered = None if content is None else [bytes(chunk) for chunk in content]
        return super().put(entry, gathered, self.stat(entry.path), throttle)


class PublishesHalves(MemoryLocation):
    def put(self, entry: Entry, content: Content, replaces: Entry | None, throttle: Throttle) -> Written:
        gathered: list[bytes] = []

        def kept() -> Iterator[bytes]:
            for chunk in content or ():
                gathered.append(bytes(chunk))
                yield gathered[-1]

        try:
            return super().put(entry, None if content is None else kept(), replaces, throttle)
        except EntryError as error:
            if gathered and error.entry_code is EntryCode.IO_ERROR:
                self.tree.write(entry.path, b"".join(gathered))
            raise


class TakesAnyLength(MemoryLocation):
    def put(self, entry: Entry, content: Content, replaces: Entry | None, throttle: Throttle) -> Written:
        return super().put(msgspec.structs.replace(entry, size_bytes=None), content, replaces, throttle)


class NeverThrottles(MemoryLocation):
    def put(self, entry: Entry, content: Content, replaces: Entry | None, throttle: Throttle) -> Written:
        class Free:
            def take(self, size_bytes: int) -> None:
                return

        return super().put(entry, content, replaces, Free())


class HashesSomethingElse(MemoryLocation):
    def put(self, entry: Entry, content: Content, replaces: Entry | None, throttle: Throttle) -> Written:
        written = super().put(entry, content, replaces, throttle)
        return msgspec.structs.replace(written, digest="xxh3_128:00") if written.digest else written


class RemovesWhatChanged(MemoryLocation):
    def remove(self, entry: Entry) -> None:
        super().remove(self.stat(entry.path) or entry)


class RemovesFullFolders(MemoryLocation):
    def remove(self, entry: Entry) -> None:
        node = self._lookup(entry.path)
        if node is not None and entry.is_directory:
            node.children.clear()
        super().remove(entry)


class SortsByName(MemoryLocation):
    def _listed(self, folder: str, node: Node) -> Iterator[tuple[Entry | Problem, Node]]:
        listed = list(super()._listed(folder, node))
        return iter(sorted(listed, key=lambda pair: pair[0].path.removesuffix("/")))


class ListsTwice(MemoryLocation):
    def _listed(self, folder: str, node: Node) -> Iterator[tuple[Entry | Problem, Node]]:
        for pair in super()._listed(folder, node):
            yield pair
            if pair[0].path == "b0":
                yield pair


class IgnoresDescend(MemoryLocation):
    def scan(
        self, prefix: str = "", descend: Callable[[Entry], bool] | None = None
    ) -> Iterator[Entry | Problem]:
        return super().scan(prefix, None)


class ReadsBlindly(MemoryLocation):
    def read(self, entry: Entry, offset: int = 0) -> Iterator[Buffer]:
        return super().read(self.stat(entry.path) or entry, offset)


class LooksOnlyBefore(MemoryLocation):
    def read(self, entry: Entry, offset: int = 0) -> Iterator[Buffer]:
        content = self._unchanged_source(entry).content
        return (content[start : start + 4096] for start in range(offset, len(content), 4096))


class IgnoresOffset(MemoryLocation):
    def read(self, entry: Entry, offset: int = 0) -> Iterator[Buffer]:
        return super().read(entry)


class LosesTheLastChunk(MemoryLocation):
    def read(self, entry: Entry, offset: int = 0) -> Iterator[Buffer]:
        chunks = [bytes(chunk) for chunk in super().read(entry, offset)]
        return iter(chunks[:-1] if len(chunks) > 1 else chunks)


class Renaming(MemoryLocation):
    """Base of mutants that change names on their way in."""

    @staticmethod
    def changed(path: str) -> str:
        raise AssertionError

    def put(self, entry: Entry, content: Content, replaces: Entry | None, throttle: Throttle) -> Written:
        entry = msgspec.structs.replace(entry, path=self.changed(entry.path))
        return super().put(entry, content, replaces, throttle)

    def stat(self, path: str) -> Entry | None:
        return super().stat(self.changed(path))


class Normalises(Renaming):
    @staticmethod
    def changed(path: str) -> str:
        return unicodedata.normalize("NFC", path)


class Strips(Renaming):
    @staticmethod
    def changed(path: str) -> str:
        return path.strip() or path


class FoldsCase(Renaming):
    @staticmethod
    def changed(path: str) -> str:
        return path.lower()


class MergesSlashes(Renaming):
    @staticmethod
    def changed(path: str) -> str:
        return path.replace("//", "/")


class RoundsTimes(MemoryLocation):
    def put(self, entry: Entry, content: Content, replaces: Entry | None, throttle: Throttle) -> Written:
        if entry.mtime_ns is not None:
            entry = msgspec.structs.replace(entry, mtime_ns=entry.mtime_ns + 500_000_000)
        return super().put(entry, content, replaces, throttle)


class ForgetsModes(MemoryLocation):
    def put(self, entry: Entry, content: Content, replaces: Entry | None, throttle: Throttle) -> Written:
        return super().put(msgspec.structs.replace(entry, attributes=None), content, replaces, throttle)


class StatDiffersFromScan(MemoryLocation):
    def stat(self, path: str) -> Entry | None:
        entry = super().stat(path)
        return None if entry is None else msgspec.structs.replace(entry, version=None)


class FollowsParents(MemoryLocation):
    def put(self, entry: Entry, content: Content, replaces: Entry | None, throttle: Throttle) -> Written:
        folder, slash, name = entry.path.rpartition("/")
        parent = super().stat(folder) if folder else None
        if parent is not None and parent.kind is Kind.SYMLINK:
            entry = msgspec.structs.replace(entry, path=f"{parent.link_target}{slash}{name}")
        return super().put(entry, content, replaces, throttle)


class ClosesOnce(MemoryLocation):
    def close(self) -> None:
        assert not hasattr(self, "closed"), "closed twice"
        self.closed = True


class LinksByCopy(MemoryLocation):
    def link(self, path: str, target: str, replaces: Entry | None) -> None:
        self.tree.write(path, self.tree.node(target).content)


class MovesOverOthers(MemoryLocation):
    def rename(self, entry: Entry, path: str) -> None:
        standing = self.stat(path)
        if standing is not None:
            self.remove(standing)
        super().rename(entry, path)  # type: ignore[misc]


class LosesEmptyFolders(MemoryLocation):
    def put(self, entry: Entry, content: Content, replaces: Entry | None, throttle: Throttle) -> Written:
        return Written() if entry.is_directory else super().put(entry, content, replaces, throttle)


class TakesMarkersForTheirs(MemoryLocation):
    """Hides its own kind of reserved folder also from who asks for it."""

    def stat(self, path: str) -> Entry | None:
        return None if path.startswith(".sync-runner/") else super().stat(path)


MUTANTS: dict[type, str] = {
    TakesMarkersForTheirs: "test_a_marker_can_be_written_read_and_replaced",
    Overwrites: "test_nothing_is_overwritten_unasked",
    ForgetsTheSecondLook: "test_a_change_while_the_content_comes_is_seen",
    PublishesHalves: "test_broken_content_leaves_everything_as_it_was",
    TakesAnyLength: "test_content_of_another_length_is_not_published",
    NeverThrottles: "test_the_throttle_is_asked_for_every_byte",
    HashesSomethingElse: "test_a_new_file_is_as_its_entry_says",
    RemovesWhatChanged: "test_what_changed_is_not_removed",
    RemovesFullFolders: "test_a_folder_that_holds_something_is_not_removed",
    SortsByName: "test_scan_gives_every_path_once_in_the_promised_order",
    ListsTwice: "test_scan_gives_every_path_once_in_the_promised_order",
    IgnoresDescend: "test_descend_is_asked_for_each_folder_after_it_was_given",
    ReadsBlindly: "test_a_file_changed_since_it_was_listed_is_not_read_as_if_it_were_not",
    LooksOnlyBefore: "test_a_change_while_reading_is_seen",
    IgnoresOffset: "test_offset_is_honoured",
    LosesTheLastChunk: "test_content_comes_back",
    Normalises: "test_hostile_names_live_side_by_side",
    Strips: "test_a_hostile_name_arrives_byte_equal_or_is_refused",
    FoldsCase: "test_case_is_as_the_capabilities_say",
    MergesSlashes: "test_a_path_that_is_not_canonical_is_refused",
    RoundsTimes: "test_times_are_kept_to_the_promised_resolution",
    ForgetsModes: "test_attributes_come_back",
    StatDiffersFromScan: "test_stat_gives_what_scan_gave",
    FollowsParents: "test_nothing_is_written_through_a_link",
    ClosesOnce: "test_closing_twice_is_harmless",
    LinksByCopy: "test_a_link_is_another_name",
    MovesOverOthers: "test_nothing_is_overwritten_by_moving",
    LosesEmptyFolders: "test_empty_folders_are_as_the_capabilities_say",
}
"""Each broken driver, and the test that is there to catch it."""

for _mutant in MUTANTS:
    _capabilities = ONE_SECOND if _mutant is RoundsTimes else RICH
    _body = {"mixin": _mutant, "capabilities": _capabilities}
    globals()[f"Test{_mutant.__name__}"] = type(f"Test{_mutant.__name__}", (Mutant,), _body)
