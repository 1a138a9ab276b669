"""The driver as the registry hands it out: options, root, identity, lock, overlap, wide roots."""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path

import jsonschema
import pytest
from local_support import THROTTLE, entries_of, open_at, settings_for
from runner_plugins.local.address import root_path
from runner_plugins.local.driver import DRIVER
from runner_plugins.local.location import LocalLocation

from runner.errors import EntryError, LocationUnavailableError
from runner.locations import protocol
from runner.locations.registry import Registry
from runner.model.entry import Attributes, Entry, Kind
from runner.model.task import LocationSettings, Secret


def test_the_registry_finds_it() -> None:
    assert Registry().driver("local") is DRIVER


def test_every_role_but_watching_is_offered(tmp_path: Path) -> None:
    here = open_at(tmp_path)
    for role in (
        protocol.SetsAttributes,
        protocol.Linking,
        protocol.CopiesFrom,
        protocol.Renames,
        protocol.Digests,
        protocol.Identifies,
        protocol.Sweeps,
        protocol.HoldsLock,
    ):
        assert isinstance(here, role), role


@pytest.mark.parametrize(
    ("options", "valid"),
    [
        ({"path": "x"}, True),
        ({}, False),
        ({"path": ""}, False),
        ({"path": "x", "pth": "y"}, False),
        ({"path": 1}, False),
    ],
)
def test_options_schema(options: dict[str, object], valid: bool) -> None:
    jsonschema.Draft202012Validator.check_schema(DRIVER.options_schema())
    assert jsonschema.Draft202012Validator(DRIVER.options_schema()).is_valid(options) is valid


def test_where_a_path_starts() -> None:
    home = pwd.getpwuid(os.getuid()).pw_dir
    for text, expected in (
        ("data", "/etc/jobs/data"),
        ("./a/../b/", "/etc/jobs/b"),
        ("/abs", "/abs"),
        ("~/x", f"{home}/x"),
        ("~", home),
        ("~no-such-user/x", "/etc/jobs/~no-such-user/x"),
    ):
        settings = LocationSettings("n", "local", {"path": text}, "/etc/jobs")
        assert root_path(settings) == expected


def test_describe_hides_secrets() -> None:
    assert DRIVER.describe(settings_for("/a\nb")) == "local /a\\nb"
    secret = LocationSettings("n", "local", {"path": Secret("/hidden", "env.X")}, "/")
    assert DRIVER.describe(secret) == "local ***"
    assert root_path(secret) == "/hidden"


def test_a_missing_root(tmp_path: Path) -> None:
    missing = tmp_path / "a" / "b"
    with pytest.raises(LocationUnavailableError) as caught:
        open_at(missing)
    assert "does not exist" in caught.value.message
    assert caught.value.remedy is not None

    here = open_at(missing, create=True)
    assert list(here.scan()) == []
    assert here.stat("x") is None
    assert here.stat("") is None
    assert here.space().free_bytes is not None
    assert here.identity() == open_at(tmp_path).identity()
    assert not (tmp_path / "a").exists()

    here.put(Entry("x", Kind.FILE, size_bytes=1), [b"x"], None, THROTTLE)
    assert (missing / "x").read_bytes() == b"x"
    assert os.stat(missing).st_mode & 0o7777 == 0o700
    assert list(entries_of(here)) == ["", "x"]


def test_the_root_gets_its_attributes(tmp_path: Path) -> None:
    here = open_at(tmp_path / "new", create=True)
    here.put(Entry("", Kind.DIRECTORY, mtime_ns=7, attributes=Attributes(mode=0o750)), None, None, THROTTLE)
    facts = os.stat(tmp_path / "new")
    assert (facts.st_mode & 0o7777, facts.st_mtime_ns) == (0o750, 7)
    with pytest.raises(EntryError):
        here.remove(Entry("", Kind.DIRECTORY))
    assert (tmp_path / "new").is_dir()


def test_a_root_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"")
    for create in (False, True):
        with pytest.raises(LocationUnavailableError):
            open_at(tmp_path / "f", create=create)


def test_the_operators_own_links_lead_to_the_root(tmp_path: Path) -> None:
    (tmp_path / "disk" / "data").mkdir(parents=True)
    (tmp_path / "disk" / "data" / "f").write_bytes(b"")
    os.symlink("disk", tmp_path / "by-link")
    os.symlink("by-link/data", tmp_path / "root")
    here = DRIVER.open(settings_for(tmp_path / "root"), protocol.OpenSettings(), create=False)
    assert isinstance(here, LocalLocation)
    assert list(entries_of(here)) == ["", "f"]
    here.close()


def test_a_root_that_vanishes_while_open_is_not_made_again_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    here = open_at(tmp_path / "root")
    here.close()
    with pytest.raises(LocationUnavailableError):
        list(here.scan())


def test_one_lock_a_root(tmp_path: Path) -> None:
    first, second = open_at(tmp_path / "r", create=True), open_at(tmp_path / "r", create=True)

    assert first.lock()
    assert first.lock()
    assert not second.lock()
    first.close()
    assert second.lock()
    assert os.listdir(tmp_path / "r") == []


@pytest.mark.root
def test_identity_tells_mounts_apart(tmp_path: Path, mount_tmpfs) -> None:
    (tmp_path / "plain").mkdir()
    mounted = mount_tmpfs("with blank", "size=1m")

    facts = dict(open_at(mounted).identity().facts)

    assert facts == {"file system": "tmpfs", "device": "none", "mounted at": str(mounted)}
    assert open_at(tmp_path / "plain").identity() != open_at(mounted).identity()
    assert open_at(tmp_path / "plain").identity() == open_at(tmp_path).identity()
    space = open_at(mounted).space()
    assert space.free_bytes == 1 << 20
    assert space.free_entries is not None


def test_overlap(tmp_path: Path) -> None:
    (tmp_path / "a" / "inner").mkdir(parents=True)
    (tmp_path / "ab").mkdir()
    os.symlink("a/inner", tmp_path / "link")
    for left, right, expected in (
        ("a", "a", True),
        ("a", "a/inner", True),
        ("a/inner", "a", True),
        ("a", "link", True),
        ("a", "ab", False),
        ("a/missing", "a", True),
        ("missing", "a", False),
    ):
        pair = settings_for(tmp_path / left), settings_for(tmp_path / right)
        assert DRIVER.overlaps(*pair) is expected, (left, right)


@pytest.mark.root
def test_overlap_through_a_bind_mount(tmp_path: Path) -> None:
    for name in ("data/inner", "bound", "other"):
        (tmp_path / name).mkdir(parents=True)
    subprocess.run(["mount", "--bind", str(tmp_path / "data"), str(tmp_path / "bound")], check=True)
    try:
        pair = settings_for(tmp_path / "bound" / "inner"), settings_for(tmp_path / "data")
        assert DRIVER.overlaps(*pair)
        assert DRIVER.overlaps(*reversed(pair))
        assert not DRIVER.overlaps(settings_for(tmp_path / "other"), pair[1])
        identity = open_at(tmp_path / "bound").identity()
        assert dict(identity.facts)["mounted at"] == str(tmp_path / "bound")
        assert dict(identity.facts)["folder of the device"].endswith("/data")
    finally:
        from local_support import close_opened

        close_opened()
        subprocess.run(["umount", str(tmp_path / "bound")], check=True)


def test_wide_roots(tmp_path: Path) -> None:
    os.symlink("/", tmp_path / "to-root")
    for path in ("/", "/etc", "/usr/", "/home", pwd.getpwuid(0).pw_dir, str(tmp_path / "to-root")):
        assert DRIVER.wide_root(settings_for(path)) is not None, path
    assert DRIVER.wide_root(settings_for(tmp_path)) is None
    assert DRIVER.wide_root(settings_for("/srv/backup/photos")) is None


def test_capabilities_agree_with_the_open_location(tmp_path: Path) -> None:
    assert open_at(tmp_path).capabilities == DRIVER.capabilities(settings_for(tmp_path))
    assert DRIVER.capabilities(settings_for(tmp_path)).kinds == frozenset(Kind)
