"""The compiled module: built where CI says so, and of one mind with the Python beside it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from local_support import THROTTLE, open_at
from runner_plugins.local.facts import version_of
from runner_plugins.local.native import PURE_PYTHON, native

from runner.locations.protocol import EqualFiles
from runner.model.entry import Entry, Problem

needs_native = pytest.mark.skipif(native is None, reason="the compiled module was not built here")


def test_ci_has_built_it() -> None:
    if os.environ.get("SYNC_RUNNER_SERVERS") == "required" and not os.environ.get(PURE_PYTHON):
        assert native is not None, "no C compiler, or no headers of this Python"


@needs_native
def test_a_module_of_another_source_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    from runner_plugins.local import _native
    from runner_plugins.local import native as loading

    assert loading._imported() is native
    monkeypatch.setattr(_native, "INTERFACE", _native.INTERFACE - 1)
    assert loading._imported() is None


@needs_native
def test_names_come_in_the_order_of_their_bytes(tmp_path: Path) -> None:
    assert native is not None
    names = [
        b"a",
        b"a!",
        b"a.b",
        b"B",
        b"caf\xc3\xa9",
        b"\xff",
        b"\xed\xa0\x80",
        b"x" * 255,
        b"prefix1",
        b"prefix10",
        b"prefix2",
    ]
    for name in names:
        os.mkdir(os.fsencode(tmp_path) + b"/" + name)
        (tmp_path / os.fsdecode(b"f" + name[:200])).write_bytes(b"")
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        folder = native.Folder(fd, lambda name, is_folder: False)
        rows = []
        while more := folder.facts(True):
            rows += [row[0] for row in more]
    finally:
        os.close(fd)
    wanted = [name + b"/" for name in names] + [b"f" + name[:200] for name in names]
    assert [os.fsencode(row) for row in rows] == sorted(wanted)


@needs_native
def test_reserved_names_are_asked_about_and_left_out(tmp_path: Path) -> None:
    assert native is not None
    for name in (".sync-runner", ".sync-runner-quarantine", ".sync-runnerx", "kept"):
        (tmp_path / name).mkdir()
    asked: list[tuple[str, bool]] = []

    def reserved(name: str, is_folder: int) -> bool:
        asked.append((name, bool(is_folder)))
        return name == ".sync-runner"

    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        folder = native.Folder(fd, reserved)
        assert [row[0] for row in folder.facts(False)] == [
            ".sync-runner-quarantine/",
            ".sync-runnerx/",
            "kept/",
        ]
        assert sorted(asked) == [
            (name, True) for name in (".sync-runner", ".sync-runner-quarantine", ".sync-runnerx")
        ]
        with pytest.raises(ZeroDivisionError):
            os.lseek(fd, 0, os.SEEK_SET)
            native.Folder(fd, lambda name, is_folder: bool(1 // 0))
    finally:
        os.close(fd)


@needs_native
@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x"])
def test_a_copy_takes_plain_names_only(tmp_path: Path, name: str) -> None:
    assert native is not None
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(b"1")
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        buffers = memoryview(bytearray(100)), memoryview(bytearray(100))
        row = (name, 1, 0, "0:0", 0o600, 0, 0, 0, None, None)
        done = native.copy_small(fd, fd, (row,), False, False, *buffers, None)
    finally:
        os.close(fd)
    assert done == []


def test_folders_that_move_between_two_walks_hide_nothing(tmp_path: Path) -> None:
    """What was settled in a folder that the second walk does not come to makes that walk's listing incomplete."""
    for side in ("s", "t"):
        (tmp_path / side / "d").mkdir(parents=True)
        (tmp_path / side / "d" / "same").write_bytes(b"1")
        os.utime(tmp_path / side / "d" / "same", ns=(0, 0))
    source, target = open_at(tmp_path / "s"), open_at(tmp_path / "t", create=True)
    settled: list[int] = []
    equal = EqualFiles(frozenset({"mode"}), 0, lambda files, size: settled.append(files))
    scans = target.lists_beside(source, equal)
    if native is None:
        assert scans is None
        return
    assert scans is not None
    first, second = scans[0]("", None), scans[1]("", None)
    assert [one.path for one in first] == ["", "d/"]
    assert settled == [1]
    os.rename(tmp_path / "t" / "d", tmp_path / "t" / "e")
    seen = list(second)
    assert [one.path for one in seen if isinstance(one, Entry)] == [""]
    assert [one.path for one in seen if isinstance(one, Problem)] == [""]


def _content(path: Path) -> None:
    facts = path.stat()
    path.write_bytes(b"other")
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def _linked(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


TAMPERING: dict[str, Callable[[Path], None]] = {
    "content": _content,
    "longer": lambda path: path.write_bytes(b"whole!"),
    "mode": lambda path: path.chmod(0o640),
    "time": lambda path: os.utime(path, ns=(0, 1)),
    "attribute": lambda path: os.setxattr(path, "user.k", b"v"),
    "gone": lambda path: path.unlink(),
    "link": _linked,
    "fifo": lambda path: (path.unlink(), os.mkfifo(path))[1],
    "folder moved": lambda path: path.parent.rename(path.parent.with_name("b")),
}


@needs_native
@pytest.mark.parametrize("tampering", TAMPERING)
def test_the_short_check_finds_what_is_exactly_as_expected_and_nothing_else(
    tmp_path: Path, tampering: str
) -> None:
    (tmp_path / "a").mkdir()
    path = tmp_path / "a" / "f"
    path.write_bytes(b"whole")
    location = open_at(tmp_path, attributes=frozenset({"mode", "uid", "gid", "xattrs", "acls"}))
    expected = location.stat("a/f")
    assert expected is not None
    digest = location.digest(expected, location._settings.digest, THROTTLE)
    check = location.quick_check()
    assert check is not None
    location.stat("a/f")  # its folder is at hand now
    assert check([(expected, digest)], 0, THROTTLE)
    assert not check([(expected, digest[:-1] + ("0" if digest[-1] != "0" else "1"))], 0, THROTTLE)
    try:
        TAMPERING[tampering](path)
    except OSError:
        pytest.skip("this file system has no extended attributes")
    for _ in range(40):  # the folder itself is looked at now and then
        found = check([(expected, digest)], 0, THROTTLE)
    assert not found


@needs_native
def test_files_are_found_up_to_the_first_that_is_not_so(tmp_path: Path) -> None:
    names = [f"f{number}" for number in range(6)]
    for number, name in enumerate(names):
        (tmp_path / name).write_bytes(b"%d" % number * (number + 1))
    location = open_at(tmp_path, attributes=frozenset({"mode", "uid", "gid", "xattrs", "acls"}))
    expected = []
    for name in names:
        entry = location.stat(name)
        assert entry is not None
        expected.append((entry, location.digest(entry, location._settings.digest, THROTTLE)))
    check = location.quick_check()
    assert check is not None
    assert check(expected, 0, THROTTLE) == 6
    facts = (tmp_path / "f3").stat()
    (tmp_path / "f3").write_bytes(b"3x33")
    os.utime(tmp_path / "f3", ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert check(expected, 0, THROTTLE) == 3  # in its content alone
    assert check(expected[3:], 0, THROTTLE) == 0
    (tmp_path / "f1").chmod(0o600 if facts.st_mode & 0o077 else 0o644)
    assert check(expected, 0, THROTTLE) == 1
    assert check(expected[4:], 0, THROTTLE) == 2


@needs_native
def test_the_short_reading_takes_what_fits(tmp_path: Path) -> None:
    assert native is not None
    rows = []
    for number in range(4):
        path = tmp_path / f"f{number}"
        path.write_bytes(b"%d" % number * 3)
        facts = path.stat()
        rows.append(
            (path.name, 3, facts.st_mtime_ns, stat.S_IMODE(facts.st_mode), facts.st_uid, facts.st_gid)
        )
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        buffer = memoryview(bytearray(10))
        assert native.read_expected(fd, tuple(rows), 0, False, buffer) == 3
        assert bytes(buffer[:9]) == b"000111222"
        for name in ("", ".", "..", "../x", f"./{rows[0][0]}"):
            assert native.read_expected(fd, ((name, *rows[0][1:]),), 0, False, buffer) == 0
        with pytest.raises(TypeError):
            native.read_expected(fd, (rows[0], "f1"), 0, False, buffer)
    finally:
        os.close(fd)


@needs_native
def test_the_short_removal_takes_only_what_was_listed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "f").write_bytes(b"1")
    (tmp_path.parent / "source").mkdir()
    location, source = open_at(tmp_path, create=True), open_at(tmp_path.parent / "source")
    listed = location.stat("a/f")
    assert listed is not None
    remove = location.quick_remove(source)
    assert remove is not None
    (tmp_path / "a" / "f").write_bytes(b"2")
    assert not remove([listed])
    assert (tmp_path / "a" / "f").read_bytes() == b"2"
    present = location.stat("a/f")
    assert present is not None
    assert remove([present])
    assert list((tmp_path / "a").iterdir()) == []
    assert not remove([present])
    folder = location.stat("a/")
    assert folder is not None
    assert not remove([folder])


@needs_native
@pytest.mark.parametrize("kind", ["a file", "a folder", "a dangling link", "a folder that is a link"])
def test_the_short_removal_leaves_what_the_source_has_again(tmp_path: Path, kind: str) -> None:
    """Each time, not only when the folder comes up first."""
    for name in ("src/a", "dst/a", "far"):
        (tmp_path / name).mkdir(parents=True)
    names = [f"f{number:02}" for number in range(50)]
    for name in names:
        (tmp_path / "dst" / "a" / name).write_bytes(b"1")
    source, location = open_at(tmp_path / "src"), open_at(tmp_path / "dst", create=True)
    remove = location.quick_remove(source)
    assert remove is not None
    listed = [location.stat(f"a/{name}") for name in names]
    for entry in listed[:20]:
        assert entry is not None
        assert remove([entry])
    counterpart = tmp_path / "src" / "a" / names[20]
    if kind == "a file":
        counterpart.write_bytes(b"")
    elif kind == "a folder":
        counterpart.mkdir()
    elif kind == "a dangling link":
        counterpart.symlink_to("nowhere")
    else:
        (tmp_path / "far" / names[20]).write_bytes(b"")
        (tmp_path / "src" / "a").rmdir()
        (tmp_path / "src" / "a").symlink_to(tmp_path / "far")
    assert listed[20] is not None
    assert listed[21] is not None
    assert not remove([listed[20]])
    assert remove([listed[21]])
    assert sorted(os.listdir(tmp_path / "dst" / "a")) == [names[20], *names[22:]]


# -- replacing a file ----------------------------------------------------------------------------------------------


def _replace(folder: Path, version: str, temporary: str | None = "draft", size: int = 3) -> bool:
    """`new/f` over `old/f`, where that is of this version."""
    assert native is not None
    fds = [os.open(folder / name, os.O_RDONLY) for name in ("new", "old")]
    try:
        facts = (folder / "new" / "f").stat()
        buffers = memoryview(bytearray(100)), memoryview(bytearray(100))
        row = (
            "f", size, facts.st_mtime_ns, version_of(facts), 0o640, os.geteuid(), os.getegid(), 7_000_000_001,
            version, temporary,
        )  # fmt: skip
        return bool(native.copy_small(*fds, (row,), False, False, *buffers, None))
    finally:
        for fd in fds:
            os.close(fd)


@pytest.fixture
def two(tmp_path: Path) -> Path:
    for name, content in (("new", b"new"), ("old", b"old!")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_bytes(content)
    return tmp_path


@needs_native
def test_a_file_makes_room_in_one_step(two: Path) -> None:
    os.link(two / "old" / "f", two / "other name")
    assert _replace(two, version_of((two / "old" / "f").stat()))
    facts = (two / "old" / "f").stat()
    assert (two / "old" / "f").read_bytes() == b"new"
    assert (facts.st_mtime_ns, stat.S_IMODE(facts.st_mode), facts.st_nlink) == (7_000_000_001, 0o640, 1)
    assert (two / "other name").read_bytes() == b"old!"
    assert os.listdir(two / "old") == ["f"]


@needs_native
@pytest.mark.parametrize("there", ["another file", "written to", "a link", "a folder", "nothing"])
def test_what_is_not_as_expected_is_not_replaced(two: Path, there: str) -> None:
    target = two / "old" / "f"
    version = version_of(target.stat())
    before = target.stat().st_ctime_ns
    target.unlink() if there != "written to" else None
    if there == "another file":
        target.write_bytes(b"old!")
    elif there == "written to":
        while target.stat().st_ctime_ns == before:  # the clock of the file system has steps
            target.write_bytes(b"now!")
    elif there == "a link":
        (two / "elsewhere").write_bytes(b"old!")
        target.symlink_to(two / "elsewhere")
    elif there == "a folder":
        target.mkdir()
    assert not _replace(two, version)
    names = os.listdir(two / "old")
    assert names == ([] if there == "nothing" else ["f"])
    if there in ("another file", "a link"):
        assert target.read_bytes() == b"old!"


@needs_native
def test_files_are_copied_up_to_the_first_that_is_left(tmp_path: Path) -> None:
    assert native is not None
    rows = []
    for side in ("s", "t"):
        (tmp_path / side).mkdir()
    for number in range(6):
        path = tmp_path / "s" / f"f{number}"
        path.write_bytes(b"%d" % number * (number + 1))
        facts = path.stat()
        rows.append((path.name, facts.st_size, facts.st_mtime_ns, version_of(facts), 0o600, os.geteuid(),
                     os.getegid(), 7_000_000_001, None, None))  # fmt: skip
    (tmp_path / "t" / "f4").write_bytes(b"here already")
    content, check = memoryview(bytearray(100)), memoryview(bytearray(100))
    fds = [os.open(tmp_path / side, os.O_RDONLY) for side in ("s", "t")]
    try:
        took = native.copy_small(*fds, tuple(rows), False, False, content, check, None)
        assert (len(took), bytes(content[:10])) == (4, b"0112223333")
        assert all(nanoseconds > 0 for nanoseconds in took)
        # What does not fit into the buffers is left as well.
        for path in (tmp_path / "t").iterdir():
            path.unlink()
        small = memoryview(bytearray(7))
        assert len(native.copy_small(*fds, tuple(rows), False, False, small, check, None)) == 3
        for path in (tmp_path / "t").iterdir():
            path.unlink()
        assert (
            len(native.copy_small(*fds, tuple(rows), False, False, content, memoryview(bytearray(3)), None))
            == 2
        )
        for wrong in ("f0", ("f0",), (*rows[0][:-1], 1)):
            with pytest.raises(TypeError):
                native.copy_small(*fds, (rows[2], wrong), False, False, content, check, None)
    finally:
        for fd in fds:
            os.close(fd)
    assert {path.name: path.read_bytes() for path in (tmp_path / "t").iterdir()} == {"f0": b"0", "f1": b"11"}


@needs_native
def test_files_are_removed_up_to_the_first_that_is_left(tmp_path: Path) -> None:
    assert native is not None
    for side in ("s", "t"):
        (tmp_path / side / "d").mkdir(parents=True)
    rows = []
    for number in range(5):
        path = tmp_path / "t" / "d" / f"f{number}"
        path.write_bytes(b"x")
        rows.append((path.name, version_of(path.stat())))
    (tmp_path / "s" / "d" / "f3").write_bytes(b"back")
    fds = [os.open(folder, os.O_RDONLY) for folder in (tmp_path / "t" / "d", tmp_path / "s")]
    try:
        for folder, name in (("/d/", "f0"), ("d/", ""), ("d/", ".."), ("d/", "../d/f0"), ("d/", "n" * 256)):
            assert native.remove_files(*fds, folder, ((name, rows[0][1]),)) == []
        with pytest.raises(TypeError):
            native.remove_files(*fds, "d/", (rows[0], ("f1",)))
        assert len(native.remove_files(*fds, "d/", tuple(rows))) == 3
        assert len(native.remove_files(*fds, "d/", (rows[4], rows[3]))) == 1
    finally:
        for fd in fds:
            os.close(fd)
    assert os.listdir(tmp_path / "t" / "d") == ["f3"]


@needs_native
def test_a_name_of_somebody_else_is_left_alone(two: Path) -> None:
    (two / "old" / "draft").write_bytes(b"somebody's")
    version = version_of((two / "old" / "f").stat())
    assert not _replace(two, version)
    assert (two / "old" / "draft").read_bytes() == b"somebody's"
    assert (two / "old" / "f").read_bytes() == b"old!"
    for temporary in (None, "", ".", "..", "a/b", "../x"):
        assert _replace(two, version, temporary) is False
    assert _replace(two, version, "mine", size=4) is False
    assert sorted(os.listdir(two / "old")) == ["draft", "f"]
