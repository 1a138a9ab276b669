"""Many files between remotes of one daemon: a result for each, in order, with the promises of put."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from runner_plugins.rclone.driver import DRIVER
from runner_plugins.rclone.location import RcloneLocation
from servers.serve_rclone import RcloneServers, settings_of

from runner.errors import EntryCode, EntryError
from runner.locations.protocol import CopiesMany, Copying, OpenSettings, Written
from runner.model.entry import Entry
from runner.model.task import Secret
from runner.testing.conformance_base import Meter, content_of, listed, put_file, put_folder
from runner.testing.memory import MemoryTree, memory_driver


@dataclass
class Pair:
    source: RcloneLocation
    destination: RcloneLocation

    def copying(self, path: str, replaces: Entry | None = None, **facts: Any) -> Copying:
        entry = self.source.stat(path)
        assert entry is not None
        return Copying(msgspec.structs.replace(entry, **facts), entry, replaces)

    def copy(self, copies: list[Copying], meter: Meter | None = None) -> list[Written | EntryError]:
        return list(self.destination.copy_many(self.source, copies, meter or Meter()))


def opened(options: dict[str, Any]) -> RcloneLocation:
    location = DRIVER.open(settings_of({"type": "rclone", **options}), OpenSettings(), create=True)
    assert isinstance(location, RcloneLocation)
    return location


def codes(results: list[Written | EntryError]) -> list[str]:
    return [one.entry_code.value if isinstance(one, EntryError) else "done" for one in results]


@pytest.fixture(params=["local", "crypt", "bucket"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    """From a local folder to one of the sorts of destinations."""
    source = opened({"backend": "local", "path": f"{tmp_path}/source"})
    vault = {"remote": f"{tmp_path}/vault", "password": Secret("of the vault", "test")}
    destination = opened(
        {
            "local": {"backend": "local", "path": f"{tmp_path}/destination"},
            "crypt": {"backend": "crypt", "settings": vault},
            "bucket": {"backend": "memory", "path": "bucket/root"},
        }[request.param]
    )
    yield Pair(source, destination)
    source.close()
    destination.close()


def test_each_file_has_its_own_outcome(pair: Pair) -> None:
    """One that is gone, one that changed, one whose place is taken: the others arrive."""
    for name in ("a", "changed", "d/b", "gone", "new\nline", "taken", "z"):
        put_file(pair.source, name, name.encode())
    put_file(pair.destination, "taken", b"someone else's")
    copies = [
        pair.copying("a"),
        pair.copying("changed", size_bytes=99),
        pair.copying("d/b"),
        pair.copying("gone"),
        pair.copying("new\nline"),
        pair.copying("taken"),
        pair.copying("z"),
    ]
    pair.source.remove(copies[3].entry)
    meter = Meter()
    results = pair.copy(copies, meter)
    assert codes(results) == [
        *("done", "changed_during_transfer", "done", "not_found", "done", "stale", "done"),
    ]
    assert {path: content_of(pair.destination, path) for path in ("a", "d/b", "new\nline", "taken", "z")} == {
        "a": b"a",
        "d/b": b"d/b",
        "new\nline": b"new\nline",
        "taken": b"someone else's",
        "z": b"z",
    }
    assert listed(pair.destination) == ["a", "d/", "d/b", "new\nline", "taken", "z"]
    assert list(pair.destination.leftovers()) == []
    assert meter.taken == len("a" + "d/b" + "new\nline" + "z")
    done = [one for one in results if isinstance(one, Written)]
    assert sum(one.bytes for one in done) == meter.taken
    for copying, result in zip(copies, results, strict=True):
        if isinstance(result, Written):
            present = pair.destination.stat(copying.target.path)
            assert present is not None and present.mtime_ns == copying.entry.mtime_ns


def test_what_is_expected_is_replaced(pair: Pair) -> None:
    """Also by a file of the same size and time, which rclone itself would hold equal and leave out."""
    put_file(pair.source, "a", b"new")
    old = put_file(pair.destination, "a", b"old")
    assert codes(pair.copy([pair.copying("a", msgspec.structs.replace(old, size_bytes=4))])) == ["stale"]
    assert content_of(pair.destination, "a") == b"old"
    assert codes(pair.copy([pair.copying("a", old)])) == ["done"]
    assert content_of(pair.destination, "a") == b"new"


def test_a_folder_in_the_place_stays(pair: Pair) -> None:
    put_file(pair.source, "a", b"new")
    put_file(pair.destination, "a/inside", b"kept")
    if pair.destination.capabilities.file_beside_folder:
        pytest.skip("a file and a folder of one name can both be")
    assert codes(pair.copy([pair.copying("a")])) == ["stale"]
    assert content_of(pair.destination, "a/inside") == b"kept"


def test_names_are_refused_singly(pair: Pair) -> None:
    put_file(pair.source, "a", b"x")
    good = pair.copying("a")
    bad = Copying(good.entry, msgspec.structs.replace(good.target, path="b\u201b"), None)
    assert codes(pair.copy([bad, good])) == ["name_not_allowed", "done"]


def test_cancelling_leaves_nothing(pair: Pair) -> None:
    for name in "abc":
        put_file(pair.source, name, b"x" * 1000)
    with pytest.raises(EntryError) as caught:
        pair.copy([pair.copying(name) for name in "abc"], Meter(cancel_after_bytes=1500))
    assert caught.value.entry_code is EntryCode.CANCELLED
    assert listed(pair.destination) == []
    assert list(pair.destination.leftovers()) == []


def test_more_than_one_round(pair: Pair) -> None:
    for number in range(230):
        put_file(pair.source, f"d/{number:03d}", b"%d" % number)
    copies = [pair.copying(f"d/{number:03d}") for number in range(230)]
    assert codes(pair.copy(copies)) == ["done"] * 230
    assert content_of(pair.destination, "d/229") == b"229"


def test_only_remotes_of_the_same_daemon(pair: Pair) -> None:
    assert isinstance(pair.destination, CopiesMany)
    assert pair.destination.copies_many_from(pair.source)
    driver = memory_driver({"other": MemoryTree()})
    other = driver.open(settings_of({"type": "memory", "tree": "other"}), OpenSettings(), create=True)
    assert not pair.destination.copies_many_from(other)
    other.close()


@pytest.mark.servers
def test_between_two_servers(rclone: RcloneServers) -> None:
    """SFTP to WebDAV with a file in the middle whose place holds a folder: it stays, the others arrive."""
    source = opened({key: value for key, value in rclone.sftp.location().items() if key != "type"})
    destination = opened({key: value for key, value in rclone.webdav.location().items() if key != "type"})
    pair = Pair(source, destination)
    try:
        for name in ("a", "b", "c"):
            put_file(source, name, name.encode() * 5000)
        put_folder(destination, "b/")
        put_file(destination, "b/inside", b"kept")
        results = pair.copy([pair.copying(name) for name in ("a", "b", "c")])
        assert codes(results) == ["done", "stale", "done"]
        assert content_of(destination, "c") == b"c" * 5000
        assert content_of(destination, "b/inside") == b"kept"
        first = destination.stat("a")
        assert first is not None and first.mtime_ns == pair.copying("a").entry.mtime_ns
    finally:
        source.close()
        destination.close()
