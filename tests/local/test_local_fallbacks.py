"""Kernels and file systems that lack a feature or room, other users, and drafts that go bad."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from local_support import (
    NASTY_NAMES,
    THROTTLE,
    HookedThrottle,
    NoFeatures,
    as_nobody,
    manifest,
    mirror,
    open_at,
    problems_of,
)
from runner_plugins.local.faults import CODES, classify
from runner_plugins.local.syscalls import Syscalls

from runner.errors import Disposition, EntryCode, EntryError
from runner.model.entry import Attributes, Entry, Kind
from runner.model.task import Durability, Integrity


class Reflinks(Syscalls):
    """A file system that shares blocks, as far as its user can tell."""

    def __init__(self) -> None:
        super().__init__()
        self.clones = 0

    def clone_file(self, target_fd: int, source_fd: int) -> None:
        self.clones += 1
        size = os.fstat(source_fd).st_size
        done = 0
        while done < size:
            done += os.copy_file_range(source_fd, target_fd, size - done, done, done)


def _file(path: str, content: bytes, **facts: object) -> Entry:
    return Entry(path, Kind.FILE, size_bytes=len(content), mtime_ns=1_000_000_007, **facts)


def test_a_tree_arrives_without_any_modern_feature(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "folder").mkdir(parents=True)
    for name in NASTY_NAMES:
        (source / "folder" / os.fsdecode(name)).write_bytes(name)
    os.link(source / "folder" / "plain", source / "again")
    os.symlink("again", source / "link")
    os.mkfifo(source / "fifo")
    (source / "big").write_bytes(b"b" * 2_500_000)
    target = open_at(tmp_path / "target", create=True, syscalls=NoFeatures())

    assert mirror(open_at(source), target) == []

    assert manifest(tmp_path / "target") == manifest(source)


def test_replacing_and_refusing_without_modern_features(tmp_path: Path) -> None:
    here = open_at(tmp_path, create=True, syscalls=NoFeatures())
    here.put(_file("f", b"one"), [b"one"], None, THROTTLE)
    here.put(_file("f", b"two"), [b"two"], here.stat("f"), THROTTLE)
    assert (tmp_path / "f").read_bytes() == b"two"
    for entry in (_file("f", b"3"), Entry("f", Kind.FIFO), Entry("f/", Kind.DIRECTORY)):
        with pytest.raises(EntryError) as caught:
            here.put(entry, [b"3"], None, THROTTLE)
        assert caught.value.entry_code is EntryCode.STALE
    was = here.stat("f")
    assert was is not None
    (tmp_path / "taken").write_bytes(b"kept")
    with pytest.raises(EntryError) as caught:
        here.rename(was, "taken")
    assert caught.value.entry_code is EntryCode.STALE
    here.put(Entry("f/", Kind.DIRECTORY), None, was, THROTTLE)
    assert (tmp_path / "f").is_dir()
    folder = here.stat("f")
    assert folder is not None
    here.rename(folder, "g/h")
    here.put(_file("g/h", b"4"), [b"4"], here.stat("g/h"), THROTTLE)
    assert (tmp_path / "g" / "h").read_bytes() == b"4"
    assert sorted(os.listdir(tmp_path)) == ["g", "taken"]
    assert (tmp_path / "taken").read_bytes() == b"kept"


@pytest.mark.parametrize("integrity", list(Integrity))
def test_reflinks_are_used_for_big_files(tmp_path: Path, integrity: Integrity) -> None:
    """Nothing is read then, for there are no other blocks than the source's."""
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "big").write_bytes(os.urandom(2_000_000))
    (tmp_path / "s" / "small").write_bytes(b"x")
    source = open_at(tmp_path / "s")
    calls = Reflinks()
    target = open_at(tmp_path / "t", create=True, syscalls=calls, integrity=integrity)
    big, small = source.stat("big"), source.stat("small")
    assert big is not None
    assert small is not None

    written = target.copy(source, big, big, None, THROTTLE)
    target.copy(source, small, small, None, THROTTLE)

    assert calls.clones == 1
    assert (tmp_path / "t" / "big").read_bytes() == (tmp_path / "s" / "big").read_bytes()
    assert written.digest is None


@pytest.mark.parametrize("durability", list(Durability))
@pytest.mark.parametrize("size", [10, 1_500_000])
def test_a_draft_that_goes_bad_is_not_published(tmp_path: Path, durability: Durability, size: int) -> None:
    """What is read back is not what was sent: nothing is published, the old content stays."""
    (tmp_path / "f").write_bytes(b"old")
    here = open_at(tmp_path, create=True, syscalls=NoFeatures(), durability=durability)
    half = b"a" * (size // 2)
    spoiled = []

    def content() -> Iterator[bytes]:
        yield half
        for name in os.listdir(tmp_path):
            if name.endswith(".part"):
                with open(tmp_path / name, "r+b") as draft:
                    draft.write(b"Z")
                spoiled.append(name)
        yield half

    with pytest.raises(EntryError) as caught:
        here.put(_file("f", half + half), content(), here.stat("f"), THROTTLE)

    assert len(spoiled) == 1
    assert caught.value.entry_code is EntryCode.CHECKSUM_FAILURE
    assert (tmp_path / "f").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["f"]


def test_a_draft_of_the_wrong_length_is_found_by_size_alone(tmp_path: Path) -> None:
    here = open_at(tmp_path, create=True, syscalls=NoFeatures(), integrity=Integrity.SIZE)

    def content() -> Iterator[bytes]:
        yield b"12345"
        (part,) = os.listdir(tmp_path)
        with open(tmp_path / part, "ab") as draft:
            draft.write(b"more")

    with pytest.raises(EntryError) as caught:
        here.put(_file("f", b"12345"), content(), None, THROTTLE)
    assert caught.value.entry_code is EntryCode.CHECKSUM_FAILURE
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("durability", list(Durability))
def test_every_durability_publishes(tmp_path: Path, durability: Durability) -> None:
    source = tmp_path / "source"
    (source / "d" / "e").mkdir(parents=True)
    (source / "d" / "f").write_bytes(b"x")
    os.symlink("f", source / "d" / "l")
    target = open_at(tmp_path / "deep" / "target", create=True, durability=durability)

    assert mirror(open_at(source), target) == []
    target.put(_file("p/q/r", b"x"), [b"x"], None, THROTTLE)
    made = target.stat("p/q/r")
    assert made is not None
    target.rename(made, "p/s")
    moved = target.stat("p/s")
    assert moved is not None
    target.remove(moved)

    assert sorted(os.listdir(tmp_path / "deep" / "target")) == ["d", "p"]
    assert os.stat(tmp_path / "deep" / "target" / "p").st_mode & 0o7777 == 0o700


@pytest.mark.root
@pytest.mark.parametrize("syscalls", [Syscalls, NoFeatures])
@pytest.mark.parametrize(
    ("description", "options", "size"),
    [("no space", "size=1m", 2_000_000), ("no inodes", "nr_inodes=3", 10)],
)
def test_a_full_file_system(
    mount_tmpfs, description: str, options: str, size: int, syscalls: type[Syscalls]
) -> None:
    root = mount_tmpfs("full", options)
    (root / "old").write_bytes(b"old content")
    here = open_at(root, create=True, syscalls=syscalls())
    content = b"n" * size

    with pytest.raises(EntryError) as caught:
        if "inodes" in description:
            here.put(_file("one", content), [content], None, THROTTLE)
        here.put(_file("old", content), [content], here.stat("old"), THROTTLE)

    assert caught.value.entry_code is EntryCode.NO_SPACE
    assert caught.value.disposition is Disposition.ABORT
    assert (root / "old").read_bytes() == b"old content"
    assert {"old"} <= set(os.listdir(root)) <= {"old", "one"}


@pytest.mark.root
def test_a_read_only_file_system(mount_tmpfs) -> None:
    root = mount_tmpfs("frozen", "size=1m")
    (root / "f").write_bytes(b"x")
    subprocess.run(["mount", "-o", "remount,ro", str(root)], check=True)
    here = open_at(root, create=True)
    was = here.stat("f")
    assert was is not None

    for act in (
        lambda: here.put(_file("g", b"x"), [b"x"], None, THROTTLE),
        lambda: here.put(Entry("d/", Kind.DIRECTORY), None, None, THROTTLE),
        lambda: here.set_attributes(_file("f", b"x"), was),
        lambda: here.link("g", "f", None),
        lambda: here.remove(was),
        lambda: here.rename(was, "g"),
    ):
        with pytest.raises(EntryError) as caught:
            act()
        assert caught.value.entry_code is EntryCode.READ_ONLY


@pytest.mark.root
def test_across_file_systems_below_the_root(tmp_path: Path, mount_tmpfs) -> None:
    mount_tmpfs("root", "size=1m")
    mount_tmpfs("root/inner", "size=1m")
    root = tmp_path / "root"
    (root / "f").write_bytes(b"x")
    (root / "inner" / "g").write_bytes(b"y")
    here = open_at(root, create=True)
    was = here.stat("f")
    assert was is not None

    assert [each.path for each in here.scan()] == ["", "f", "inner/", "inner/g"]
    for act in (lambda: here.rename(was, "inner/f"), lambda: here.link("inner/f", "f", None)):
        with pytest.raises(EntryError) as caught:
            act()
        assert caught.value.entry_code is EntryCode.KIND_NOT_SUPPORTED
        assert "different file systems" in caught.value.message
    (root / "inner" / "g").unlink()
    with pytest.raises(EntryError) as caught:
        here.remove(here.stat("inner"))
    assert caught.value.entry_code is EntryCode.LOCKED


@pytest.mark.root
def test_unreadable_folders_and_files(nobody_folder: Path) -> None:
    (nobody_folder / "a").mkdir(mode=0o700)
    (nobody_folder / "a" / "inside").write_bytes(b"")
    (nobody_folder / "b-only-names").mkdir(mode=0o744)
    (nobody_folder / "b-only-names" / "x").write_bytes(b"")
    (nobody_folder / "c-enter-only").mkdir(mode=0o711)
    (nobody_folder / "c-enter-only" / "known").write_bytes(b"content")
    (nobody_folder / "d").write_bytes(b"secret")
    (nobody_folder / "d").chmod(0o600)
    (nobody_folder / "e").write_bytes(b"")

    def work() -> list[object]:
        here = open_at(nobody_folder)
        paths = [each.path for each in here.scan()]
        known = here.stat("c-enter-only/known")
        assert known is not None
        code = None
        try:
            list(here.read(here.stat("d")))
        except EntryError as error:
            code = error.entry_code.value
        return [
            paths,
            problems_of(here),
            [bytes(chunk).decode() for chunk in here.read(known)],
            code,
        ]

    paths, problems, content, code = as_nobody(work)
    assert paths == [
        "",
        "a/",
        "a/",
        "b-only-names/",
        "b-only-names/x",
        "c-enter-only/",
        "c-enter-only/",
        "d",
        "e",
    ]
    assert problems == [
        ["a/", "not_listed"],
        ["b-only-names/x", "not_listed"],
        ["c-enter-only/", "not_listed"],
    ]
    assert content == ["content"]
    assert code == "permission_denied"


@pytest.mark.root
def test_writing_where_one_may_not(nobody_folder: Path) -> None:
    (nobody_folder / "closed").mkdir(mode=0o755)
    (nobody_folder / "closed" / "f").write_bytes(b"old")

    def work() -> list[str]:
        here = open_at(nobody_folder, create=True)
        was = here.stat("closed/f")
        codes = []
        for act in (
            lambda: here.put(_file("closed/g", b"x"), [b"x"], None, THROTTLE),
            lambda: here.put(_file("closed/f", b"x"), [b"x"], was, THROTTLE),
            lambda: here.put(Entry("closed/d/", Kind.DIRECTORY), None, None, THROTTLE),
            lambda: here.put(
                Entry("dev", Kind.CHARACTER_DEVICE, attributes=Attributes(device=259)), None, None, THROTTLE
            ),
            lambda: here.remove(was),
            lambda: here.rename(was, "closed/h"),
        ):
            try:
                act()
            except EntryError as error:
                codes.append(error.entry_code.value)
        refused = here.set_attributes(
            Entry("closed/f", Kind.FILE, mtime_ns=5, attributes=Attributes(mode=0o600)), was
        ).refused
        return [*codes, *refused]

    assert as_nobody(work) == ["permission_denied"] * 6 + ["mode", "mtime"]
    assert (nobody_folder / "closed" / "f").read_bytes() == b"old"


def test_a_throttle_that_cancels_leaves_nothing(tmp_path: Path) -> None:
    here = open_at(tmp_path, create=True)

    def cancel(call: int) -> None:
        raise EntryError(EntryCode.CANCELLED, "f", "stop")

    with pytest.raises(EntryError):
        here.put(_file("f", b"x"), [b"x"], None, HookedThrottle(cancel))
    assert os.listdir(tmp_path) == []


def test_names_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    here = open_at(tmp_path / "root", create=True)
    for path in ("../e", "a/../../e", "/abs", "a//b", "a/./b", ".", "..", "x\0y", "a/..", "y" * 256):
        with pytest.raises(EntryError) as caught:
            here.put(_file(path, b"x"), [b"x"], None, THROTTLE)
        assert caught.value.entry_code is EntryCode.NAME_NOT_ALLOWED, path
    assert here.stat("y" * 256) is None
    assert os.listdir(tmp_path) == ["root"]


@pytest.mark.parametrize(
    ("number", "code", "disposition"),
    [
        (errno.ENOSPC, EntryCode.NO_SPACE, Disposition.ABORT),
        (errno.EDQUOT, EntryCode.NO_SPACE, Disposition.ABORT),
        (errno.EFBIG, EntryCode.KIND_NOT_SUPPORTED, Disposition.SKIP),
        (errno.EIO, EntryCode.IO_ERROR, Disposition.RETRY),
        (errno.ESTALE, EntryCode.IO_ERROR, Disposition.RETRY),
        (errno.EMFILE, EntryCode.IO_ERROR, Disposition.RETRY),
        (errno.EROFS, EntryCode.READ_ONLY, Disposition.ABORT),
        (errno.EACCES, EntryCode.PERMISSION_DENIED, Disposition.SKIP),
        (errno.EAGAIN, EntryCode.LOCKED, Disposition.SKIP),
        (errno.ETXTBSY, EntryCode.LOCKED, Disposition.SKIP),
        (errno.ENAMETOOLONG, EntryCode.NAME_NOT_ALLOWED, Disposition.SKIP),
        (errno.EILSEQ, EntryCode.NAME_NOT_ALLOWED, Disposition.SKIP),
        (errno.ENOTCONN, EntryCode.UNAVAILABLE, Disposition.ABORT),
        (errno.ETIMEDOUT, EntryCode.TIMEOUT, Disposition.RETRY),
        (errno.EPROTO, EntryCode.IO_ERROR, Disposition.RETRY),
    ],
)
def test_what_an_errno_means(number: int, code: EntryCode, disposition: Disposition) -> None:
    error = classify(OSError(number, os.strerror(number)), "a\nb", "write")

    assert (error.entry_code, error.disposition, error.path) == (code, disposition, "a\nb")
    assert errno.errorcode[number] in error.message
    assert "\n" not in error.message
    assert set(CODES.values()) <= set(EntryCode)


def test_a_leftover_of_any_kind_goes_and_nothing_else(tmp_path: Path) -> None:
    part = ".sync-runner-0123456789ab-aa{}.part"
    (tmp_path / part.format(1)).write_bytes(b"")
    (tmp_path / part.format(2)).mkdir()
    os.symlink("x", tmp_path / part.format(3))
    (tmp_path / "mine").write_bytes(b"")
    os.utime(tmp_path, ns=(7, 7))
    here = open_at(tmp_path, create=True)
    list(here.scan())

    for path, execution_id in here.leftovers():
        assert execution_id == "0123456789ab"
        here.remove_leftover(path)

    assert os.listdir(tmp_path) == ["mine"]
    # They were no part of it: a plan that was made before finds the folder as it was.
    assert os.stat(tmp_path).st_mtime_ns == 7
    with pytest.raises(EntryError) as caught:
        here.remove_leftover("mine")
    assert caught.value.entry_code is EntryCode.NAME_NOT_ALLOWED
    with pytest.raises(EntryError) as caught:
        here.remove_leftover(part.format(1))
    assert caught.value.entry_code is EntryCode.NOT_FOUND


def test_linking(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).write_bytes(name.encode())
    here = open_at(tmp_path, create=True)

    here.link("folder/two", "one", None)
    here.link("other", "one", here.stat("other"))
    here.link("folder/two", "one", here.stat("folder/two"))

    assert os.stat(tmp_path / "one").st_nlink == 3
    assert sorted(os.listdir(tmp_path)) == ["folder", "one", "other"]
    assert os.listdir(tmp_path / "folder") == ["two"]
    with pytest.raises(EntryError) as caught:
        here.link("x", "nowhere", None)
    assert caught.value.entry_code is EntryCode.NOT_FOUND


def test_a_moved_folder_is_not_written_into(tmp_path: Path) -> None:
    """Another worker moves a folder away; a cached handle of it must not be used for what comes."""
    (tmp_path / "folder").mkdir()
    here, other = open_at(tmp_path, create=True), open_at(tmp_path, create=True)
    here.put(_file("folder/one", b"1"), [b"1"], None, THROTTLE)
    folder = other.stat("folder")
    assert folder is not None
    other.rename(folder, ".sync-runner-quarantine/now/folder")

    here.put(_file("folder/two", b"2"), [b"2"], None, THROTTLE)

    assert os.listdir(tmp_path / "folder") == ["two"]
    assert os.listdir(tmp_path / ".sync-runner-quarantine" / "now" / "folder") == ["one"]


def test_handles_stay_bounded(tmp_path: Path) -> None:
    here = open_at(tmp_path, create=True)
    before = len(os.listdir("/proc/self/fd"))
    for number in range(300):
        here.put(_file(f"d{number}/f", b"x"), [b"x"], None, THROTTLE)
    assert len(os.listdir("/proc/self/fd")) - before <= 201
    here.close()
    here.close()
    assert len(os.listdir("/proc/self/fd")) <= before


def test_put_from_the_same_object(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * 3_000_000)
    here = open_at(tmp_path, create=True)
    entry = here.stat("f")
    assert entry is not None

    def content() -> Iterator[object]:
        for chunk in here.read(entry):
            for number in range(300):
                here.stat(f"d{number}/x")
            yield chunk

    for number in range(300):
        (tmp_path / f"d{number}").mkdir()
    here.put(msgspec.structs.replace(entry, path="a/g"), content(), None, THROTTLE)  # type: ignore[arg-type]

    assert (tmp_path / "a" / "g").read_bytes() == b"x" * 3_000_000


def test_a_file_under_a_lease_is_locked(tmp_path: Path) -> None:
    """fcntl(2), F_SETLEASE: opening without waiting answers EAGAIN."""
    (tmp_path / "f").write_bytes(b"x")
    here = open_at(tmp_path)
    entry = here.stat("f")
    assert entry is not None
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    fd = os.open(tmp_path / "f", os.O_RDWR)
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        with pytest.raises(EntryError) as caught:
            list(here.read(entry))
    finally:
        os.close(fd)
        signal.signal(signal.SIGIO, before)
    assert caught.value.entry_code is EntryCode.LOCKED


def test_faults_of_the_contents_own_source_pass_unchanged(tmp_path: Path) -> None:
    here = open_at(tmp_path, create=True)

    def content() -> Iterator[bytes]:
        yield b"1"
        raise OSError(errno.ENOSPC, "not this side's disk")

    with pytest.raises(OSError, match="not this side's disk"):
        here.put(_file("f", b"12"), content(), None, THROTTLE)
    assert os.listdir(tmp_path) == []
