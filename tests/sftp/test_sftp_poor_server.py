"""Servers without OpenSSH's extensions keep the promises too, or are refused by name. They run in this process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from runner_plugins.sftp.driver import DRIVER
from serve_poor import PoorServer, poor_server
from sftp_support import NOON_NS, opened, put, read

from runner.errors import EntryCode, EntryError, LocationUnavailableError
from runner.locations.protocol import OpenSettings
from runner.model.entry import Entry, Kind, Problem
from runner.model.task import Durability, LocationSettings
from runner.testing.conformance import ConformanceSuite
from runner.testing.conformance_base import Meter

pytestmark = pytest.mark.servers


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PoorServer]:
    with poor_server(tmp_path_factory.mktemp("poor")) as server:
        yield server


class TestSftpWithoutExtensions(ConformanceSuite):
    """Replacing takes three steps there, and a new name a look and a rename."""

    driver = DRIVER

    @pytest.fixture(autouse=True)
    def _fresh_root(self, bare: PoorServer, tmp_path: Path) -> None:
        self.server = bare
        self.root = tmp_path / "root"

    def settings(self) -> LocationSettings:
        return LocationSettings("tested", "sftp", self.server.options(self.root), "/")


def test_flushing_is_refused_where_the_server_cannot(bare: PoorServer, tmp_path: Path) -> None:
    durable = OpenSettings(durability=Durability.FILE)
    with pytest.raises(LocationUnavailableError, match="cannot flush"):
        with opened(bare.options(tmp_path), durable):
            pass
    with opened(bare.options(tmp_path), durable, create=False) as location:
        assert len(list(location.scan())) == 1


def test_an_old_file_comes_back_when_the_new_one_cannot_take_its_name(tmp_path: Path) -> None:
    """Without posix-rename the old one steps aside; it is not lost when the next step fails."""
    root = tmp_path / "root"
    root.mkdir()

    class Stubborn(asyncssh.SFTPServer):
        def rename(self, oldpath: bytes, newpath: bytes) -> Any:
            if newpath.endswith(b"/a") and oldpath.endswith(b".part") and not refused:
                refused.append(oldpath)
                raise asyncssh.SFTPFailure("not today")
            return super().rename(oldpath, newpath)

    refused: list[bytes] = [b"the first put is let through"]
    folder = tmp_path / "keys"
    folder.mkdir()
    with poor_server(folder, server=Stubborn) as server, opened(server.options(root)) as location:
        standing = put(location, "a", b"old")
        refused.clear()
        new = Entry("a", Kind.FILE, size_bytes=3, mtime_ns=NOON_NS)
        with pytest.raises(EntryError) as caught:
            location.put(new, [b"new"], standing, Meter())
        assert caught.value.entry_code is EntryCode.IO_ERROR
        assert len(refused) == 1
        assert [(path.name, path.read_bytes()) for path in root.iterdir()] == [("a", b"old")]
        location.put(new, [b"new"], standing, Meter())
        assert [(path.name, path.read_bytes()) for path in root.iterdir()] == [("a", b"new")]


def test_a_rename_that_replaces_is_not_trusted(tmp_path: Path) -> None:
    """Servers in Go rename over what is there: with hard links at hand, a new name never replaces anything."""
    root = tmp_path / "root"
    root.mkdir()

    class Replacing(asyncssh.SFTPServer):
        def rename(self, oldpath: bytes, newpath: bytes) -> None:
            os.replace(oldpath, newpath)

        def link(self, oldpath: bytes, newpath: bytes) -> Any:
            Path(os.fsdecode(newpath)).write_bytes(b"came in between")
            return super().link(oldpath, newpath)

    folder = tmp_path / "keys"
    folder.mkdir()
    offers = (b"hardlink@openssh.com",)
    with poor_server(folder, server=Replacing, offers=offers) as server:
        with opened(server.options(root)) as location, pytest.raises(EntryError) as caught:
            put(location, "a", b"mine")
    assert caught.value.entry_code is EntryCode.STALE
    assert [(path.name, path.read_bytes()) for path in root.iterdir()] == [("a", b"came in between")]


@pytest.mark.parametrize("target_first", [True, False])
def test_the_order_of_a_symlink_s_arguments_is_found_out(tmp_path: Path, target_first: bool) -> None:
    """The draft and OpenSSH differ; the wrong guess would make links wherever the target points to."""
    root, outside, folder = tmp_path / "root", tmp_path / "outside", tmp_path / "keys"
    for one in (root, outside, folder):
        one.mkdir()
    with poor_server(folder, target_first=target_first) as server, opened(server.options(root)) as location:
        for name in ("one", "d/two"):
            link = Entry(name, Kind.SYMLINK, link_target=str(outside / "nothing"))
            location.put(link, None, None, Meter())
            assert os.readlink(root / name) == str(outside / "nothing")
    assert list(outside.iterdir()) == []
    assert sorted(path.name for path in root.rglob("*")) == ["d", "one", "two"]


def test_a_listing_with_impossible_names_is_a_problem(tmp_path: Path) -> None:
    """A name with a slash would lead out of the folder: nothing of such a listing is believed."""
    root, folder = tmp_path / "root", tmp_path / "keys"
    root.mkdir()
    folder.mkdir()

    class Lying(asyncssh.SFTPServer):
        async def scandir(self, path: bytes) -> Any:
            async for name in super().scandir(path):
                yield name
            yield asyncssh.SFTPName(told[0], attrs=asyncssh.SFTPAttrs(permissions=0o100644, size=1))

    told = [b""]
    with poor_server(folder, server=Lying) as server, opened(server.options(root)) as location:
        put(location, "a", b"x")
        for name in (b"../evil", b"/etc/passwd", b"x/y", b"nul\0", b"", b"a"):
            told[0] = name
            found = list(location.scan())
            assert [type(one) for one in found] == [Entry, Problem], name
            assert isinstance(found[1], Problem) and found[1].code is EntryCode.NOT_LISTED
        told[0] = b"fine"
        assert [one.path for one in location.scan()] == ["", "a", "fine"]


def test_short_answers_to_reads_are_completed(tmp_path: Path) -> None:
    """A server may answer with less than was asked for, at any place."""
    root, folder = tmp_path / "root", tmp_path / "keys"
    root.mkdir()
    folder.mkdir()
    content = bytes(range(256)) * 8_000

    class Short(asyncssh.SFTPServer):
        def read(self, file_obj: object, offset: int, size: int) -> Any:
            return super().read(file_obj, offset, min(size, 10_001))

    with poor_server(folder, server=Short) as server, opened(server.options(root)) as location:
        put(location, "a", content)
        put(location, "small", content[:50_000])
        assert read(location, "a") == content
        assert read(location, "small") == content[:50_000]


def test_what_the_server_garbled_is_not_published(tmp_path: Path) -> None:
    """integrity: read_back sees that other bytes are there than were sent."""
    root, folder = tmp_path / "root", tmp_path / "keys"
    root.mkdir()
    folder.mkdir()

    class Garbling(asyncssh.SFTPServer):
        def write(self, file_obj: object, offset: int, data: bytes) -> Any:
            return super().write(file_obj, offset, data[:-1] + bytes([data[-1] ^ 1]))

    with poor_server(folder, server=Garbling) as server, opened(server.options(root)) as location:
        for size in (10, 3_000_000):
            content = bytes(size)
            with pytest.raises(EntryError) as caught:
                put(location, "a", content)
            assert caught.value.entry_code is EntryCode.CHECKSUM_FAILURE
    assert list(root.iterdir()) == []
