"""Over a mount: proved when opened, and gone at any moment; nothing is deleted, and nothing lands beneath it."""

from __future__ import annotations

import contextlib
import os
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nfs_support import FREE, SOURCE, StandIn, mounted, names_in, opened, paths
from runner_plugins.local.driver import DRIVER as LOCAL
from runner_plugins.nfs.driver import NFS
from runner_plugins.nfs.mounting import make_mount
from runner_plugins.nfs.options import Options
from runner_plugins.nfs.sources import expected_mount

from runner.errors import Disposition, EntryCode, EntryError, LocationUnavailableError
from runner.locations.protocol import EqualFiles, HoldsLock, OpenSettings
from runner.model.task import LocationSettings
from runner.testing.conformance_base import content_of, file_entry, folder_entry, put_file, stated

pytestmark = pytest.mark.root

BIG = bytes(range(256)) * 20_000
OPEN = OpenSettings()


@pytest.fixture
def stand_in(tmp_path: Path) -> Iterator[StandIn]:
    with mounted(tmp_path / "mount") as one:
        yield one


# -- proved when it is opened --------------------------------------------------------------------------------


def test_nothing_mounted_is_refused_with_the_command(tmp_path: Path) -> None:
    """Also as a destination, which a missing folder is made for elsewhere."""
    point = tmp_path / "mount"
    point.mkdir()
    (point / "beneath").write_text("not the server's")
    settings = StandIn(point).settings()
    for create in (False, True):
        with pytest.raises(LocationUnavailableError, match="nothing is mounted there") as caught:
            NFS.open(settings, OPEN, create=create)
        assert f"mount -t nfs -o nosuid,nodev,noexec {SOURCE} {point}" in str(caught.value)
    point_missing = StandIn(tmp_path / "x").settings(mounted_at=str(tmp_path / "none"))
    with pytest.raises(LocationUnavailableError, match="No such file"):
        NFS.open(point_missing, OPEN, create=True)
    assert names_in(point) == ["beneath"]


def test_a_folder_of_a_mount_is_no_mount(stand_in: StandIn) -> None:
    (stand_in.point / "inside").mkdir()
    with pytest.raises(LocationUnavailableError, match="nothing is mounted there"):
        NFS.open(stand_in.settings(mounted_at=str(stand_in.point / "inside")), OPEN, create=True)


def test_another_type_or_source_is_refused(stand_in: StandIn) -> None:
    with pytest.raises(LocationUnavailableError, match="of type tmpfs, not nfs or nfs4"):
        NFS.open(stand_in.settings(fs_types=["nfs", "nfs4"]), OPEN, create=True)
    with pytest.raises(LocationUnavailableError, match=r"comes from nas\.example\.org:/exports/projects"):
        NFS.open(stand_in.settings(export="/exports/other"), OPEN, create=True)
    with opened(stand_in.settings(export="/exports/other", mount_source=SOURCE)):
        pass


def test_no_short_way_passes_the_proofs_by(stand_in: StandIn, tmp_path: Path) -> None:
    """What the local driver does faster for plain folders would not ask whether the mount is still there."""
    names = ("copies_from", "quick_copy", "quick_remove", "quick_check", "lists_beside")
    equal = EqualFiles(frozenset(), 0, lambda files, size: None)
    settings = LocationSettings("plain", "local", {"path": str(tmp_path)}, str(tmp_path))
    plain: Any = LOCAL.open(settings, OPEN, create=True)
    with contextlib.closing(plain), opened(stand_in.settings()) as mount:
        assert all(hasattr(mount, name) for name in names)
        for source, destination in ((mount, mount), (plain, mount), (mount, plain)):
            assert destination.quick_copy(source, FREE) is None
            assert destination.lists_beside(source, equal) is None
            assert destination.quick_remove(source) is None
        assert mount.quick_check() is None


def test_a_bind_mount_shows_its_folder(stand_in: StandIn, tmp_path: Path) -> None:
    (stand_in.point / "team").mkdir()
    bound = StandIn(tmp_path / "bound")
    bound.mount(bind=stand_in.point / "team")
    try:
        with opened(bound.settings(export="/exports/projects/team")) as location:
            put_file(location, "a")
            assert ("device", SOURCE + "/team") in location.identity().facts
        assert names_in(stand_in.point) == ["team", "team/a"]
    finally:
        bound.unmount()


def test_a_path_that_leads_out_of_the_mount_is_refused(stand_in: StandIn, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (stand_in.point / "way").symlink_to(outside)
    with pytest.raises(LocationUnavailableError, match="to another file system"):
        NFS.open(stand_in.settings(path="way"), OPEN, create=True)
    with pytest.raises(LocationUnavailableError, match="does not exist") as caught:
        NFS.open(stand_in.settings(path="none"), OPEN, create=False)
    assert "/proc/self" not in str(caught.value)
    assert names_in(outside) == []


def test_what_it_is_and_offers(stand_in: StandIn) -> None:
    with opened(stand_in.settings()) as location:
        assert location.identity().facts == (
            ("file system", "tmpfs"),
            ("device", SOURCE),
            ("mounted at", str(stand_in.point)),
        )
        assert not isinstance(location, HoldsLock)


# -- gone between plan and apply, and in the middle ----------------------------------------------------------


def gone(act: object) -> None:
    """The act must stop the execution."""
    with pytest.raises(EntryError) as caught:
        act()  # type: ignore[operator]
    assert (caught.value.entry_code, caught.value.disposition) == (EntryCode.UNAVAILABLE, Disposition.ABORT)
    assert "unmounted" in caught.value.message


def test_after_an_unmount_nothing_is_decided_or_written(stand_in: StandIn) -> None:
    settings = stand_in.settings()
    with opened(settings) as location:
        entry = put_file(location, "d/a", b"kept")
        put_file(location, "b", b"kept")
        stand_in.unmount()
        (stand_in.point / "beneath").write_text("x")
        for act in (
            lambda: location.stat("d/a"),
            lambda: list(location.read(entry)),
            lambda: location.remove(entry),
            lambda: location.put(file_entry("new", b"x"), [b"x"], None, FREE),
            lambda: location.put(folder_entry("new/"), None, None, FREE),
            lambda: location.set_attributes(entry, entry),
            lambda: location.link("l", "d/a", None),
            lambda: location.rename(entry, "z"),
            lambda: location.identity(),
            lambda: location.space(),
        ):
            gone(act)
        with pytest.raises(LocationUnavailableError, match="went away"):
            list(location.scan())
        assert names_in(stand_in.point) == ["beneath"]
        # Mounted again is another mount: what is open does not go on as if nothing had been.
        stand_in.mount()
        gone(lambda: location.stat("d/a"))
    assert names_in(stand_in.point) == []


def test_an_unmount_in_the_middle_of_a_listing(stand_in: StandIn) -> None:
    with opened(stand_in.settings()) as location:
        for path in ("a/x", "b/x", "c"):
            put_file(location, path)
        listing = location.scan()
        assert [next(listing).path for _ in range(2)] == ["", "a/"]
        stand_in.unmount()
        with pytest.raises(LocationUnavailableError, match="went away"):
            list(listing)


def test_an_unmount_in_the_middle_of_a_file(stand_in: StandIn) -> None:
    """What is written goes to the server it was meant for, or nowhere; never into the folder beneath."""
    hold = os.open(stand_in.point, os.O_RDONLY)
    try:
        with opened(stand_in.settings()) as location:
            put_file(location, "first")

            def content() -> Iterator[bytes]:
                yield BIG[:3_000_000]
                stand_in.unmount()
                yield BIG[3_000_000:]

            gone(lambda: location.put(file_entry("d/big", BIG), content(), None, FREE))
        assert names_in(stand_in.point) == []
        held = set(os.listdir(f"/proc/self/fd/{hold}"))
        assert held <= {"first", "d"}
    finally:
        os.close(hold)


def test_a_root_made_on_the_first_write_is_made_in_the_mount(stand_in: StandIn) -> None:
    with opened(stand_in.settings(path="new/root")) as location:
        stand_in.unmount()
        gone(lambda: location.put(file_entry("a", b"x"), [b"x"], None, FREE))
    assert names_in(stand_in.point) == []


# -- mounted by the runner itself ----------------------------------------------------------------------------


def own_settings(**options: object) -> LocationSettings:
    chosen = {"server": "nas.example.org", "export": "/exports/projects", "mount": True, **options}
    return LocationSettings("tested", "nfs", chosen, "/")


@pytest.fixture
def helper(tmp_path: Path) -> Path:
    """A `mount` program that writes down its arguments, and mounts a tmpfs that reads like what was asked for."""
    program = tmp_path / "mount-program"
    program.write_text(
        "#!/bin/sh\n"
        f'printf "%s\\n" "$@" > {shlex.quote(str(tmp_path / "arguments"))}\n'
        'exec mount -t tmpfs -o size=8m "$5" "$6"\n'
    )
    program.chmod(0o755)
    return program


def test_it_mounts_for_itself_and_leaves_nothing(helper: Path, tmp_path: Path) -> None:
    """Nobody else sees the mount, and it ends with the last open file, however the process ends."""
    settings = own_settings(version="4.1", mount_options=["nconnect=4"], fs_types=["tmpfs"])
    expected = expected_mount(settings, Options.of(settings))
    proved = make_mount(expected, program=str(helper))
    try:
        arguments = (tmp_path / "arguments").read_text().splitlines()
        # Other tests may mount something meanwhile, elsewhere.
        assert f" {arguments[-1]} " not in Path("/proc/self/mountinfo").read_text()
        assert arguments[:-1] == ["-t", "nfs", "-o", "nosuid,nodev,noexec,vers=4.1,nconnect=4", SOURCE]
        assert not Path(arguments[-1]).exists()
        proved.check()
        assert stat.S_ISDIR(os.fstat(proved.fd).st_mode)
        inside = Path(proved.path, "a")
        inside.write_text("x")
        assert os.listdir(proved.path) == ["a"]
    finally:
        proved.close()
        proved.close()


def test_a_location_over_a_mount_of_its_own(helper: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything a location does works in a mount that no path leads to."""
    monkeypatch.setattr(
        "runner_plugins.nfs.driver.make_mount", lambda expected: make_mount(expected, str(helper))
    )
    with opened(own_settings(fs_types=["tmpfs"], path="deep/root")) as location:
        entry = put_file(location, "d/a", BIG)
        location.link("d/b", "d/a", None)
        location.put(file_entry("d/a", b"new"), [b"new"], stated(location, "d/a"), FREE)
        location.rename(stated(location, "d/b"), "moved")
        assert content_of(location, "moved") == BIG
        assert paths(location) == ["d/", "d/a", "moved"]
        assert entry.path == "d/a"
        assert location.identity().facts == (("file system", "tmpfs"), ("device", SOURCE))


def test_a_tunnel_s_mount_stays_in_the_tree_until_it_is_closed(helper: Path, tmp_path: Path) -> None:
    name = "fs-0123456789abcdef0.efs.eu-central-1.amazonaws.com"
    options = {"dns_name": name, "mount": True, "in_transit_encryption": "TLS1_2", "fs_types": ["tmpfs"]}
    settings = LocationSettings("tested", "efs", options, "/")
    proved = make_mount(expected_mount(settings, Options.of(settings)), program=str(helper))
    point = Path((tmp_path / "arguments").read_text().splitlines()[-1])
    assert point.is_mount()
    assert stat.S_IMODE(point.parent.stat().st_mode) == 0o700 or point.parent == Path("/tmp")
    proved.close()
    assert not point.exists()


def test_a_mount_of_something_else_is_undone(helper: Path, tmp_path: Path) -> None:
    settings = own_settings()  # expects nfs or nfs4, gets a tmpfs
    with pytest.raises(LocationUnavailableError, match="of type tmpfs"):
        make_mount(expected_mount(settings, Options.of(settings)), program=str(helper))
    point = Path((tmp_path / "arguments").read_text().splitlines()[-1])
    assert not point.exists()


def test_a_mount_that_fails_says_why() -> None:
    """This kernel has no NFS, or nobody has that name: either way the helper says so."""
    settings = own_settings(server="no-such-host.invalid", mount_options=["retry=0"])
    with pytest.raises(LocationUnavailableError, match=r"^cannot mount no-such-host"):
        NFS.open(settings, OPEN, create=True)
